import { RemoteError } from '../../errors.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import { abandoned, remoteFilesOf } from './attempt.ts'
import type { Claim } from './claims.ts'
import type { EngineContext } from './context.ts'
import type { Next, Tried } from './next.ts'
import type { Unsent } from './unsent.ts'

/** What all steps of one attempt to create a batch have in common. */
export class AttemptSteps {
  readonly context: EngineContext
  readonly claim: Claim
  readonly unsent: Unsent

  constructor(context: EngineContext, claim: Claim, unsent: Unsent) {
    this.context = context
    this.claim = claim
    this.unsent = unsent
  }

  get batch(): GatewayBatch {
    return this.claim.batch
  }

  get tag(): string {
    return this.batch.tag ?? ''
  }

  /** Ends searches and waits, which can be begun again. */
  get patient(): AbortSignal {
    return AbortSignal.any([this.context.stop, this.claim.lost])
  }

  /** Ends calls that leave doubt behind when they are broken off. */
  get hard(): AbortSignal {
    return AbortSignal.any([this.context.cut, this.claim.lost])
  }

  /** The lines wait to be sent under another tag. */
  async abandon(why: string, litter = remoteFilesOf(this.batch)): Promise<Next> {
    const { model, tag } = this.batch
    await this.claim.change({ ...abandoned(this.batch, why), litter })
    await this.unsent.freeRoom(model, tag)
    return 'on'
  }

  /** A definite no: nothing was made. */
  async refused(error: RemoteError): Promise<Next> {
    const { status, message } = error
    const { log } = this.context
    const { number } = this.batch
    // Without a status nobody said no: there is only no way to the server at the moment.
    if (status === undefined)
      log.warn('upstream_trouble', { batch: number, what: 'unreachable', reason: message })
    else log.error('batch_refused', { batch: number, status, reason: message })
    await this.abandon(message)
    return this.unsent.refused(this.claim, error)
  }

  /** Makes a call that may be repeated. */
  async orLater<Result>(what: string, call: () => Promise<Result>): Promise<Tried<Result>> {
    try {
      const result = await call()
      this.context.troubles.over(this.batch.number)
      return { ok: true, result }
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      return { ok: false, next: await this.later(what, error) }
    }
  }

  /** What failed is tried again, for ever. */
  async later(what: string, error: RemoteError): Promise<Next> {
    const { stop, log, time, troubles } = this.context
    if (stop.aborted) return { atMs: time.now() }
    const { number } = this.batch
    const note = `${what}: ${error.message}`
    if (note !== this.batch.note) await this.claim.change({ note })
    log.warn('upstream_trouble', { batch: number, what, reason: error.message })
    return { atMs: time.now() + troubles.more(number, error.retryAfterMs) }
  }
}
