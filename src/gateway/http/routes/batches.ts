import { RemoteError } from '../../../errors.ts'
import type { GatewayBatch } from '../../domain/batch.ts'
import type { Engine } from '../../engine/engine.ts'
import type { GatewayStore } from '../../store/store.ts'
import type { Caller } from '../access/access.ts'
import { HttpError, STAY_AWAY } from '../http-error.ts'
import { jsonReply, type Reply } from '../reply.ts'

export interface BatchRoutesParts {
  readonly store: Pick<GatewayStore, 'remoteBatches'>
  readonly engine: Pick<Engine, 'look' | 'cancel'>
}

/** Reads a parameter of the query. */
export type QueryReader = (name: string) => string | undefined

/** `/v1/batches` as OpenAI has it, of the caller's tenant: batch objects go out as the server wrote them. */
export class BatchRoutes {
  readonly #parts: BatchRoutesParts

  constructor(parts: BatchRoutesParts) {
    this.#parts = parts
  }

  async list(query: QueryReader, { tenant }: Caller): Promise<Reply> {
    const after = query('after')
    const page = await this.#parts.store.remoteBatches(tenant, { after, limit: limitOf(query('limit')) })
    if (!page) throw noBatch(after ?? '', 'after')
    const { items, hasMore } = page
    const ends = {
      first_id: items[0]?.batchId ?? null,
      last_id: items.at(-1)?.batchId ?? null,
      has_more: hasMore,
    }
    return jsonReply(
      200,
      `{"object":"list","data":[${items.map(batchText).join(',')}],${JSON.stringify(ends).slice(1)}`,
    )
  }

  async get(id: string, { tenant }: Caller): Promise<Reply> {
    return batchReply(id, await this.#parts.engine.look(tenant, id))
  }

  async cancel(id: string, { tenant }: Caller): Promise<Reply> {
    const { engine } = this.#parts
    try {
      return batchReply(id, await engine.cancel(tenant, id))
    } catch (error) {
      if (!(error instanceof RemoteError) || !REFUSED.has(error.status ?? 0)) throw error
      throw notCancellable(await engine.look(tenant, id), error)
    }
  }
}

function batchReply(id: string, batch: GatewayBatch | undefined): Reply {
  if (!batch) throw noBatch(id, 'id')
  return jsonReply(200, batchText(batch))
}

/** One whose object was never seen has at least what is known of it. */
const batchText = (batch: GatewayBatch): string => batch.remote ?? JSON.stringify(sketch(batch))

const sketch = (batch: GatewayBatch) => ({
  id: batch.batchId ?? null,
  object: 'batch',
  endpoint: batch.endpoint,
  errors: null,
  input_file_id: batch.inputFileId ?? null,
  completion_window: '24h',
  status: batch.status ?? 'validating',
  output_file_id: batch.outputFileId ?? null,
  error_file_id: batch.errorFileId ?? null,
  created_at: Math.floor(batch.createdAt / 1000),
  request_counts: { total: batch.requests, completed: 0, failed: 0 },
  metadata: null,
})

const noBatch = (id: string, param: string): HttpError =>
  new HttpError(404, 'batch_not_found', `No batch found with id '${id}'.`, { param })

/** What servers say of a batch that is over. */
const REFUSED: ReadonlySet<number> = new Set([400, 409])

const notCancellable = (batch: GatewayBatch | undefined, cause: RemoteError): HttpError => {
  const message = `Cannot cancel a batch with status '${batch?.status ?? 'unknown'}'.`
  return new HttpError(cause.status ?? 409, 'batch_not_cancellable', message, { cause, headers: STAY_AWAY })
}

const DEFAULT_LIMIT = 20
const MOST_LIMIT = 100

function limitOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_LIMIT
  const limit = /^-?\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (limit >= 1 && limit <= MOST_LIMIT) return limit
  const expected = `expected an integer from 1 to ${MOST_LIMIT}, but got '${text.slice(0, 100)}'`
  throw new HttpError(400, codeOf(limit), `Invalid 'limit': ${expected}.`, { param: 'limit' })
}

function codeOf(limit: number): string {
  if (Number.isNaN(limit)) return 'invalid_type'
  return limit < 1 ? 'integer_below_min_value' : 'integer_above_max_value'
}
