import { errorText } from '../../../errors.ts'
import type { Clock } from '../../../util/clock.ts'
import { Notifier } from '../../../util/notifier.ts'
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
  readonly #news = new Notifier()
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
    this.#news.notify()
  }

  /** Begins no more rounds; resolves when the one under way has ended. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#loop
  }

  async #run(): Promise<void> {
    const { gapMs = 0 } = this.#options
    while (!this.stop.aborted) {
      const news = this.#news.wait()
      const pauseMs = await this.#round()
      await this.#sleep(gapMs)
      if (pauseMs > gapMs) await this.#sleep(pauseMs - gapMs, news)
    }
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

  async #sleep(ms: number, ...wakers: readonly Promise<void>[]): Promise<void> {
    if (ms <= 0) return
    const awake = new AbortController()
    const signal = AbortSignal.any([this.stop, awake.signal])
    const sleep = this.#options.clock.sleep(ms, signal, { background: true })
    await Promise.race([sleep, ...wakers])
    awake.abort()
  }
}
