import { hash } from 'node:crypto'
import { DigestMap, digestOf } from '../batch/digest-map.ts'
import type { RequestTable } from '../batch/request-table.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { Context } from './context.ts'
import { linesOf } from './settle.ts'

/** What identical requests have in common: the endpoint, and the body as it is sent. */
export interface Asked {
  readonly endpoint: Endpoint
  readonly bodyText: string
}

const DIGEST_DIGITS = 24

/** Enough of a hash to tell a task's requests apart. */
export const twinName = ({ endpoint, bodyText }: Asked): string =>
  hash('sha256', `${endpoint}\n${bodyText}`, 'hex').slice(0, DIGEST_DIGITS)

/** Of each body that waits for an answer, the last request that waits for it. */
export class TwinIndex {
  readonly #last = new DigestMap()

  /** Of the requests that an earlier run left. Reads all queue files. */
  static async read(context: Context): Promise<TwinIndex> {
    const { state, requests } = context.store.durable
    const index = new TwinIndex()
    for (const file of state.files.values()) {
      if (file.live === 0) continue
      for await (const lines of linesOf(context, file)) {
        for (const line of lines) index.set(twinName(line), endOf(requests, line.request))
      }
    }
    return index
  }

  /** The request behind which an identical one can wait; 0 when there is none. */
  lastOf(name: string, requests: RequestTable): number {
    const request = this.get(name)
    return request !== 0 && requests.get(request).state === 'pending' ? request : 0
  }

  get(name: string): number {
    return this.#last.get(digestOf(name))
  }

  set(name: string, request: number): void {
    this.#last.set(digestOf(name), request)
  }

  /** A request goes on with another body: nobody may wait behind it any more. */
  forget(request: number, asked: Asked): void {
    const name = twinName(asked)
    if (this.get(name) === request) this.set(name, 0)
  }
}

/** The last of those that wait one behind the other. */
function endOf(requests: RequestTable, first: number): number {
  let end = first
  for (let next = requests.follower(end); next !== 0; next = requests.follower(end)) end = next
  return end
}
