import { errorText, NightshiftError } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import type { BatchChange, GatewayBatch } from '../domain/batch.ts'
import type { Outcome, Route } from '../domain/request.ts'
import type { Log } from '../log.ts'
import type { GatewayStore } from '../store/store.ts'

/** How long a claim lasts when nobody renews it. */
const LEASE_MS = 30_000
const RENEWALS = 3

/** Another process has claimed the batch since: whatever was under way for it is its business now. */
export class ClaimLost extends NightshiftError {
  override readonly name = 'ClaimLost'

  constructor(batch: number) {
    super('claim_lost', `batch ${batch} was claimed by another process`, { retryable: true })
  }
}

/** A batch that this process alone may change. Every change is refused, and throws `ClaimLost`, once that has ended. */
export class Claim {
  readonly #store: GatewayStore
  readonly #lost = new AbortController()
  readonly epoch: number
  #batch: GatewayBatch

  constructor(store: GatewayStore, batch: GatewayBatch, epoch: number) {
    this.#store = store
    this.#batch = batch
    this.epoch = epoch
  }

  /** As this process left it. */
  get batch(): GatewayBatch {
    return this.#batch
  }

  get number(): number {
    return this.#batch.number
  }

  /** Aborted when it is known that the claim was lost. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  async change(change: BatchChange): Promise<GatewayBatch> {
    this.#batch = this.#kept(await this.#store.change(this.number, this.epoch, change))
    return this.#batch
  }

  /** Ids that something was put on record for. */
  async settle(outcomes: readonly Outcome[]): Promise<readonly string[]> {
    return outcomes.length === 0
      ? []
      : this.#kept(await this.#store.settle(this.number, this.epoch, outcomes))
  }

  /** Puts what still waits for it back into the queue. */
  async requeue(uses: 'expiry' | 'nothing', route?: Route): Promise<number> {
    return this.#kept(await this.#store.requeue(this.number, this.epoch, uses, route))
  }

  /** Makes sure that it lasts for a while. */
  async renew(): Promise<void> {
    if (!(await this.#store.renew(this.number, this.epoch, LEASE_MS))) this.#kept(undefined)
  }

  lose(): void {
    this.#lost.abort()
  }

  #kept<Value>(value: Value | undefined): Value {
    if (value !== undefined && !this.lost.aborted) return value
    this.lose()
    throw new ClaimLost(this.number)
  }
}

interface Kept {
  readonly claim: Claim
  /** By this process's clock. */
  untilMs: number
}

export interface ClaimsOptions {
  readonly store: GatewayStore
  readonly clock: Clock
  readonly replica: string
  readonly log: Log
}

/** The claims of one process, which it makes last for as long as it works on them. */
export class Claims {
  readonly #store: GatewayStore
  readonly #clock: Clock
  readonly #replica: string
  readonly #log: Log
  readonly #kept = new Map<number, Kept>()
  #loop: Promise<void> | undefined

  constructor({ store, clock, replica, log }: ClaimsOptions) {
    this.#store = store
    this.#clock = clock
    this.#replica = replica
    this.#log = log
  }

  /** Undefined when somebody has it, this process included. */
  async take(batch: number): Promise<Claim | undefined> {
    if (this.#kept.has(batch)) return undefined
    const claimed = await this.#store.claim(batch, this.#replica, LEASE_MS)
    if (!claimed) return undefined
    const claim = new Claim(this.#store, claimed.batch, claimed.epoch)
    this.#kept.set(batch, { claim, untilMs: this.#clock.now() + LEASE_MS })
    this.#loop ??= this.#renewAll()
    return claim
  }

  /**
   * Gives a claim up, with the time when its batch is to be looked at again. Safe to be called twice. Never throws: what
   * the store could not be told ends by itself.
   */
  async release(claim: Claim, nextAt: number): Promise<void> {
    const { number, epoch, lost } = claim
    if (this.#kept.get(number)?.claim !== claim) return
    this.#kept.delete(number)
    if (lost.aborted) return
    try {
      await this.#store.release(number, epoch, nextAt)
    } catch (error) {
      this.#log.warn('not_released', { batch: number, reason: errorText(error) })
    }
  }

  async #renewAll(): Promise<void> {
    while (this.#kept.size > 0) {
      await this.#clock.sleep(LEASE_MS / RENEWALS, undefined, { background: true })
      for (const kept of [...this.#kept.values()]) await this.#renew(kept)
    }
    this.#loop = undefined
  }

  /** A store that is away may come back before the claim has ended. */
  async #renew(kept: Kept): Promise<void> {
    const { claim } = kept
    const untilMs = this.#clock.now() + LEASE_MS
    try {
      await claim.renew()
      kept.untilMs = untilMs
    } catch (error) {
      if (!NightshiftError.is(error)) throw error
      if (this.#clock.now() >= kept.untilMs) claim.lose()
    }
  }
}
