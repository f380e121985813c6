/** Gives up when nothing goes on for too long. */
export class Stall {
  readonly #longestMs: number
  readonly #over = new AbortController()
  #timer: NodeJS.Timeout

  constructor(longestMs: number) {
    this.#longestMs = longestMs
    this.#timer = this.#begin()
  }

  /** Aborted when nothing went on for so long. */
  get signal(): AbortSignal {
    return this.#over.signal
  }

  goesOn(): void {
    this.end()
    this.#timer = this.#begin()
  }

  end(): void {
    clearTimeout(this.#timer)
  }

  #begin(): NodeJS.Timeout {
    return setTimeout(() => this.#over.abort(), this.#longestMs)
  }
}
