import type { Clock } from '../../src/util/clock.ts'

interface Sleeper {
  readonly at: number
  readonly wake: () => void
}

/** Virtual time: a sleep ends as soon as the event loop has nothing better to do, and moves the time on. */
export class VirtualClock implements Clock {
  #now: number
  #sleepers: Sleeper[] = []
  #scheduled = false

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.#now = startMs
  }

  now(): number {
    return this.#now
  }

  advance(ms: number): void {
    this.#now += ms
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve()
    return new Promise((resolve) => {
      const sleeper = { at: this.#now + Math.max(0, ms), wake: resolve }
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
      this.#wakeNext()
    })
  }

  #wakeNext(): void {
    this.#sleepers.sort((a, b) => a.at - b.at)
    const next = this.#sleepers.shift()
    if (!next) return
    this.#now = Math.max(this.#now, next.at)
    next.wake()
    if (this.#sleepers.length > 0) this.#schedule()
  }
}
