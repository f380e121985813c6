import { RemoteError } from '../../errors.ts'
import { ENDPOINTS, type Endpoint, type WireBatch } from '../../openai/wire.ts'
import { sliceResult } from '../answers/result-slice.ts'
import type { RetiredTag } from '../domain/batch.ts'
import type { Outcome } from '../domain/request.ts'
import { CHUNK } from './batch-requests.ts'
import type { EngineContext } from './context.ts'
import { type Answered, Download } from './download.ts'
import { spooledLines } from './spool.ts'

/** What batches answered of which nobody was to know, for requests that still wait. */
export class StrayAnswers {
  readonly #context: EngineContext
  readonly #download: Download

  constructor(context: EngineContext) {
    this.#context = context
    this.#download = new Download(context)
  }

  /**
   * Gives its answers to requests that still wait for one; gives how many. What else it says of them the batch they are in
   * says better. Undefined when the server does not have its output: not yet, or not any more, since an earlier process
   * dealt with it.
   */
  async serve(tag: RetiredTag, batch: WireBatch): Promise<number | undefined> {
    const { spool } = this.#context
    const answered = { outputFileId: batch.output_file_id, errorFileId: undefined }
    const endpoint = ENDPOINTS.find((one) => one === batch.endpoint)
    if (!answered.outputFileId || !endpoint) return 0
    const file = await this.#fetched(answered)
    if (!file) return undefined
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
