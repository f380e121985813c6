import type { Clock } from '../../../util/clock.ts'
import { type Timed, TimeHeap } from './time-heap.ts'

/** Something that wants to be woken at a time. */
export interface Sleeper extends Timed {
  /** Called once, when its time has come; it is out of the alarm by then. */
  ring(): void
}

/** Wakes very many with one timer. */
export class Alarm {
  readonly #clock: Clock
  readonly #heap = new TimeHeap<Sleeper>()
  #nap: AbortController | undefined
  #napEnds = Number.POSITIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** How many wait for their time. */
  get size(): number {
    return this.#heap.size
  }

  set(sleeper: Sleeper, at: number): void {
    this.#heap.remove(sleeper)
    sleeper.at = at
    this.#heap.add(sleeper)
    this.#plan()
  }

  clear(sleeper: Sleeper): void {
    this.#heap.remove(sleeper)
  }

  /** Wakes nobody any more. */
  close(): void {
    this.#nap?.abort()
    this.#napEnds = Number.NEGATIVE_INFINITY
  }

  /** A nap that ends too early does no harm; one that would end too late is broken off. */
  #plan(): void {
    const at = this.#heap.nextAt
    if (at === undefined || at >= this.#napEnds) return
    this.#nap?.abort()
    const nap = new AbortController()
    this.#nap = nap
    this.#napEnds = at
    const ms = Math.max(0, at - this.#clock.now())
    // Nobody waits for a timer of its own: what is held keeps the process alive.
    void this.#clock.sleep(ms, nap.signal, { background: true }).then(() => {
      if (!nap.signal.aborted) this.#wake()
    })
  }

  #wake(): void {
    this.#napEnds = Number.POSITIVE_INFINITY
    const nowMs = this.#clock.now()
    for (let due = this.#heap.takeDue(nowMs); due; due = this.#heap.takeDue(nowMs)) due.ring()
    this.#plan()
  }
}
