import { errorText } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import type { Log } from './log.ts'
import type { GatewayStore } from './store/store.ts'

export interface HeartbeatParts {
  readonly store: Pick<GatewayStore, 'heartbeat' | 'leave' | 'onReturn'>
  readonly replica: string
  /** Says what is not held any more, as far as that could not be said before. Never throws. */
  readonly catchUp: () => Promise<void>
  readonly clock: Clock
  readonly log: Log
}

/** What this replica's callers wait for is held for so long after its last sign of life. */
export const LEASE_MS = 45_000
const BEAT_MS = 10_000
const AGAIN_MS = 1000

/**
 * Says again and again that this replica lives, so that nobody else goes with what its callers wait for; also as soon as
 * the database is back after it was away, since others wait for that before they decide what a call is. A process that
 * was asleep for longer than its lease holds what it held again with its next beat: but for what somebody else has gone
 * with in between, whose answer both then get.
 */
export class Heartbeat {
  readonly #parts: HeartbeatParts
  readonly #ending = new AbortController()
  #pause = new AbortController()
  #beating: Promise<void> | undefined
  #lastAt: number | undefined

  constructor(parts: HeartbeatParts) {
    this.#parts = parts
  }

  /** Resolves after the first beat. Throws `StoreError`. */
  async start(): Promise<void> {
    this.#parts.store.onReturn(() => this.#pause.abort())
    await this.#beat()
    this.#beating = this.#beatOn()
  }

  /** What is still held is free. */
  async close(): Promise<void> {
    this.#ending.abort()
    this.#pause.abort()
    await this.#beating
    const { store, replica, log } = this.#parts
    await store.leave(replica).catch((error: unknown) => log.warn('not_left', { error: errorText(error) }))
  }

  async #beatOn(): Promise<void> {
    const { clock, log } = this.#parts
    const { signal } = this.#ending
    let pauseMs = BEAT_MS
    for (;;) {
      if (signal.aborted) return
      await clock.sleep(pauseMs, this.#pause.signal, { background: true })
      if (signal.aborted) return
      this.#pause = new AbortController()
      pauseMs = await this.#beat().then(
        () => BEAT_MS,
        (error: unknown) => {
          log.warn('no_heartbeat', { error: errorText(error) })
          return AGAIN_MS
        },
      )
    }
  }

  async #beat(): Promise<void> {
    const { store, replica, catchUp, clock, log } = this.#parts
    await catchUp()
    const startedAt = clock.now()
    await store.heartbeat(replica, LEASE_MS)
    const gapMs = startedAt - (this.#lastAt ?? startedAt)
    if (gapMs > LEASE_MS) log.warn('lease_was_lost', { gapMs })
    this.#lastAt = startedAt
  }
}
