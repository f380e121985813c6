/** The job that is killed and run again; see workload.ts. */
import { z } from 'zod'
import {
  accept,
  reject,
  retry,
  runTask,
  TaskManager,
  type TaskRequest,
  type TaskResponse,
} from '../../../src/index.ts'
import { type Ask, askAbout, GARBLED, REFUSED, UNSURE } from '../workload.ts'

const Flags = z.object({ samples: z.int().min(1).describe('How many samples there are') })

const requestOf = ({ key, sample, model, text }: Ask): TaskRequest => ({
  key,
  sample,
  body: { model, messages: [{ role: 'user', content: text }] },
})

class KilledJob extends TaskManager {
  declare readonly flags: z.infer<typeof Flags>;

  *generateRequests(): Iterable<TaskRequest> {
    for (let index = 0; index < this.flags.samples; index++) {
      const first = askAbout(index, 1)
      yield requestOf(first)
      if (this.samples.get(first.sample).remembered.length > 0) yield requestOf(askAbout(index, 2))
    }
  }

  processResponse({ key, text }: TaskResponse) {
    if (text === GARBLED) return retry('garbled')
    if (text === REFUSED) return reject('refused')
    const output = { key, label: text }
    return text === UNSURE ? accept(output, { remember: text, more: true }) : accept(output)
  }
}

await runTask(KilledJob, { name: 'job', flags: Flags })
