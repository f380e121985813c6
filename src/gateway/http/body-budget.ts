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
    let taken = 0
    return {
      take: (bytes) => {
        // One at least may have as much as a body may have.
        if (this.#bytes > 0 && this.#bytes + bytes > this.#maxBytes) throw busy()
        taken += bytes
        this.#bytes += bytes
      },
      [Symbol.dispose]: () => {
        this.#bytes -= taken
        taken = 0
      },
    }
  }
}

export interface BodyShare extends Disposable {
  /** Throws `HttpError` (503) when there is no more to be had. */
  take(bytes: number): void
}

const busy = (): HttpError =>
  new HttpError(503, 'busy', 'The gateway reads as many large bodies as it can. Send the request again.', {
    headers: { ...comeBack(BUSY_SECONDS), connection: 'close' },
  })
