import type { Clock, SleepOptions } from '../../src/util/clock.ts'

interface Sleeper {
  at: number
  readonly background: boolean
  readonly wake: () => void
}

/**
 * Virtual time: a sleep ends as soon as the event loop has nothing better to do, and moves the time on. A sleep in the
 * background ends when the time has passed it, and moves nothing.
 */
export class VirtualClock implements Clock {
  #now: number
  #sleepers: Sleeper[] = []
  #scheduled = false
  /** Works for which time stands still. */
  #works = 0
  readonly #isBusy: () => boolean

  /** While something `isBusy`, time stands still. Default: it passes while the disk is at work, too. */
  constructor(startMs = Date.UTC(2026, 0, 1), isBusy: () => boolean = () => false) {
    this.#now = startMs
    this.#isBusy = isBusy
  }

  now(): number {
    return this.#now
  }

  /** Sets the clock, forward or back: what sleeps has as long to go as before. So it is after a laptop has slept. */
  jump(ms: number): void {
    this.#now += ms
    for (const sleeper of this.#sleepers) sleeper.at += ms
  }

  /** Lets time pass. Sleeps that it passes end when the event loop comes to them. */
  advance(ms: number): void {
    this.#now += ms
    this.#schedule()
  }

  /** Time does not pass until the work is done. It must not sleep. */
  async standStillFor<Result>(work: Promise<Result>): Promise<Result> {
    this.#works++
    try {
      return await work
    } finally {
      this.#works--
    }
  }

  sleep(ms: number, signal?: AbortSignal, { background = false }: SleepOptions = {}): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      // Whole milliseconds, as Date.now() has them.
      const sleeper = { at: this.#now + Math.max(0, Math.ceil(ms)), background, wake: resolve }
      this.#sleepers.push(sleeper)
      signal?.addEventListener('abort', () => this.#cancel(sleeper), { once: true })
      this.#schedule()
    })
  }

  #cancel(sleeper: Sleeper): void {
    this.#sleepers = this.#sleepers.filter((one) => one !== sleeper)
    sleeper.wake()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (this.#works > 0 || this.#isBusy()) this.#schedule()
      else this.#wakeNext()
    })
  }

  #wakeNext(): void {
    this.#sleepers.sort((a, b) => a.at - b.at)
    const [next] = this.#sleepers
    const moves = this.#sleepers.some(({ background }) => !background)
    if (!next || (!moves && next.at > this.#now)) return
    this.#sleepers.shift()
    this.#now = Math.max(this.#now, next.at)
    next.wake()
    this.#schedule()
  }
}

/** What follows on a call of the file system may need some rounds of the event loop before it makes the next. */
const QUIET_ROUNDS = 10

/** Time that stands still while the disk is at work: writing takes none of it, however slow the disk is. */
export function clockOfFastDisk(startMs?: number): VirtualClock {
  let quiet = 0
  return new VirtualClock(startMs, () => {
    const isWorking = process.getActiveResourcesInfo().some((name) => name.startsWith('FSReq'))
    quiet = isWorking ? 0 : quiet + 1
    if (quiet < QUIET_ROUNDS) return true
    quiet = 0
    return false
  })
}
