import { errorText } from '../../../errors.ts'
import type { Clock } from '../../../util/clock.ts'
import type { StoredAnswer } from '../../domain/request.ts'
import type { Log } from '../../log.ts'
import { Alarm } from './alarm.ts'
import type { Releases } from './releases.ts'
import { Waiter } from './waiter.ts'

/** What the waiting room asks of the store. */
export interface AnswerSource {
  answers(ids: readonly string[]): Promise<ReadonlyMap<string, StoredAnswer>>
  finishedAmong(ids: readonly string[]): Promise<readonly string[]>
  onDone(listener: (ids: readonly string[]) => void): () => void
}

export interface WaitingRoomParts {
  readonly source: AnswerSource
  readonly releases: Releases
  readonly clock: Clock
  readonly log: Log
  /** Between two looks for answers whose notice was lost, in milliseconds. */
  readonly lookMs: number
}

/** Answers read at once: each may have megabytes. */
const ANSWERS_AT_ONCE = 50
const IDS_AT_ONCE = 1000

/**
 * All calls of this process that wait for an answer. A request that is done is looked up once, for whoever waits for it.
 * A request may have several waiters; when the last of them leaves without its answer, the store is told.
 */
export class WaitingRoom {
  readonly #parts: WaitingRoomParts
  readonly #alarm: Alarm
  readonly #waiters = new Map<string, Waiter | Set<Waiter>>()
  readonly #stopHearing: () => void
  readonly #ending = new AbortController()
  #held = 0

  constructor(parts: WaitingRoomParts) {
    this.#parts = parts
    this.#alarm = new Alarm(parts.clock)
    this.#stopHearing = parts.source.onDone((ids) => void this.#deliver(ids))
  }

  /** Calls that wait now. */
  get held(): number {
    return this.#held
  }

  has(id: string): boolean {
    return this.#waiters.has(id)
  }

  enter(id: string): Waiter {
    this.#parts.releases.keep(id)
    const waiter = new Waiter(id, this.#alarm)
    const there = this.#waiters.get(id)
    if (there === undefined) this.#waiters.set(id, waiter)
    else if (there instanceof Set) there.add(waiter)
    else this.#waiters.set(id, new Set([there, waiter]))
    this.#held++
    if (this.#ending.signal.aborted) waiter.end({ kind: 'closing' })
    return waiter
  }

  /** Takes a waiter out, without a word to the store: it has its answer, or never had a request. */
  forget(waiter: Waiter): boolean {
    const there = this.#waiters.get(waiter.id)
    if (there === waiter) this.#waiters.delete(waiter.id)
    else if (!(there instanceof Set) || !there.delete(waiter)) return false
    else if (there.size === 0) this.#waiters.delete(waiter.id)
    this.#held--
    waiter.end({ kind: 'gone' })
    return !this.#waiters.has(waiter.id)
  }

  /** Takes a waiter out that has no answer. Resolves when whoever asks again re-attaches. Never throws. */
  async leave(waiter: Waiter): Promise<void> {
    if (this.forget(waiter)) await this.#parts.releases.tell(waiter.id, 'letGo')
  }

  /** Looks at once whether a request is done: it was joined, and its notice may have come before its waiter. */
  look(id: string): void {
    void this.#deliver([id])
  }

  /** Looks again and again for what is done without a notice having come. Ends with `close`. */
  async keepLooking(): Promise<void> {
    const { clock, lookMs } = this.#parts
    const { signal } = this.#ending
    for (;;) {
      await clock.sleep(lookMs, signal, { background: true })
      if (signal.aborted) return
      await this.#lookForAll()
    }
  }

  /** Sends all away. */
  close(): void {
    this.#ending.abort()
    this.#stopHearing()
    for (const there of this.#waiters.values())
      for (const waiter of there instanceof Set ? there : [there]) waiter.end({ kind: 'closing' })
    this.#alarm.close()
  }

  async #lookForAll(): Promise<void> {
    for (const ids of slices([...this.#waiters.keys()], IDS_AT_ONCE)) {
      try {
        await this.#deliver(await this.#parts.source.finishedAmong(ids))
      } catch (error) {
        this.#failed(error)
      }
    }
  }

  async #deliver(done: readonly string[]): Promise<void> {
    const awaited = done.filter((id) => this.#waiters.has(id))
    for (const ids of slices(awaited, ANSWERS_AT_ONCE)) {
      try {
        const answers = await this.#parts.source.answers(ids)
        for (const [id, answer] of answers) this.#give(id, answer)
      } catch (error) {
        // They go on waiting: the next look finds them again.
        this.#failed(error)
      }
    }
  }

  #give(id: string, answer: StoredAnswer): void {
    const there = this.#waiters.get(id)
    if (there === undefined) return
    for (const waiter of there instanceof Set ? there : [there]) waiter.end({ kind: 'answer', answer })
  }

  #failed(error: unknown): void {
    this.#parts.log.warn('answers_not_read', { error: errorText(error) })
  }
}

function* slices<Item>(items: readonly Item[], size: number): Generator<readonly Item[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size)
}
