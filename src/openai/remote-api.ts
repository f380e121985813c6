import { z } from 'zod'
import type {
  CreateBatchRequest,
  DirectCall,
  DirectReply,
  Page,
  PageQuery,
  RemoteApi,
  UploadRequest,
} from '../batch/remote-api.ts'
import { errorText, RemoteError, StateError } from '../errors.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import type { Fetch } from '../util/fetch.ts'
import { type Connection, connect, type OpenAIRemoteApiOptions } from './client.ts'
import { Deadline, timerMs } from './deadline.ts'
import {
  badReplyError,
  type FailedCall,
  networkError,
  retryAfterMs,
  timeoutError,
  toRemoteError,
} from './error-mapping.ts'
import { type Post, patientPost } from './patient-fetch.ts'
import { openUploadForm, type UploadForm } from './upload-form.ts'
import { batchSchema, fileSchema, type WireBatch, type WireFile } from './wire.ts'

/** Retries, by the SDK, of calls that do no harm when they are repeated. */
const SAFE_RETRIES = 2
/** An upload slower than this (a megabit a second) counts as stuck. */
const SLOWEST_UPLOAD_BYTES_PER_MS = 125
/** Sends exactly one request: neither the SDK's retries nor a redirect may make it two. */
const ONCE = { maxRetries: 0, fetchOptions: { redirect: 'manual' } } as const

/** Node's fetch keeps a copy of all it sent, in case of a redirect, unless redirects are errors. */
const UNBUFFERED = { fetchOptions: { redirect: 'error' } } as const

const deletedSchema = z.object({ deleted: z.literal(true) })
const pageSchema = <Item extends z.ZodType>(item: Item) =>
  z.object({ data: z.array(item), has_more: z.boolean().nullish() })
/** The fields that are read, checked, beside the whole as it came. */
const wholeBatchSchema = z.intersection(
  batchSchema,
  z.unknown().transform((whole) => ({ raw: JSON.stringify(whole) })),
)
const batchPageSchema = pageSchema(wholeBatchSchema)
const filePageSchema = pageSchema(fileSchema)

/** The `RemoteApi` port over the `openai` client. Making one does no input or output. */
export class OpenAIRemoteApi implements RemoteApi {
  readonly fingerprint: string
  readonly #client: Connection['client']
  readonly #post: Post
  readonly #apiKey: string
  readonly #timeoutMs: number
  readonly #clock: Clock

  /** Throws `UsageError`: `missing_api_key`, `bad_base_url`. */
  constructor(options: OpenAIRemoteApiOptions) {
    const { client, fingerprint } = connect(options)
    this.fingerprint = fingerprint
    this.#client = client
    this.#post = options.fetch ? postBy(options.fetch) : patientPost()
    this.#apiKey = options.apiKey
    this.#timeoutMs = timerMs(options.timeoutMs)
    this.#clock = options.clock ?? systemClock
  }

  async uploadBatchFile(request: UploadRequest, signal?: AbortSignal): Promise<WireFile> {
    const { body, contentType } = await openUpload(request)
    const timeout = timerMs(this.#timeoutMs + body.size / SLOWEST_UPLOAD_BYTES_PER_MS)
    const headers = { 'content-type': contentType }
    return this.#json('POST /files', signal, fileSchema, async () =>
      (await this.#client()).post('/files', { body, headers, signal, timeout, maxRetries: 0, ...UNBUFFERED }),
    )
  }

  async createBatch(request: CreateBatchRequest, signal?: AbortSignal): Promise<WireBatch> {
    return this.#json('POST /batches', signal, wholeBatchSchema, async () =>
      (await this.#client()).batches.create(
        {
          input_file_id: request.inputFileId,
          endpoint: request.endpoint,
          completion_window: '24h',
          metadata: { ...request.metadata },
          output_expires_after: { anchor: 'created_at', seconds: request.outputExpiresAfterSeconds },
        },
        { signal, timeout: this.#timeoutMs, ...ONCE },
      ),
    )
  }

  async retrieveBatch(id: string, signal?: AbortSignal): Promise<WireBatch> {
    return this.#json(`GET /batches/${id}`, signal, wholeBatchSchema, async () =>
      (await this.#client()).batches.retrieve(id, this.#patient(signal)),
    )
  }

  async listBatches(query: PageQuery, signal?: AbortSignal): Promise<Page<WireBatch>> {
    return toPage(await this.#list('/batches', { ...query }, batchPageSchema, signal))
  }

  async cancelBatch(id: string, signal?: AbortSignal): Promise<WireBatch> {
    return this.#json(`POST /batches/${id}/cancel`, signal, wholeBatchSchema, async () =>
      (await this.#client()).batches.cancel(id, this.#patient(signal)),
    )
  }

  async listBatchFiles(query: PageQuery, signal?: AbortSignal): Promise<Page<WireFile>> {
    return toPage(await this.#list('/files', { ...query, purpose: 'batch' }, filePageSchema, signal))
  }

  async retrieveFile(id: string, signal?: AbortSignal): Promise<WireFile> {
    return this.#json(`GET /files/${id}`, signal, fileSchema, async () =>
      (await this.#client()).files.retrieve(id, this.#patient(signal)),
    )
  }

  /** The iterable holds the connection: iterate it, to the end or with a `break`. */
  async downloadFile(id: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const what = `GET /files/${id}/content`
    const deadline = new Deadline(this.#timeoutMs, signal)
    try {
      const response = await (await this.#client()).files.content(id, this.#patient(deadline.signal))
      return this.#pieces(response, deadline, what, signal)
    } catch (error) {
      deadline[Symbol.dispose]()
      throw toRemoteError(error, this.#failed(what, signal))
    }
  }

  async deleteFile(id: string, signal?: AbortSignal): Promise<'deleted' | 'absent'> {
    try {
      await this.#json(`DELETE /files/${id}`, signal, deletedSchema, async () =>
        (await this.#client()).files.delete(id, this.#patient(signal)),
      )
      return 'deleted'
    } catch (error) {
      if (error instanceof RemoteError && error.status === 404) return 'absent'
      throw error
    }
  }

  /**
   * The SDK builds the request and its headers; it is sent without the SDK's response handling, which parses
   * what has to stay raw here and drops the text of an error.
   */
  async call(request: DirectCall, signal?: AbortSignal): Promise<DirectReply> {
    const what = `POST ${request.endpoint}`
    const deadline = new Deadline(request.timeoutMs, signal)
    try {
      deadline.restart()
      deadline.signal.throwIfAborted()
      const { req, url } = await this.#build(request)
      const { headers } = req
      const response = await this.#post(url, { headers, body: request.bodyText, signal: deadline.signal })
      return {
        status: response.status,
        requestId: response.headers.get('x-request-id') ?? undefined,
        retryAfterMs: retryAfterMs(response.headers, this.#clock.now()),
        text: await response.text(),
      }
    } catch (error) {
      const failed = this.#failed(what, signal)
      if (deadline.timedOut) throw timeoutError(failed, `no answer within ${request.timeoutMs} ms`)
      throw toRemoteError(error, failed)
    } finally {
      deadline[Symbol.dispose]()
    }
  }

  async #build({ endpoint, bodyText, timeoutMs }: DirectCall) {
    return (await this.#client()).buildRequest({
      method: 'post',
      path: endpoint.slice('/v1'.length),
      // The SDK leaves a string alone only when its content type is given.
      headers: { 'content-type': 'application/json' },
      body: bodyText,
      timeout: timerMs(timeoutMs),
    })
  }

  async *#pieces(response: Response, deadline: Deadline, what: string, signal?: AbortSignal) {
    let received = 0
    try {
      deadline.restart()
      for await (const piece of response.body ?? []) {
        deadline.pause()
        received += piece.byteLength
        yield piece
        deadline.restart()
      }
    } catch (error) {
      const failed = this.#failed(what, signal)
      if (deadline.timedOut) throw timeoutError(failed, `nothing arrived for ${this.#timeoutMs} ms`)
      throw toRemoteError(error, failed)
    } finally {
      deadline[Symbol.dispose]()
    }
    const promised = promisedBytes(response.headers)
    if (promised === undefined || promised === received) return
    throw networkError(new Error(`${received} of ${promised} bytes arrived`), this.#failed(what, signal))
  }

  /** Asked for without the SDK's pages: those turn an answer that is no list into an empty one. */
  #list<T>(
    path: string,
    query: Record<string, unknown>,
    schema: z.ZodType<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.#json(`GET ${path}`, signal, schema, async () =>
      (await this.#client()).get(path, { query, ...this.#patient(signal) }),
    )
  }

  async #json<T>(
    what: string,
    signal: AbortSignal | undefined,
    schema: z.ZodType<T>,
    send: () => PromiseLike<unknown>,
  ): Promise<T> {
    const reply = await Promise.resolve()
      .then(send)
      .catch((error: unknown) => {
        throw toRemoteError(error, this.#failed(what, signal))
      })
    const parsed = schema.safeParse(reply)
    if (parsed.success) return parsed.data
    const isObject = typeof reply === 'object' && reply !== null
    const why = isObject ? z.prettifyError(parsed.error) : `no JSON object but ${shown(reply)}`
    throw badReplyError(why, this.#failed(what, signal), !isObject)
  }

  #patient(signal: AbortSignal | undefined) {
    return { signal, timeout: this.#timeoutMs, maxRetries: SAFE_RETRIES }
  }

  #failed(what: string, signal: AbortSignal | undefined): FailedCall {
    return { what, signal, secrets: [this.#apiKey], nowMs: this.#clock.now() }
  }
}

/** The same by a `fetch` that was given. */
const postBy =
  (send: Fetch): Post =>
  (url, { headers, body, signal }) =>
    send(url, { method: 'POST', headers: Object.fromEntries(headers), body, signal, redirect: 'manual' })

async function openUpload({ path, name, expiresAfterSeconds }: UploadRequest): Promise<UploadForm> {
  const fields = {
    purpose: 'batch',
    'expires_after[anchor]': 'created_at',
    'expires_after[seconds]': `${expiresAfterSeconds}`,
  }
  try {
    return await openUploadForm(path, name, fields)
  } catch (error) {
    throw new StateError('file_not_readable', `${path} cannot be read for its upload: ${errorText(error)}`, {
      cause: error,
    })
  }
}

function toPage<Item extends { readonly id: string }>(list: {
  readonly data: readonly Item[]
  readonly has_more?: boolean | null | undefined
}): Page<Item> {
  const next = list.has_more ? list.data.at(-1)?.id : undefined
  return next === undefined ? { items: list.data } : { items: list.data, next }
}

/** Undefined when the length on the wire is not that of the content, or is not told. */
function promisedBytes(headers: Headers): number | undefined {
  const encoding = headers.get('content-encoding') ?? 'identity'
  const length = headers.get('content-length')
  return length === null || encoding !== 'identity' ? undefined : Number(length)
}

const shown = (reply: unknown): string => JSON.stringify(reply ?? 'nothing').slice(0, 200)
