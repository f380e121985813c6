import { errorText } from '../../errors.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import { type Claim, ClaimLost, type Claims } from './claims.ts'
import type { Collection } from './collection.ts'
import { type EngineContext, jobOf } from './context.ts'
import type { Next } from './next.ts'
import { Submission } from './submission.ts'
import type { Unsent } from './unsent.ts'

export interface AdvancingParts {
  readonly claims: Claims
  readonly unsent: Unsent
  readonly collection: Collection
}

/** Takes single batches on, step by step, for as far as they get without waiting. */
export class Advancing {
  readonly #context: EngineContext
  readonly #parts: AdvancingParts

  constructor(context: EngineContext, parts: AdvancingParts) {
    this.#context = context
    this.#parts = parts
  }

  /** Nothing happens when somebody else is at it. Throws what the store threw, after the claim was given up. */
  async run(number: number): Promise<void> {
    const { claims } = this.#parts
    const claim = await claims.take(number)
    if (!claim) return
    let nextAt: number | undefined
    try {
      nextAt = await this.#advance(claim)
    } catch (error) {
      if (!(error instanceof ClaimLost)) throw error
      this.#context.log.warn('claim_lost', { batch: number, reason: errorText(error) })
    } finally {
      await this.#leave(claim, nextAt)
    }
  }

  async #leave(claim: Claim, nextAt: number | undefined): Promise<void> {
    const { time, troubles, jobs, stop } = this.#context
    // What was thrown may be thrown again.
    const at = nextAt ?? time.now() + troubles.more(claim.number)
    await this.#parts.claims.release(claim, at)
    const job = jobOf(claim.batch)
    if (job && !stop.aborted && !claim.lost.aborted) jobs.plan(job, at)
  }

  /** When there is more to do, in milliseconds since 1970. */
  async #advance(claim: Claim): Promise<number> {
    const { stop, time } = this.#context
    const submission = new Submission(this.#context, claim, this.#parts.unsent)
    let next: Next = 'on'
    while (next === 'on' && !stop.aborted) {
      if (!isAdvanced(claim.batch)) return claim.batch.nextAt
      next =
        claim.batch.phase === 'ended' ? await this.#parts.collection.step(claim) : await submission.step()
    }
    return next === 'on' ? time.now() : next.atMs
  }
}

/** The others wait for the server, or for nothing. */
const isAdvanced = ({ phase }: GatewayBatch): boolean => phase !== 'remote' && phase !== 'done'
