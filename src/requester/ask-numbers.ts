import { DigestMap, digestOf } from '../batch/digest-map.ts'
import type { RequestIdentity, RequestTable } from '../batch/request-table.ts'

/** A request by its key and the hash of its body. */
type Asker = Pick<RequestIdentity, 'key' | 'hash'>

/**
 * Which of a task's identical requests each one is, counted from 1 in the order they were added. A task that asks the
 * same several times means to have several answers, and the next task shall have the same ones.
 */
export class AskNumbers {
  readonly #counts = new DigestMap()
  /** Of requests that are not the first of their kind. */
  readonly #later = new Map<number, number>()
  /** What forgotten requests asked as others of the task still do, by their keys: their numbers wait for them. */
  readonly #forgotten = new Map<string, { readonly hash: string; readonly number: number }>()

  constructor(requests: RequestTable) {
    if (hasForgotten(requests)) this.#noteLiving(requests)
    for (let request = 1; request <= requests.last; request++) this.#count(requests, request)
  }

  /** The number of a new request; of one that was forgotten and comes back, the one it had. */
  next({ key, hash }: Asker): number {
    const before = this.#forgotten.get(key)
    if (before?.hash === hash) {
      this.#forgotten.delete(key)
      return before.number
    }
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

  #noteLiving(requests: RequestTable): void {
    for (let request = 1; request <= requests.last; request++) {
      if (requests.get(request).state !== 'forgotten')
        this.#counts.set(digestOf(requests.identity(request).hash), 0)
    }
  }

  #count(requests: RequestTable, request: number): void {
    const { state } = requests.get(request)
    const { key, hash } = requests.identity(request)
    // Where nobody of its kind is left, the count begins anew.
    if (state === 'forgotten' && !this.#counts.has(digestOf(hash))) return
    const number = this.next({ key, hash })
    if (state === 'forgotten') this.#forgotten.set(key, { hash, number })
    else if (state === 'pending') this.set(request, number)
  }
}

function hasForgotten(requests: RequestTable): boolean {
  for (let request = 1; request <= requests.last; request++)
    if (requests.get(request).state === 'forgotten') return true
  return false
}
