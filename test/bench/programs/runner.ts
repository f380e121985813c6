/** A task as a user would write it. Argument: JSON, see `RunnerOrder`. */
import { accept } from '../../../src/batch/verdict.ts'
import { HistoryReporter } from '../../../src/progress/history-reporter.ts'
import { Figures } from '../../../src/requester/figures.ts'
import { TaskManager, type TaskManagerOptions } from '../../../src/task/task-manager.ts'
import type { TaskResponse } from '../../../src/task/task-types.ts'
import { measure } from '../measured.ts'
import { outputOf, workOf } from '../workload.ts'

export interface RunnerOrder {
  readonly requests: number
  readonly options: TaskManagerOptions
  /** Without figures and history, to see what they cost. */
  readonly withoutHistory?: boolean
}

const order: RunnerOrder = JSON.parse(process.argv[2] ?? '')

// No option turns them off, so that here they are cut out by hand.
if (order.withoutHistory) {
  Figures.prototype.begin = () => {}
  Figures.prototype.note = () => {}
  HistoryReporter.prototype.onEvent = () => {}
}

class BenchTask extends TaskManager {
  *generateRequests() {
    for (let index = 0; index < order.requests; index++) yield workOf(index)
  }

  processResponse({ key, text }: TaskResponse) {
    return accept(outputOf(key, text))
  }
}

await measure(async () => (await new BenchTask(order.options).run()).succeeded)
