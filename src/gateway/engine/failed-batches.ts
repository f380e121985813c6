import { planFailedBatch } from '../../batch/failed-batch.ts'
import type { BatchFault } from '../../batch/steps.ts'
import { lineId } from '../../batch/wire-line.ts'
import { RemoteError } from '../../errors.ts'
import { assertNever } from '../../util/exhaustive.ts'
import { failureAnswer } from '../answers/result-slice.ts'
import type { Outcome, Route } from '../domain/request.ts'
import { abandoned, lateUploads, remoteFilesOf } from './attempt.ts'
import { settleWaiting } from './batch-requests.ts'
import type { Claim } from './claims.ts'
import type { EngineContext } from './context.ts'
import { modelFault } from './model-fault.ts'
import type { Next } from './next.ts'
import { spooledLines } from './spool.ts'
import { MOST_REFUSALS, refusedPauseMs, type Unsent } from './unsent.ts'

/** What becomes of batches that the server refused as a whole, after it took them in. */
export class FailedBatches {
  readonly #context: EngineContext
  readonly #unsent: Unsent

  constructor(context: EngineContext, unsent: Unsent) {
    this.#context = context
    this.#unsent = unsent
  }

  async take(claim: Claim): Promise<Next> {
    const { faults, number, batchId } = claim.batch
    const [fault] = faults
    this.#context.log.warn('batch_failed', {
      batch: number,
      remote: batchId,
      code: fault?.code,
      reason: fault?.message,
    })
    const requests = Math.max(claim.batch.live, claim.batch.requests)
    const plan = planFailedBatch({ faults, requests, mayFinalise: true })
    switch (plan.kind) {
      case 'wait':
        return this.#waitForRoom(claim)
      case 'heal':
        return this.#heal(claim, plan.lines)
      case 'fail':
      case 'block':
        return this.#fail(claim)
      default:
        return assertNever(plan)
    }
  }

  /** The account is full, or out of money. The lines go again, in smaller batches if that helps. */
  async #waitForRoom(claim: Claim): Promise<Next> {
    const { enqueued, time } = this.#context
    const { tag, faults, model, tokens, live } = claim.batch
    const when = await enqueued.refused(claim.batch, tag, faults)
    const limit = enqueued.limitOf(model)
    const isAloneTooLarge = live === 1 && limit !== undefined && tokens > limit
    if (isAloneTooLarge && claim.batch.failures + 1 >= MOST_REFUSALS) return this.#failAll(claim, 429)
    const failures = claim.batch.failures + 1
    await this.#abandon(claim, failures)
    return when === 'now' ? 'on' : { atMs: time.now() + refusedPauseMs(failures) }
  }

  async #abandon(claim: Claim, failures: number): Promise<void> {
    const { batch } = claim
    const why = batch.faults[0]?.message ?? 'the server gave no reason'
    await claim.change({ ...abandoned(batch, why), failures, litter: remoteFilesOf(batch) })
  }

  /** The named lines are at fault: they fail alone, and the others are queued again. */
  async #heal(claim: Claim, lines: ReadonlyMap<number, BatchFault>): Promise<Next> {
    const named = await this.#named(claim, lines)
    if (named.size === 0) return this.#fail(claim)
    await settleWaiting(this.#context.store, claim, ({ id, route }) => {
      const fault = named.get(id)
      return fault && failedByFault(id, fault, route)
    })
    await claim.requeue('nothing')
    return this.#done(claim)
  }

  /**
   * Requests of the lines with these numbers, counted from 1 as the server saw them: requests have ended since that the
   * file it was given still has, so that file is asked. Empty when it is gone, or has no such lines of ours.
   */
  async #named(
    claim: Claim,
    lines: ReadonlyMap<number, BatchFault>,
  ): Promise<ReadonlyMap<string, BatchFault>> {
    const named = new Map<string, BatchFault>()
    let number = 0
    for await (const id of this.#idsOfLines(claim)) {
      const fault = lines.get(++number)
      if (fault && id !== undefined) named.set(id, fault)
    }
    return named
  }

  /** Ids of the lines in their order; undefined for a line that is none of ours. */
  async *#idsOfLines(claim: Claim): AsyncGenerator<string | undefined> {
    const { store, spool } = this.#context
    const { live, requests, number } = claim.batch
    const path = await this.#input(claim)
    // Without the file: as long as nothing has ended, what waits is what was sent.
    if (path === undefined && live === requests) for await (const { id } of store.lines(number)) yield id
    if (path === undefined) return
    try {
      for await (const text of spooledLines(path)) yield lineId(text)
    } finally {
      await spool.remove(path)
    }
  }

  async #input({ batch, lost }: Claim): Promise<string | undefined> {
    const { api, spool, stop } = this.#context
    const { inputFileId } = batch
    if (inputFileId === undefined) return undefined
    try {
      return await spool.receive(await api.downloadFile(inputFileId, AbortSignal.any([stop, lost])))
    } catch (error) {
      if (!(error instanceof RemoteError) || error.status !== 404) throw error
      return undefined
    }
  }

  /** The whole batch is at fault, or the server does not say what is. */
  async #fail(claim: Claim): Promise<Next> {
    const { time } = this.#context
    const { faults, adopted, fencedAt, failures, endpoint, model } = claim.batch
    const modelsOwn = modelFault(faults)
    if (modelsOwn) await this.#context.store.refuseModel(endpoint, model, modelsOwn.message)
    // A batch that was found may have failed only because its input had been deleted meanwhile.
    const missedInput = adopted && fencedAt !== undefined
    if ((missedInput || faults.length === 0) && failures + 1 < MOST_REFUSALS) {
      await this.#abandon(claim, failures + 1)
      return { atMs: time.now() + (missedInput ? 0 : refusedPauseMs(failures + 1)) }
    }
    return this.#failAll(claim, faults.length === 0 ? 500 : 400)
  }

  async #failAll(claim: Claim, status: number): Promise<Next> {
    const [fault] = claim.batch.faults
    const { code, message = 'the batch failed, and the server gave no reason' } = fault ?? {}
    return this.#unsent.fail(claim, { status, code, message })
  }

  async #done(claim: Claim): Promise<Next> {
    const { jobs, time } = this.#context
    await claim.change({ phase: 'done', litter: remoteFilesOf(claim.batch), ...lateUploads(claim.batch) })
    jobs.plan({ kind: 'cut' }, time.now())
    return 'on'
  }
}

function failedByFault(id: string, { code, message }: BatchFault, route: Route): Outcome {
  const failure = { code, message, status: 400, retryable: false, countsAsAttempt: true }
  return { kind: 'ended', id, ending: 'failed', ...failureAnswer(failure), costNanoUsd: 0, route }
}
