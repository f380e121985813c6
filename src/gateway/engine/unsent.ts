import { refusalOf } from '../../batch/refusals.ts'
import type { RemoteError } from '../../errors.ts'
import { failureAnswer } from '../answers/result-slice.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import type { Outcome, StoredRequest } from '../domain/request.ts'
import { lateUploads, remoteFilesOf } from './attempt.ts'
import { settleWaiting } from './batch-requests.ts'
import { cancelledWithBatch } from './cancelled.ts'
import type { Claim } from './claims.ts'
import type { EngineContext } from './context.ts'
import type { Next } from './next.ts'

/** Times in a row that the server may refuse a batch outright before its requests get that for an answer. */
export const MOST_REFUSALS = 3
const FIRST_PAUSE_MS = 30_000
const LONGEST_PAUSE_MS = 15 * 60_000

/** How long a batch that was refused waits before it is tried again, by how often that was. */
export const refusedPauseMs = (failures: number): number =>
  Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(20, Math.max(0, failures - 1)))

/** Ends for batches that are not, or no longer, at the server. */
export class Unsent {
  readonly #context: EngineContext

  constructor(context: EngineContext) {
    this.#context = context
  }

  /** Its requests wait in the queue again, to be cut otherwise. */
  async putBack(claim: Claim): Promise<Next> {
    await claim.requeue('nothing')
    await this.#context.enqueued.leave(claim.batch)
    await claim.change({ phase: 'done' })
    this.#context.jobs.plan({ kind: 'cut' }, this.#context.time.now())
    return 'on'
  }

  /** Somebody asked for its cancellation before it was created. */
  async withdraw(claim: Claim): Promise<Next> {
    const isCallers = claim.batch.cancel === 'caller'
    await settleWaiting(this.#context.store, claim, (request) =>
      isCallers ? cancelledWithBatch(request.id, request.route) : this.#another(request),
    )
    await this.#context.enqueued.leave(claim.batch)
    await claim.change({ phase: 'done' })
    this.#context.calls.arrived()
    return 'on'
  }

  #another(request: StoredRequest): Outcome {
    const { time, ladder } = this.#context
    const now = time.now()
    return { kind: 'again', id: request.id, uses: 'nothing', readyAt: now, route: ladder(request, now) }
  }

  /**
   * The server refused to take the upload or the batch. What time or people can mend is waited for, however long: a full
   * account, a key that does not work. Anything else is tried a few times, and then is the answer.
   */
  async refused(claim: Claim, error: RemoteError): Promise<Next> {
    const { time } = this.#context
    const { status, remoteCode: code, message } = error
    const failures = claim.batch.failures + 1
    const mayMend = error.retryable || refusalOf({ status, code, message }) !== undefined
    if (!mayMend && failures >= MOST_REFUSALS) return this.fail(claim, { status, code, message })
    await claim.change({ failures })
    return { atMs: time.now() + Math.max(refusedPauseMs(failures), error.retryAfterMs ?? 0) }
  }

  /** All that waits for it gets the same error. */
  async fail(claim: Claim, fault: WholeFault): Promise<Next> {
    const { code = 'batch_failed', message, status } = fault
    const { retryable = false } = fault
    const failure = {
      code,
      message,
      retryable,
      countsAsAttempt: true,
      ...(status !== undefined && { status }),
    }
    const answer = failureAnswer(failure)
    await settleWaiting(this.#context.store, claim, ({ id, route }) => ({
      kind: 'ended',
      id,
      ending: 'failed',
      ...answer,
      costNanoUsd: 0,
      route,
    }))
    await claim.change({ phase: 'done', litter: remoteFilesOf(claim.batch), ...lateUploads(claim.batch) })
    return 'on'
  }

  /** What a batch held of the tokens that may be enqueued is free again. */
  async freeRoom(model: GatewayBatch['model'], tag: string | undefined): Promise<void> {
    const { enqueued, jobs, time } = this.#context
    if (tag === undefined) return
    for (const batch of await enqueued.ended([tag], model)) jobs.plan({ kind: 'submit', batch }, time.now())
  }
}

/** What was wrong with a batch as a whole. */
export interface WholeFault {
  readonly status?: number | undefined
  readonly code?: string | undefined
  readonly message: string
  readonly retryable?: boolean
}
