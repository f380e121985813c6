import type { RequestTable } from '../batch/request-table.ts'
import { TaskError } from '../errors.ts'
import type { PreparedRequest } from './queue.ts'

/** Requests that are collected in memory before they are committed together. */
const WINDOW_REQUESTS = 500
const WINDOW_BYTES = 1_000_000

/** Requests on their way to the ledger, and the comparison of keys: with what is committed and within a pass. */
export class RequestWindow {
  readonly #requests = new Map<string, PreparedRequest>()
  #bytes = 0
  #pass = 1
  /** By request number, the pass in which its key was last given. */
  #seen = new Uint32Array(1024)
  #changedBodies = 0
  /** What was given in this pass for requests whose committed body is another. */
  #changed = new Map<number, string>()

  /** How many were collected so far. */
  get size(): number {
    return this.#requests.size
  }

  get isEmpty(): boolean {
    return this.#requests.size === 0
  }

  /** Time to commit: more would cost memory and save nothing. */
  get isFull(): boolean {
    return this.#requests.size >= WINDOW_REQUESTS || this.#bytes >= WINDOW_BYTES
  }

  /** Keys that were given another body than in an earlier run. */
  get changedBodies(): number {
    return this.#changedBodies
  }

  /** From here on a key may be given again. */
  beginPass(): void {
    this.#pass++
    this.#changed = new Map()
  }

  add(request: PreparedRequest): void {
    this.#requests.set(request.key, request)
    this.#bytes += request.bodyText.length
  }

  /** What was collected so far. */
  get requests(): readonly PreparedRequest[] {
    return [...this.#requests.values()]
  }

  /** Hands over the first of what was collected, or all, to be committed. */
  take(most = this.#requests.size): readonly PreparedRequest[] {
    const requests = this.#requests.values().take(most).toArray()
    for (const { key, bodyText } of requests) {
      this.#requests.delete(key)
      this.#bytes -= bodyText.length
    }
    return requests
  }

  /** Whether the key was given before. Throws TaskError `duplicate_key` when that was in this pass, with another body. */
  isKnown({ key, hash }: PreparedRequest, committed: RequestTable): boolean {
    const waiting = this.#requests.get(key)
    if (waiting && waiting.hash !== hash) throw twoBodies(key)
    if (waiting) return true
    const request = committed.find(key)
    if (request === undefined) return false
    const first = this.#changed.get(request) ?? committed.identity(request).hash
    if (this.#seen[request] === this.#pass && first !== hash) throw twoBodies(key)
    if (first !== hash) this.#noteChanged(request, hash)
    this.markSeen(request)
    return true
  }

  /** Counted once in a run, however many passes there are. */
  #noteChanged(request: number, hash: string): void {
    this.#changed.set(request, hash)
    if (!this.#seen[request]) this.#changedBodies++
  }

  /** Notes that a request's key was given in this pass. */
  markSeen(request: number): void {
    if (request >= this.#seen.length) {
      const longer = new Uint32Array(Math.max(request + 1, this.#seen.length * 2))
      longer.set(this.#seen)
      this.#seen = longer
    }
    this.#seen[request] = this.#pass
  }
}

export const twoBodies = (key: string): TaskError =>
  new TaskError(
    'duplicate_key',
    `key ${JSON.stringify(key)} was given twice with different bodies; a key names one request, so make keys unique`,
  )
