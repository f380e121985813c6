import type { Endpoint, WireBatchError } from '../openai/wire.ts'
import { ApiError } from './api-error.ts'
import type { BatchFaultBook } from './batch-fault-book.ts'
import { ShownBatches } from './batch-faults.ts'
import { BatchRun, type RunParts } from './batch-run.ts'
import { type Verdict, validateInput } from './batch-validation.ts'
import { batchView, page } from './batch-view.ts'
import { batchId, fileId } from './ids.ts'
import type { JsonObject } from './json.ts'
import { TERMINAL } from './lifecycle.ts'
import type { Foreigner, ListingFaults } from './listing-faults.ts'
import type { ResolvedOptions } from './options.ts'
import { type BatchRecord, batchRecordSchema, loadRecords } from './records.ts'
import type { BatchFault } from './scenario-batch.ts'
import { NO_TOTALS } from './tally.ts'

export interface NewBatch {
  readonly inputFileId: string
  readonly endpoint: Endpoint
  readonly metadata: Readonly<Record<string, string>> | null
  readonly outputExpiresAfterSeconds?: number | undefined
}

export interface BatchesParts extends Omit<RunParts, 'validate'> {
  readonly limits: ResolvedOptions['limits']
  readonly knows: (model: string) => boolean
  readonly faults: BatchFaultBook
  readonly listings: ListingFaults
  /** Whether lines of results may have to be marked. */
  readonly marksLines: boolean
}

/** All batches of the server. Unfinished ones are brought up to the clock whenever a request looks at them. */
export class Batches {
  readonly #parts: BatchesParts
  readonly #runParts: RunParts
  /** In the order of their creation. */
  readonly #records = new Map<string, BatchRecord>()
  readonly #active = new Map<string, BatchRun>()
  readonly #enqueued = new Map<string, { readonly model: string; readonly tokens: number }>()
  readonly #shown = new ShownBatches()
  #seq = 0

  constructor(parts: BatchesParts) {
    this.#parts = parts
    this.#runParts = { ...parts, validate: (batch, lines) => this.#validate(batch, lines) }
    for (const batch of loadRecords(parts.storage, 'batches', batchRecordSchema)) {
      this.#records.set(batch.id, batch)
      this.#seq = batch.seq
      if (!TERMINAL.has(batch.status)) this.#hold(batch)
    }
  }

  /** Goes on with the batches that an earlier process left unfinished. */
  resume(): void {
    for (const run of this.#active.values()) run.start()
  }

  async create(request: NewBatch): Promise<JsonObject> {
    if (this.#parts.limits.enqueuedTokens < Infinity) await this.advance()
    const file = await this.#inputFile(request.inputFileId)
    if (!file) throw refused(`No such File object: ${request.inputFileId}`)
    if (file.purpose !== 'batch') {
      throw refused(
        `The file ${file.id} has purpose '${file.purpose}'. A batch needs a file with purpose 'batch'.`,
      )
    }
    const faults = await this.#parts.faults.created(() => this.#parts.files.content(file.id))
    const id = batchId()
    const { before, after } = this.#parts.listings.made('batch', id)
    for (const foreigner of before) await this.#addForeign(request, foreigner)
    const record = this.#newRecord(id, request, faults)
    const run = this.#hold(record)
    await this.#save(record)
    run.start()
    for (const foreigner of after) await this.#addForeign(request, foreigner)
    return batchView(record, NO_TOTALS)
  }

  async get(id: string): Promise<JsonObject> {
    await this.#advance(id)
    const record = this.#record(id)
    if (this.#parts.listings.hides(id, 'get')) throw notFound(id)
    return this.#view(record)
  }

  async cancel(id: string): Promise<JsonObject> {
    if (this.#parts.listings.hides(id, 'cancel')) throw notFound(id)
    const run = this.#active.get(id)
    if (run) await run.cancel().finally(() => this.#settle(run))
    const record = this.#record(id)
    if (!run) throw new ApiError(409, `Cannot cancel a batch with status '${record.status}'.`)
    return this.#view(record)
  }

  /** Newest first. */
  async list({ after, limit }: { after?: string | undefined; limit: number }): Promise<JsonObject> {
    await this.advance()
    const { listings } = this.#parts
    const newestFirst = [...this.#records.values()].filter(({ id }) => !listings.hides(id, 'list')).reverse()
    const start = after === undefined ? 0 : newestFirst.findIndex(({ id }) => id === after) + 1
    if (after !== undefined && start === 0) throw notFound(after)
    return page(newestFirst, { start, limit: listings.pageSize('batch', limit) }, (record) =>
      this.#view(record),
    )
  }

  /** Models of the batches there have been. */
  get models(): ReadonlySet<string> {
    return new Set([...this.#records.values()].flatMap(({ model }) => model ?? []))
  }

  /** Brings all batches up to the clock. */
  async advance(): Promise<void> {
    for (const id of [...this.#active.keys()]) await this.#advance(id)
  }

  /** Stops all work; a later process on the same data goes on with it. */
  async close(): Promise<void> {
    await Promise.all([...this.#active.values()].map((run) => run.stop()))
  }

  async #advance(id: string): Promise<void> {
    const run = this.#active.get(id)
    if (run) await run.advance().finally(() => this.#settle(run))
  }

  /** Takes over what a run has come to. */
  #settle(run: BatchRun): void {
    this.#records.set(run.record.id, run.record)
    if (!TERMINAL.has(run.record.status)) return
    this.#active.delete(run.record.id)
    this.#enqueued.delete(run.record.id)
  }

  #hold(record: BatchRecord): BatchRun {
    for (const id of [record.inputFileId, record.outputFileId, record.errorFileId]) this.#parts.files.hold(id)
    const run = new BatchRun(record, this.#runParts)
    this.#active.set(record.id, run)
    const { model, tokens } = record
    if (model !== undefined && tokens !== undefined) this.#enqueued.set(record.id, { model, tokens })
    return run
  }

  #record(id: string): BatchRecord {
    const record = this.#records.get(id)
    if (!record) throw notFound(id)
    return record
  }

  #view(record: BatchRecord): JsonObject {
    const view = batchView(record, this.#active.get(record.id)?.totals ?? record.kept ?? NO_TOTALS)
    return this.#shown.shown(record, view, TERMINAL.has(record.status))
  }

  async #inputFile(id: string) {
    const file = await this.#parts.files.find(id)
    return file && this.#parts.listings.hides(id, 'create') ? undefined : file
  }

  async #save(record: BatchRecord): Promise<void> {
    await this.#parts.storage.save('batches', record.id, JSON.stringify(record))
    this.#records.set(record.id, record)
  }

  /** An ended batch of somebody else. */
  async #addForeign(ours: NewBatch, { metadata }: Foreigner): Promise<void> {
    const record = this.#newRecord(batchId(), { ...ours, inputFileId: fileId(), metadata }, [])
    const at = record.createdMs
    const since = { in_progress: at, finalizing: at, completed: at }
    await this.#save({ ...record, status: 'completed', since, total: 0, kept: NO_TOTALS })
  }

  #newRecord(id: string, request: NewBatch, faults: readonly BatchFault[]): BatchRecord {
    const { outputExpiresAfterSeconds, ...rest } = request
    this.#seq += 1
    return {
      ...rest,
      id,
      seq: this.#seq,
      outputFileId: fileId(),
      errorFileId: fileId(),
      ...(outputExpiresAfterSeconds !== undefined && { outputExpiresAfterSeconds }),
      metadata: request.metadata && { ...request.metadata },
      status: 'validating',
      createdMs: this.#parts.clock.now(),
      since: {},
      ...(faults.length > 0 && { faults: [...faults] }),
      ...(this.#parts.marksLines && { marked: true }),
    }
  }

  async #validate(batch: BatchRecord, lines: AsyncIterable<readonly string[]>): Promise<Verdict> {
    const { limits, knows } = this.#parts
    const { maxRequests, maxEmbeddingInputs } = limits
    const verdict = await validateInput(lines, {
      endpoint: batch.endpoint,
      maxRequests,
      maxEmbeddingInputs,
      knows,
    })
    const excess = verdict.kind === 'valid' ? this.#enqueue(batch.id, verdict) : undefined
    return excess ? { kind: 'invalid', errors: [excess] } : verdict
  }

  /** Takes the tokens of a batch from its model's limit, or says why not. */
  #enqueue(id: string, { model, tokens }: { model: string; tokens: number }): WireBatchError | undefined {
    const limit = this.#parts.limits.enqueuedTokens
    let sum = tokens
    for (const [other, enqueued] of this.#enqueued) {
      if (other !== id && enqueued.model === model) sum += enqueued.tokens
    }
    if (sum <= limit) {
      this.#enqueued.set(id, { model, tokens })
      return undefined
    }
    const message =
      `Enqueued token limit reached for ${model} in organization org-emulator. Limit: ${limit} enqueued tokens. ` +
      'Please try again once some in_progress batches have been completed.'
    return { code: 'token_limit_exceeded', message, line: null, param: null }
  }
}

const notFound = (id: string): ApiError => new ApiError(404, `No batch found with id '${id}'.`)

const refused = (message: string): ApiError =>
  new ApiError(400, message, { param: 'input_file_id', code: 'invalid_value' })
