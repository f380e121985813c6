import { once } from 'node:events'
import { z } from 'zod'
import { pathOf, startNode } from './processes.ts'
import type { AcceptOrder } from './programs/accept-client.ts'
import { ask } from './talk.ts'

const doneSchema = z.object({ accepted: z.number(), wallSeconds: z.number() })

/** Who calls, in a process of its own, which is compiled by the time that counts. */
export interface AcceptClient extends AsyncDisposable {
  /** Makes all of these calls, and gives the seconds they took. Throws when one of them was not accepted. */
  call(order: AcceptOrder): Promise<number>
}

export function startAcceptClient(): AcceptClient {
  const { child } = startNode({ file: pathOf('accept-client'), hasChannel: true })
  const closed = once(child, 'close')
  return {
    call: async (order) => {
      const { accepted, wallSeconds } = doneSchema.parse(await ask(child, order))
      if (accepted === order.calls) return wallSeconds
      throw new Error(`${accepted} of ${order.calls} calls were accepted by ${order.url}`)
    },
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL')
      await closed
    },
  }
}
