import { comeBack, HttpError } from './http-error.ts'

const BUSY_SECONDS = 2

/** What all bodies that are being read, or put on record, may have in memory together. */
export class BodyBudget {
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** For one call. What it took is given back when it is disposed of. */
  open(): BodyShare {
    return new BodyShare(this)
  }

  /** Whether there was room. One body at least may have as much as a body may have. */
  take(bytes: number): boolean {
    if (this.#bytes > 0 && this.#bytes + bytes > this.#maxBytes) return false
    this.#bytes += bytes
    return true
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes
  }
}

export class BodyShare implements Disposable {
  readonly #budget: BodyBudget
  #taken = 0

  constructor(budget: BodyBudget) {
    this.#budget = budget
  }

  /** Throws `HttpError` (503) when there is no more to be had. */
  take(bytes: number): void {
    if (!this.#budget.take(bytes)) throw busy()
    this.#taken += bytes
  }

  [Symbol.dispose](): void {
    this.#budget.giveBack(this.#taken)
    this.#taken = 0
  }
}

const busy = (): HttpError =>
  new HttpError(503, 'busy', 'The gateway reads as many large bodies as it can. Send the request again.', {
    headers: comeBack(BUSY_SECONDS),
  })
