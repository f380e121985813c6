/**
 * A task whose hooks do what a live display must bear. `--deed`: `print` on both streams, `throw` where nobody catches
 * it, `fail` with a message that clears the screen, or `exit`.
 */
import { accept, runTask, TaskManager, type TaskRequest, type TaskResponse } from 'nightshift'
import { z } from 'zod'

const REQUESTS = 40
/** By then the display is there. */
const DEED_AT = 20

const Flags = z.object({ deed: z.enum(['print', 'throw', 'fail', 'exit']) })

class Noisy extends TaskManager {
  declare readonly flags: z.infer<typeof Flags>
  #answers = 0;

  *generateRequests(): Iterable<TaskRequest> {
    for (let at = 0; at < REQUESTS; at++) {
      const body = { model: 'gpt-5-nano', messages: [{ role: 'user' as const, content: `number ${at}` }] }
      yield { key: `request-${at}`, body }
    }
  }

  processResponse({ key }: TaskResponse) {
    this.#answers++
    const { deed } = this.flags
    if (deed === 'print') print(this.#answers)
    else if (this.#answers === DEED_AT && deed === 'exit') process.exit(7)
    else if (this.#answers === DEED_AT && deed === 'fail') throw new Error('told \u001b[2J\u001b[31min red')
    else if (this.#answers === DEED_AT) throwLater()
    return accept({ key })
  }
}

function print(answers: number): void {
  console.log(`answer ${answers}`)
  console.error(`two lines of ${answers}:\n${'long '.repeat(30)}`)
  process.stdout.write(`part ${answers}, `)
  process.stdout.write(Buffer.from('rest\n'))
}

const throwLater = (): NodeJS.Immediate =>
  setImmediate(() => {
    throw new Error('nobody catches this')
  })

await runTask(Noisy, { name: 'noisy', flags: Flags })
