/** A signal that fires when the caller aborts or the time is up, and knows which of the two it was. */
export class Deadline implements Disposable {
  readonly #controller = new AbortController()
  readonly #caller: AbortSignal | undefined
  readonly #ms: number
  #timer: NodeJS.Timeout | undefined
  #timedOut = false

  /** Not running until `restart` is called. */
  constructor(ms: number, caller?: AbortSignal) {
    this.#ms = timerMs(ms)
    this.#caller = caller
    if (caller?.aborted) this.#controller.abort()
    else caller?.addEventListener('abort', this.#onAbort, { once: true })
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get timedOut(): boolean {
    return this.#timedOut
  }

  /** Gives the full time again, from now. */
  restart(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(this.#onTime, this.#ms)
  }

  /** Stops the time; the caller's abort still counts. */
  pause(): void {
    clearTimeout(this.#timer)
  }

  [Symbol.dispose](): void {
    this.pause()
    this.#caller?.removeEventListener('abort', this.#onAbort)
  }

  readonly #onAbort = (): void => this.#controller.abort()

  readonly #onTime = (): void => {
    this.#timedOut = true
    this.#controller.abort()
  }
}

const MAX_TIMER_MS = 2 ** 31 - 1

/** A whole number of milliseconds that a timer can hold: at least 1, at most 24.8 days. */
export const timerMs = (ms: number): number => Math.min(MAX_TIMER_MS, Math.max(1, Math.ceil(ms)))
