/** A task as a user would write it. Argument: JSON, see `RunnerOrder`. */
import { accept } from '../../../src/batch/verdict.ts'
import { TaskManager, type TaskManagerOptions } from '../../../src/task/task-manager.ts'
import type { TaskResponse } from '../../../src/task/task-types.ts'
import { measure } from '../measured.ts'
import { outputOf, workOf } from '../workload.ts'

export interface RunnerOrder {
  readonly requests: number
  readonly options: TaskManagerOptions
}

const order: RunnerOrder = JSON.parse(process.argv[2] ?? '')

class BenchTask extends TaskManager {
  *generateRequests() {
    for (let index = 0; index < order.requests; index++) yield workOf(index)
  }

  processResponse({ key, text }: TaskResponse) {
    return accept(outputOf(key, text))
  }
}

await measure(async () => (await new BenchTask(order.options).run()).succeeded)
