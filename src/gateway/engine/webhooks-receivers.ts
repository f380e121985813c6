import type { WebhookEnd } from './webhooks-retry.ts'

/** So many calls on end without an answer, and a receiver is taken to be away. */
const MOST_MISSES = 3
/** Longer than a call may take: of one that is away no more than one place is taken by it. */
const LOOK_MS = 30_000
/** Names of receivers come from callers: the first ones are forgotten when there are so many. */
const MOST_KEPT = 1_000

interface Misses {
  readonly count: number
  /** It is not called before, in milliseconds since 1970. */
  readonly until: number
}

/** Which receivers do not answer at present. One that hangs would take all places for itself, try after try. */
export class Receivers {
  readonly #misses = new Map<string, Misses>()

  /** Whether it is to be called now: of those that are away one call from time to time shows whether they are back. */
  mayCall(host: string, nowMs: number): boolean {
    const { count, until } = this.#misses.get(host) ?? { count: 0, until: 0 }
    if (count < MOST_MISSES) return true
    if (nowMs < until) return false
    this.#misses.set(host, { count, until: nowMs + LOOK_MS })
    return true
  }

  called(host: string, end: WebhookEnd, nowMs: number): void {
    const { count = 0 } = this.#misses.get(host) ?? {}
    this.#misses.delete(host)
    if (end.kind !== 'unanswered') return
    this.#misses.set(host, { count: count + 1, until: nowMs + LOOK_MS })
    const [first] = this.#misses.keys()
    if (this.#misses.size > MOST_KEPT && first !== undefined) this.#misses.delete(first)
  }
}
