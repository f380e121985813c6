import { errorText } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import type { EmulatedRequest } from './answers.ts'
import { errorBody } from './api-error.ts'
import { parseJson } from './json.ts'
import type { UpstreamOptions } from './options.ts'
import { errorReply, type Reply, replyOf } from './reply.ts'

export const DEFAULT_CONCURRENCY = 8
const BATCH_TRIES = 3
const FIRST_PAUSE_MS = 1000
/** A local model may think for long; beyond this the call is taken for lost. */
const TIMEOUT_MS = 15 * 60_000

export interface Upstream {
  readonly concurrency: number
  /** Asks the server. Never rejects: a server that cannot be reached is a 502. A line of a batch is tried again. */
  ask(request: EmulatedRequest): Promise<Reply>
  /** The server's list of models, as it gave it. */
  models(): Promise<Reply>
}

interface Surroundings {
  readonly clock: Clock
  /** Ends all calls. */
  readonly signal: AbortSignal
}

export function createUpstream(options: UpstreamOptions, { clock, signal }: Surroundings): Upstream {
  const ask = async (request: EmulatedRequest): Promise<Reply> => {
    const tries = request.via === 'batch' ? BATCH_TRIES : 1
    for (let attempt = 1; ; attempt++) {
      const reply = await call(options, signal, { path: request.endpoint, body: request.body })
      if (!mayPass(reply.status) || attempt >= tries || signal.aborted) return reply
      await clock.sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1), signal)
    }
  }
  return {
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    ask,
    models: () => call(options, signal, { path: '/v1/models' }),
  }
}

const mayPass = (status: number): boolean => status === 429 || status >= 500

interface Call {
  /** As the emulator's own routes, with `/v1`. */
  readonly path: string
  readonly body?: object
}

async function call(options: UpstreamOptions, signal: AbortSignal, { path, body }: Call): Promise<Reply> {
  const url = options.baseURL.replace(/\/+$/, '') + path.replace(/^\/v1/, '')
  const headers = {
    ...(body && { 'content-type': 'application/json' }),
    ...(options.apiKey !== undefined && { authorization: `Bearer ${options.apiKey}` }),
  }
  try {
    const response = await (options.fetch ?? fetch)(url, {
      method: body ? 'POST' : 'GET',
      headers,
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    })
    return relay(response, await response.text())
  } catch (error) {
    const message = `The upstream server at ${url} did not answer: ${reason(error)}.`
    return errorReply(502, errorBody(message, { type: 'server_error', code: 'upstream_unreachable' }))
  }
}

/** `fetch` hides what went wrong in the cause of a "fetch failed". */
const reason = (error: unknown): string =>
  error instanceof Error && error.cause !== undefined ? errorText(error.cause) : errorText(error)

function relay(response: Response, text: string): Reply {
  const body = parseJson(text)
  const status = body === undefined && response.ok ? 502 : response.status
  const reply = replyOf(status, body ?? errorBody(text.slice(0, 2000), { type: 'server_error' }))
  const retryAfter = response.headers.get('retry-after')
  return { ...reply, ...(retryAfter !== null && { retryAfter }) }
}
