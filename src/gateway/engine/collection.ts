import { RemoteError } from '../../errors.ts'
import { type ResultSlice, sliceResult } from '../answers/result-slice.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import type { Outcome, StoredRequest } from '../domain/request.ts'
import { isForeign, isOver } from './absences.ts'
import { lateUploads, remoteFilesOf } from './attempt.ts'
import { CHUNK, settleWaiting } from './batch-requests.ts'
import { cancelledWithBatch } from './cancelled.ts'
import type { Claim } from './claims.ts'
import type { EngineContext } from './context.ts'
import { Download } from './download.ts'
import type { FailedBatches } from './failed-batches.ts'
import type { Next } from './next.ts'
import { type Failed, failedLine, ruleOnFailed, unanswered } from './rulings.ts'
import { spooledLines } from './spool.ts'

/** Bytes of answers that are put on record at once. */
const CHUNK_BYTES = 8 * 1024 * 1024

/** What was found in the files of a batch. */
interface Taken {
  /** Lines with an answer. */
  readonly answers: number
  /** Lines that say that a request failed. */
  readonly failures: number
  /** None of its files was gone from the server, or cut off. */
  readonly isWhole: boolean
}

const NOTHING: Taken = { answers: 0, failures: 0, isWhole: true }

/** Takes what an ended batch produced: every answer is on record before anything is decided about the others. */
export class Collection {
  readonly #context: EngineContext
  readonly #failedBatches: FailedBatches
  readonly #download: Download

  constructor(context: EngineContext, failedBatches: FailedBatches) {
    this.#context = context
    this.#failedBatches = failedBatches
    this.#download = new Download(context)
  }

  async step(claim: Claim): Promise<Next> {
    try {
      return await this.#collect(claim)
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      return this.#later(claim, error)
    }
  }

  #later({ number }: Claim, error: RemoteError): Next {
    const { stop, log, time, troubles } = this.#context
    if (stop.aborted) return { atMs: time.now() }
    log.warn('upstream_trouble', { batch: number, what: 'collecting', reason: error.message })
    return { atMs: time.now() + troubles.more(number, error.retryAfterMs) }
  }

  async #collect(claim: Claim): Promise<Next> {
    const { outputFileId, errorFileId, status } = claim.batch
    const hasFiles = outputFileId !== undefined || errorFileId !== undefined
    const taken = hasFiles ? await this.#takeFiles(claim) : NOTHING
    this.#context.troubles.over(claim.number)
    if (status === 'failed' && taken.answers + taken.failures === 0) return this.#failedBatches.take(claim)
    await this.#takeRest(claim, taken)
    return this.#finish(claim)
  }

  async #takeFiles(claim: Claim): Promise<Taken> {
    const { spool, stop, api, time } = this.#context
    const { batch, lost } = claim
    const mayComeBack = isForeign(batch, api.fingerprint) && !isOver(batch, time.now())
    const { path, isWhole } = await this.#download.fetch(batch, AbortSignal.any([stop, lost]), mayComeBack)
    try {
      const taken = await this.#takeAnswers(claim, path)
      if (taken.failures > 0) await this.#takeFailures(claim, path, taken.answers > 0)
      return { ...taken, isWhole }
    } finally {
      await spool.remove(path)
    }
  }

  /** All answers first: should another line say that the same request failed, the answer counts, which is paid for. */
  async #takeAnswers(claim: Claim, path: string): Promise<Omit<Taken, 'isWhole'>> {
    const { log, jobs, time } = this.#context
    const { endpoint } = claim.batch
    const counts = { answers: 0, failures: 0, odd: 0 }
    const outcomes = new Map<string, Outcome>()
    let bytes = 0
    for await (const text of spooledLines(path)) {
      const slice = sliceResult(text, endpoint)
      if (slice?.ending !== 'succeeded') {
        if (slice) counts.failures++
        else counts.odd++
        continue
      }
      counts.answers++
      if (!outcomes.has(slice.id)) outcomes.set(slice.id, this.#answer(claim.batch, slice))
      bytes += text.length
      if (outcomes.size < CHUNK && bytes < CHUNK_BYTES) continue
      await claim.settle([...outcomes.values()])
      this.#unlessStopped()
      outcomes.clear()
      bytes = 0
    }
    await claim.settle([...outcomes.values()])
    if (counts.odd > 0) log.warn('odd_lines', { batch: claim.number, lines: counts.odd })
    if (counts.answers > 0) jobs.plan({ kind: 'webhook' }, time.now())
    return counts
  }

  /** What is on record stays there: the next process goes through the files once more for the rest. */
  #unlessStopped(): void {
    if (this.#context.stop.aborted) throw new RemoteError('aborted', 'the gateway is closing')
  }

  #answer({ model, createdAt }: GatewayBatch, slice: ResultSlice): Outcome {
    const { id, status, body, requestId, usage } = slice
    const costNanoUsd = usage && this.#context.valuer.costNanoUsd(model, 'batch', usage, createdAt)
    return {
      kind: 'ended',
      id,
      ending: 'succeeded',
      status,
      body,
      requestId,
      usage,
      costNanoUsd,
      route: 'batch',
    }
  }

  async #takeFailures(claim: Claim, path: string, keyWorks: boolean): Promise<void> {
    const slices = new Map<string, ResultSlice>()
    for await (const text of spooledLines(path)) {
      const slice = sliceResult(text, claim.batch.endpoint)
      if (slice?.ending !== 'failed') continue
      if (!slices.has(slice.id)) slices.set(slice.id, slice)
      if (slices.size < CHUNK) continue
      await this.#settleFailures(claim, slices, keyWorks)
      this.#unlessStopped()
      slices.clear()
    }
    await this.#settleFailures(claim, slices, keyWorks)
  }

  async #settleFailures(
    claim: Claim,
    slices: ReadonlyMap<string, ResultSlice>,
    keyWorks: boolean,
  ): Promise<void> {
    const requests = await this.#context.store.requests([...slices.keys()])
    const outcomes = requests.flatMap((request) => {
      const slice = slices.get(request.id)
      return slice ? [this.#failure(claim.batch, request, slice, keyWorks)] : []
    })
    await claim.settle(outcomes)
  }

  /** What was not tried is as if its batch had said nothing of it. */
  #failure(batch: GatewayBatch, request: StoredRequest, slice: ResultSlice, keyWorks: boolean): Outcome {
    const { usage } = slice
    const { model, createdAt } = batch
    const cost = usage ? (this.#context.valuer.costNanoUsd(model, 'batch', usage, createdAt) ?? 0) : 0
    const failed = failedLine(slice, cost, keyWorks)
    const wasCalledBack = failed.uses === 'expiry' && !failed.isRefusal
    return wasCalledBack ? this.#untried(batch, request, failed) : this.#rule(batch, request, failed)
  }

  /** What failed together is ready together, to be one batch again: however long it takes to put all of it on record. */
  #rule({ phaseAt }: GatewayBatch, request: StoredRequest, failed: Failed): Outcome {
    const { settings } = this.#context
    return ruleOnFailed(request, failed, { limits: settings, nowMs: phaseAt, route: request.route })
  }

  /** Its batch ended before it was its turn: by its caller's wish, for its deadline, or because time was up. */
  #untried(batch: GatewayBatch, request: StoredRequest, failed: Failed): Outcome {
    const { time, ladder } = this.#context
    const { cancel } = batch
    if (cancel === 'caller') return cancelledWithBatch(request.id, request.route)
    if (cancel === undefined) return this.#rule(batch, request, failed)
    const now = time.now()
    return { kind: 'again', id: request.id, uses: 'nothing', readyAt: now, route: ladder(request, now) }
  }

  /** Requests about which the batch says nothing. */
  async #takeRest(claim: Claim, { isWhole }: Taken): Promise<void> {
    const { batch } = claim
    const { status = '' } = batch
    const wasTried = status !== 'expired' && status !== 'cancelled'
    const failed = unanswered(status, wasTried)
    // What a batch that is gone did, or a file said, may have been charged.
    const mayHaveCost = status === 'gone' || !isWhole
    const rest = await settleWaiting(this.#context.store, claim, (request) => {
      const outcome = wasTried ? this.#rule(batch, request, failed) : this.#untried(batch, request, failed)
      return mayHaveCost ? { ...outcome, costNanoUsd: request.reservedNanoUsd } : outcome
    })
    if (rest > 0) this.#context.log.warn('unanswered', { batch: batch.number, status, requests: rest })
  }

  async #finish(claim: Claim): Promise<Next> {
    const { jobs, time, calls } = this.#context
    const litter = remoteFilesOf(claim.batch)
    await claim.change({ phase: 'done', litter, ...lateUploads(claim.batch) })
    // What goes round once more is cut, called, or told of.
    jobs.plan({ kind: 'cut' }, time.now())
    jobs.plan({ kind: 'webhook' }, time.now())
    calls.arrived()
    return 'on'
  }
}
