import type { Clock } from '../../util/clock.ts'
import type { GatewayStore } from '../store/store.ts'

/** A difference that the question itself may make. */
const NOISE_MS = 50

/** The store's time, in which all that is on record is dated, without asking the store each time. */
export class StoreTime {
  readonly #store: Pick<GatewayStore, 'now'>
  readonly #clock: Clock
  #aheadMs = 0

  constructor(store: Pick<GatewayStore, 'now'>, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  /** Milliseconds since 1970. */
  now(): number {
    return this.#clock.now() + this.#aheadMs
  }

  /** Looks at the store's clock, which may be another machine's. */
  async refresh(): Promise<void> {
    const before = this.#clock.now()
    const theirs = await this.#store.now()
    const after = this.#clock.now()
    const isWithin = theirs >= before - NOISE_MS && theirs <= after + NOISE_MS
    this.#aheadMs = isWithin ? 0 : theirs - (before + after) / 2
  }
}
