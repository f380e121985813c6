import { errorText } from '../../../errors.ts'
import type { Clock } from '../../../util/clock.ts'
import type { Log } from '../../log.ts'

export interface LoopOptions {
  /** In events of the log: `<name>_failed`. */
  readonly name: string
  readonly clock: Clock
  readonly log: Log
  /** One round of the work. Gives the milliseconds until the next one, unless somebody wakes it before. */
  readonly step: () => Promise<number>
  /** Between two rounds there is at least so much time, in milliseconds, however often somebody wakes it. Default: 0. */
  readonly gapMs?: number
}

const FIRST_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 60_000

/** Work that is never done: rounds one after another, with pauses. A round that throws is logged, and made again later. */
export class BackgroundLoop {
  readonly #options: LoopOptions
  readonly #stop = new AbortController()
  /** Ends the pause between two rounds. */
  #pause = new AbortController()
  /** Somebody wants another round since the last one began. */
  #isWoken = false
  #failures = 0
  #loop: Promise<void> | undefined

  constructor(options: LoopOptions) {
    this.#options = options
  }

  /** Aborted when the loop is to end: long rounds look at it. */
  get stop(): AbortSignal {
    return this.#stop.signal
  }

  start(): void {
    this.#loop ??= this.#run()
  }

  /** Has the next round made at once. */
  wake(): void {
    this.#isWoken = true
    this.#pause.abort()
  }

  /** Begins no more rounds; resolves when the one under way has ended. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#pause.abort()
    await this.#loop
  }

  async #run(): Promise<void> {
    const { gapMs = 0, clock } = this.#options
    while (!this.stop.aborted) {
      this.#isWoken = false
      const pauseMs = await this.#round()
      if (gapMs > 0) await clock.sleep(gapMs, this.stop, { background: true })
      if (pauseMs > gapMs) await this.#rest(pauseMs - gapMs)
    }
  }

  /** No promise is waited for that outlives the pause: whatever waits for one is kept for as long as that is. */
  async #rest(ms: number): Promise<void> {
    this.#pause = new AbortController()
    if (this.#isWoken || this.stop.aborted) return
    await this.#options.clock.sleep(ms, this.#pause.signal, { background: true })
  }

  async #round(): Promise<number> {
    const { step, log, name } = this.#options
    try {
      const pauseMs = await step()
      this.#failures = 0
      return pauseMs
    } catch (error) {
      log.error(`${name}_failed`, { reason: errorText(error) })
      return Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++)
    }
  }
}
