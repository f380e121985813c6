import { errorText, NightshiftError } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import type { BatchChange, GatewayBatch } from '../domain/batch.ts'
import type { Outcome, Route } from '../domain/request.ts'
import type { Log } from '../log.ts'
import type { ClaimedBatch, GatewayStore } from '../store/store.ts'

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
  readonly #leaseMs: number
  readonly #lost = new AbortController()
  readonly epoch: number
  #batch: GatewayBatch

  constructor({ store, leaseMs }: ClaimsOptions, { batch, epoch }: ClaimedBatch) {
    this.#store = store
    this.#leaseMs = leaseMs
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
    if (!(await this.#store.renew(this.number, this.epoch, this.#leaseMs))) this.#kept(undefined)
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
  /** How long a claim lasts when nobody renews it, in milliseconds. */
  readonly leaseMs: number
}

/** The claims of one process, which it makes last for as long as it works on them. */
export class Claims {
  readonly #options: ClaimsOptions
  readonly #kept = new Map<number, Kept>()
  #loop: Promise<void> | undefined

  constructor(options: ClaimsOptions) {
    this.#options = options
  }

  /** Undefined when somebody has it, this process included. */
  async take(batch: number): Promise<Claim | undefined> {
    if (this.#kept.has(batch)) return undefined
    const { store, clock, replica, leaseMs } = this.#options
    const untilMs = clock.now() + leaseMs
    const claimed = await store.claim(batch, replica, leaseMs)
    if (!claimed) return undefined
    const claim = new Claim(this.#options, claimed)
    this.#kept.set(batch, { claim, untilMs })
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
      await this.#options.store.release(number, epoch, nextAt)
    } catch (error) {
      this.#options.log.warn('not_released', { batch: number, reason: errorText(error) })
    }
  }

  async #renewAll(): Promise<void> {
    const { clock, leaseMs } = this.#options
    while (this.#kept.size > 0) {
      await clock.sleep(leaseMs / RENEWALS, undefined, { background: true })
      for (const kept of [...this.#kept.values()]) await this.#renew(kept)
    }
    this.#loop = undefined
  }

  /** A store that is away may come back before the claim has ended. Never throws: all other claims depend on it. */
  async #renew(kept: Kept): Promise<void> {
    const { claim } = kept
    const { clock, leaseMs, log } = this.#options
    const untilMs = clock.now() + leaseMs
    try {
      await claim.renew()
      kept.untilMs = untilMs
    } catch (error) {
      if (!NightshiftError.is(error))
        log.error('not_renewed', { batch: claim.number, reason: errorText(error) })
      if (clock.now() >= kept.untilMs) claim.lose()
    }
  }
}
