import type { Endpoint, WireBatch, WireFile } from '../openai/wire.ts'

/** One page of a remote listing. `next` is the cursor of the following page, absent on the last one. */
export interface Page<Item> {
  readonly items: readonly Item[]
  readonly next?: string
}

export interface PageQuery {
  readonly after?: string
  /** 1 to 100. */
  readonly limit: number
}

export interface UploadRequest {
  /** Local path of a sealed batch input file. */
  readonly path: string
  /** Remote file name; it carries the tag that lets a lost upload be found again. */
  readonly name: string
  readonly expiresAfterSeconds: number
}

export interface CreateBatchRequest {
  readonly inputFileId: string
  readonly endpoint: Endpoint
  readonly metadata: Readonly<Record<string, string>>
  readonly outputExpiresAfterSeconds: number
}

export interface DirectCall {
  readonly endpoint: Endpoint
  /** The request body as JSON text, sent as it is. */
  readonly bodyText: string
  readonly timeoutMs: number
}

/** Any HTTP answer to a direct call, whatever its status; `text` is the raw body. */
export interface DirectReply {
  readonly status: number
  readonly requestId: string | undefined
  readonly retryAfterMs: number | undefined
  readonly text: string
}

/**
 * All Nightshift asks of a server. Every method makes its calls with the signal it is given and throws
 * `RemoteError`; an abort throws `RemoteError` with code `aborted`.
 */
export interface RemoteApi {
  /** Names the account without revealing it: a hash over base URL, key, organisation and project. */
  readonly fingerprint: string
  /** Uploads with purpose `batch`. Sends exactly one HTTP request: one whose answer is lost may leave a file. */
  uploadBatchFile(request: UploadRequest, signal?: AbortSignal): Promise<WireFile>
  /** Sends exactly one HTTP request and never retries: a create has no idempotency key. */
  createBatch(request: CreateBatchRequest, signal?: AbortSignal): Promise<WireBatch>
  retrieveBatch(id: string, signal?: AbortSignal): Promise<WireBatch>
  listBatches(query: PageQuery, signal?: AbortSignal): Promise<Page<WireBatch>>
  cancelBatch(id: string, signal?: AbortSignal): Promise<WireBatch>
  listBatchFiles(query: PageQuery, signal?: AbortSignal): Promise<Page<WireFile>>
  retrieveFile(id: string, signal?: AbortSignal): Promise<WireFile>
  /** The content in pieces, as it arrives; the iteration throws when the stream is cut short. */
  downloadFile(id: string, signal?: AbortSignal): Promise<AsyncIterable<Uint8Array>>
  /** `absent` when the server says there is no such file (404). */
  deleteFile(id: string, signal?: AbortSignal): Promise<'deleted' | 'absent'>
  /** Sends exactly one HTTP request. Resolves for every HTTP answer; throws only when none arrived. */
  call(request: DirectCall, signal?: AbortSignal): Promise<DirectReply>
}
