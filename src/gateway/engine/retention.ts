import type { Clock } from '../../util/clock.ts'
import type { Log } from '../log.ts'
import type { GatewaySettings } from '../settings.ts'
import type { GatewayStore } from '../store/store.ts'
import { BackgroundLoop } from './calls/background-loop.ts'
import type { StoreTime } from './store-time.ts'

export interface RetentionOptions {
  readonly store: Pick<GatewayStore, 'forget' | 'lease'>
  readonly settings: Pick<GatewaySettings, 'retentionMs' | 'cacheMs' | 'claimMs'>
  readonly time: StoreTime
  readonly clock: Clock
  readonly log: Log
  readonly replica: string
}

/** Requests forgotten in one transaction: it must not keep callers waiting. */
const STEP = 500
/** Between two of them, others have their turn. */
const BREATH_MS = 50
const ROUND_MS = 10 * 60_000

/** Forgets what is done and older than the gateway was told to keep it, or has promised to answer from. */
export class Retention {
  readonly #options: RetentionOptions
  readonly #loop: BackgroundLoop

  constructor(options: RetentionOptions) {
    this.#options = options
    const { clock, log } = options
    this.#loop = new BackgroundLoop({ name: 'retention', clock, log, step: () => this.#forget() })
  }

  start(): void {
    this.#loop.start()
  }

  /** Resolves when the step under way has ended. */
  close(): Promise<void> {
    return this.#loop.close()
  }

  async #forget(): Promise<number> {
    const { store, time, log, clock, replica } = this.#options
    const { stop } = this.#loop
    let forgotten = 0
    while (!stop.aborted && (await store.lease('retention', replica, ROUND_MS))) {
      const count = await store.forget(time.now() - this.#keptMs(), STEP)
      forgotten += count
      if (count < STEP) break
      await clock.sleep(BREATH_MS, stop, { background: true })
    }
    if (forgotten > 0) log.info('forgotten', { requests: forgotten })
    return ROUND_MS
  }

  #keptMs(): number {
    const { retentionMs, cacheMs, claimMs } = this.#options.settings
    return Math.max(retentionMs, cacheMs, claimMs)
  }
}
