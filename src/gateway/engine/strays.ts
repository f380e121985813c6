import { awaitsFiles } from '../../batch/batch-end.ts'
import { terminalStatus } from '../../batch/polling.ts'
import { listed } from '../../batch/remote-marks.ts'
import { isCancelRefusal } from '../../batch/remote-refusals.ts'
import { cameOf } from '../../batch/strays.ts'
import { RemoteError } from '../../errors.ts'
import { ENDPOINTS, type Endpoint, type WireBatch } from '../../openai/wire.ts'
import { sliceResult } from '../answers/result-slice.ts'
import type { RetiredTag } from '../domain/batch.ts'
import type { Outcome } from '../domain/request.ts'
import { CHUNK } from './batch-requests.ts'
import type { EngineContext } from './context.ts'
import { type Answered, Download } from './download.ts'
import { allBatches, findUploads } from './remote-search.ts'
import { spooledLines } from './spool.ts'

/** Batches of one server may be dated a little out of order. */
const DATE_SLACK_S = 3_600
/** After so long nothing can come of an attempt any more: its input file is gone, too. */
const FORGOTTEN_MS = 31 * 24 * 3_600_000
const FIRST_INTERVAL_MS = 60_000
/** The longer nothing has come of it, the more seldom it is looked for. */
const SHARE_OF_AGE = 1 / 10

/** Looks for batches and uploads of attempts that were given up: cancels them, takes what they answered, removes the rest. */
export class Strays {
  readonly #context: EngineContext
  readonly #download: Download
  /** Batches that nothing is to be done about any more. */
  readonly #settled = new Set<string>()
  readonly #looks = new Map<string, number>()
  #lookedMs: number | undefined
  #isBusy = false

  constructor(context: EngineContext) {
    this.#context = context
    this.#download = new Download(context)
  }

  /** Looks, if that is due. Throws `RemoteError`. */
  async run(): Promise<void> {
    const tags = await this.#context.store.retiredTags()
    const now = this.#context.time.now()
    const old = tags.filter(({ since }) => now - since * 1000 > FORGOTTEN_MS)
    if (old.length > 0) await this.#context.store.forgetTags(old.map(({ tag }) => tag))
    const kept = tags.filter((one) => !old.includes(one))
    if (kept.length === 0 || !this.#isDue(kept, now)) return
    this.#lookedMs = now
    await this.#look(kept)
  }

  #isDue(tags: readonly RetiredTag[], now: number): boolean {
    if (this.#isBusy || this.#lookedMs === undefined) return true
    const youngest = Math.min(...tags.map(({ since }) => now - since * 1000))
    const interval = Math.max(FIRST_INTERVAL_MS, youngest * SHARE_OF_AGE)
    // A clock that was set back must not make it longer.
    return Math.abs(now - this.#lookedMs) >= interval
  }

  async #look(tags: readonly RetiredTag[]): Promise<void> {
    const { api, stop } = this.#context
    await this.#removeUploads(tags)
    const own = await this.#own()
    const oldest = Math.min(...tags.map(({ since }) => since)) - DATE_SLACK_S
    let isBusy = false
    for await (const batch of allBatches(api, stop)) {
      if (batch.created_at < oldest) break
      const tag = tags.find((one) => isOf(one, batch))
      if (!tag || own.batches.has(batch.id) || this.#settled.has(batch.id)) continue
      if (await this.#take({ tag, batch, inputs: own.inputs })) this.#settled.add(batch.id)
      else isBusy = true
    }
    this.#isBusy = isBusy
  }

  /** What is waited for: an attempt of it may have led to another batch of the same input. */
  async #own(): Promise<{ readonly batches: ReadonlySet<string>; readonly inputs: ReadonlySet<string> }> {
    const open = await this.#context.store.openBatches()
    const known = (ids: readonly (string | undefined)[]) => new Set(ids.filter((id) => id !== undefined))
    return {
      batches: known(open.map(({ batchId }) => batchId)),
      inputs: known(open.map(({ inputFileId }) => inputFileId)),
    }
  }

  async #removeUploads(tags: readonly RetiredTag[]): Promise<void> {
    const { api, store, stop } = this.#context
    const doubtful = tags.filter(({ inputFileId }) => inputFileId === undefined).map(({ tag }) => tag)
    if (doubtful.length === 0) return
    const found = await findUploads(api, doubtful, stop)
    if (found.length > 0) await store.addLitter(found.map(({ id }) => id))
  }

  /** True when there is nothing more to be done about it. What fails is tried again at the next look. */
  async #take(stray: Stray): Promise<boolean> {
    const { log, stop } = this.#context
    const { tag, batch } = stray
    const looks = this.#looks.get(batch.id) ?? 0
    if (looks === 0) log.warn('stray_batch', { remote: batch.id, batch: tag.batch, status: batch.status })
    this.#looks.set(batch.id, looks + 1)
    try {
      return await this.#settle(stray, looks)
    } catch (error) {
      if (!(error instanceof RemoteError) || stop.aborted) throw error
      log.warn('upstream_trouble', { batch: tag.batch, what: 'a stray batch', reason: error.message })
      return false
    }
  }

  async #settle({ tag, batch, inputs }: Stray, looks: number): Promise<boolean> {
    const { log, store } = this.#context
    if (!terminalStatus(batch.status)) {
      await this.#cancel(batch)
      return false
    }
    if (awaitsFiles(batch, looks)) return false
    const served = await this.#serve(tag, batch)
    const { input_file_id: input, output_file_id: output, error_file_id: errors } = batch
    const litter = [inputs.has(input) ? undefined : input, output, errors].filter((id) => id !== undefined)
    await store.addLitter(litter)
    log.info('stray_settled', { remote: batch.id, batch: tag.batch, status: batch.status, served })
    return true
  }

  async #cancel({ id, status }: WireBatch): Promise<void> {
    if (status === 'cancelling') return
    try {
      await this.#context.api.cancelBatch(id, this.#context.stop)
    } catch (error) {
      if (!(error instanceof RemoteError) || !isCancelRefusal(error)) throw error
    }
  }

  /** Gives its answers to requests that still wait for one. What else it says of them the batch they are in says better. */
  async #serve(tag: RetiredTag, batch: WireBatch): Promise<number> {
    const { spool } = this.#context
    const answered = { outputFileId: batch.output_file_id, errorFileId: undefined }
    const endpoint = ENDPOINTS.find((one) => one === batch.endpoint)
    if (!answered.outputFileId || !endpoint) return 0
    const file = await this.#fetched(answered)
    if (!file) return 0
    try {
      return await this.#settleAll(tag, file.path, endpoint)
    } finally {
      await spool.remove(file.path)
    }
  }

  async #fetched(answered: Answered): Promise<{ readonly path: string } | undefined> {
    try {
      return await this.#download.fetch(answered, this.#context.stop)
    } catch (error) {
      // It was looked at before, and its files were removed.
      if (error instanceof RemoteError && error.status === 404) return undefined
      throw error
    }
  }

  async #settleAll({ tag }: RetiredTag, path: string, endpoint: Endpoint): Promise<number> {
    const { store } = this.#context
    let served = 0
    let slices = new Map<string, Outcome>()
    const settle = async (): Promise<void> => {
      served += (await store.settleStray(tag, await this.#priced(slices))).length
      slices = new Map()
    }
    for await (const text of spooledLines(path)) {
      const slice = sliceResult(text, endpoint)
      if (slice?.ending !== 'succeeded' || slices.has(slice.id)) continue
      const { id, status, body, requestId, usage } = slice
      slices.set(id, {
        kind: 'ended',
        id,
        ending: 'succeeded',
        status,
        body,
        requestId,
        usage,
        route: 'batch',
      })
      if (slices.size >= CHUNK) await settle()
    }
    await settle()
    return served
  }

  /** The model is that of the request: a stray's batch may be forgotten here. */
  async #priced(outcomes: ReadonlyMap<string, Outcome>): Promise<readonly Outcome[]> {
    const { store, valuer } = this.#context
    const requests = await store.requests([...outcomes.keys()])
    return requests.flatMap(({ id, model, createdAt }) => {
      const outcome = outcomes.get(id)
      if (outcome?.kind !== 'ended') return []
      const { usage } = outcome
      return [{ ...outcome, costNanoUsd: usage && valuer.costNanoUsd(model, 'batch', usage, createdAt) }]
    })
  }
}

interface Stray {
  readonly tag: RetiredTag
  readonly batch: WireBatch
  /** Input files of batches that are waited for. */
  readonly inputs: ReadonlySet<string>
}

/** Without an input file no create was ever sent, or its batch is known: only uploads are looked for. */
const isOf = ({ tag, inputFileId }: RetiredTag, batch: WireBatch): boolean =>
  inputFileId !== undefined && cameOf({ tag, inputFileId }, listed(batch))
