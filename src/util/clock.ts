import { setTimeout as delay } from 'node:timers/promises'

/** Time as Nightshift sees it; tests supply one that never waits for real. */
export interface Clock {
  /** Milliseconds since 1970, as `Date.now()`. */
  now(): number
  /** Resolves after `ms` milliseconds, or at once (without an error) when `signal` is aborted. */
  sleep(ms: number, signal?: AbortSignal, options?: SleepOptions): Promise<void>
}

export interface SleepOptions {
  /** Nobody waits for the end of this sleep: it does not keep the process alive. Default: false. */
  readonly background?: boolean
}

/** What a timer of Node can hold: 24.8 days. A longer one would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (ms, signal, { background = false } = {}) => {
    try {
      await delay(Math.min(ms, MAX_TIMER_MS), undefined, { ref: !background, ...(signal && { signal }) })
    } catch (error) {
      if (!signal?.aborted) throw error
    }
  },
}
