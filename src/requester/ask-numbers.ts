import { DigestMap, digestOf } from '../batch/digest-map.ts'
import type { RequestTable } from '../batch/request-table.ts'

/**
 * Which of a task's identical requests each one is, counted from 1 in the order they were added. A task that asks the
 * same several times means to have several answers, and the next task shall have the same ones.
 */
export class AskNumbers {
  readonly #counts = new DigestMap()
  /** Of requests that are not the first of their kind. */
  readonly #later = new Map<number, number>()

  constructor(requests: RequestTable) {
    for (let request = 1; request <= requests.last; request++) {
      const { state } = requests.get(request)
      if (state === 'forgotten') continue
      const number = this.next(requests.identity(request).hash)
      if (state === 'pending') this.set(request, number)
    }
  }

  /** The number of a new request, by the hash of its body. */
  next(hash: string): number {
    const digest = digestOf(hash)
    const number = this.#counts.get(digest) + 1
    this.#counts.set(digest, number)
    return number
  }

  set(request: number, number: number): void {
    if (number > 1) this.#later.set(request, number)
  }

  of(request: number): number {
    return this.#later.get(request) ?? 1
  }
}
