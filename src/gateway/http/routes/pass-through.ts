import type { ServerResponse } from 'node:http'
import { errorText } from '../../../errors.ts'
import { loadPatient } from '../../../openai/patient-fetch.ts'
import type { Log } from '../../log.ts'
import type { Upstream } from '../../settings.ts'
import type { Caller } from '../access/access.ts'
import { checkBodyHeaders, tooLarge } from '../body-reading.ts'
import { comeBack, HttpError, STAY_AWAY } from '../http-error.ts'
import { resultOfStatus } from '../metrics/observed-api.ts'
import { type Call, headersOf, type Reply } from '../reply.ts'
import type { PassedRoute } from './passed-routes.ts'
import { headersToGive, headersToSend } from './upstream-headers.ts'

export interface PassThroughParts {
  readonly upstream: Upstream
  readonly maxBodyBytes: number
  /** How long the server may take to begin its answer, and between two pieces of it. */
  readonly timeoutMs: number
  readonly onCall: (path: string, result: string) => void
  readonly log: Log
}

/** What is read of the server's answer, whoever fetched it. */
interface Answer {
  readonly status: number
  readonly headers: Iterable<readonly [string, string]>
  readonly body: ReadableStream<Uint8Array> | null
}

interface Sent {
  readonly method: string
  readonly headers: Record<string, string>
  readonly redirect: 'manual'
  readonly signal: AbortSignal
  readonly body?: ReadableStream<Uint8Array>
  readonly duplex?: 'half'
}

const DEFAULT_BASE_URL = 'https://api.openai.com/v1'
const RETRY_SECONDS = 2

/** Hands calls on to the server, and its answers back, both as they come. */
export class PassThrough {
  readonly #parts: PassThroughParts
  #loaded: ReturnType<typeof loadPatient> | undefined

  constructor(parts: PassThroughParts) {
    this.#parts = parts
  }

  async serve(call: Call, route: PassedRoute, caller: Caller): Promise<Reply> {
    const header = headersOf(call)
    const { maxBodyBytes, upstream, onCall } = this.#parts
    if (!route.isFree && caller.limits?.maxNanoUsd !== undefined) throw notMetered(route)
    checkBodyHeaders(header, maxBodyBytes)
    const { method, raw } = call.req
    const meter = new ByteMeter(maxBodyBytes)
    const body = method === 'GET' ? null : raw.body
    const answer = await this.#fetch(urlOf(call, route, upstream), {
      method,
      headers: headersToSend(header, caller.tenant, upstream),
      redirect: 'manual',
      signal: raw.signal,
      ...(body && { body: meter.measured(body), duplex: 'half' }),
    }).catch((error: unknown) => {
      if (meter.isOver) throw tooLarge(maxBodyBytes)
      throw raw.signal.aborted ? callerGone(error) : this.#unreachable(route, error)
    })
    onCall(route.path, resultOfStatus(answer.status))
    checkStatus(answer.status)
    const given = answer.body && unbroken(answer.body, call.env?.outgoing)
    return { status: answer.status, headers: headersToGive(answer.headers), body: given }
  }

  async close(): Promise<void> {
    await (await this.#loaded)?.dispatcher.destroy()
  }

  async #fetch(url: string, sent: Sent): Promise<Answer> {
    const { upstream, timeoutMs } = this.#parts
    if (upstream.fetch) return upstream.fetch(url, sent)
    this.#loaded ??= loadPatient(timeoutMs)
    const { fetch, dispatcher } = await this.#loaded
    return fetch(url, { ...sent, dispatcher })
  }

  #unreachable({ path }: PassedRoute, cause: unknown): HttpError {
    const { onCall, log } = this.#parts
    onCall(path, 'network')
    log.warn('not_passed_on', { path, error: errorText(cause) })
    const message = 'The server that the gateway asks could not be reached. Send the request again.'
    return new HttpError(502, 'upstream_unreachable', message, { cause, headers: comeBack(RETRY_SECONDS) })
  }
}

/** The server's own place, and of the call no more than its name of a model and its query. */
function urlOf({ req }: Call, { path }: PassedRoute, { baseUrl = DEFAULT_BASE_URL }: Upstream): string {
  const { search } = new URL(req.url)
  const model = req.param('model') ?? ''
  // Some servers would take these for steps to other folders.
  if (model.split(/[\\/]/).some((part) => part === '.' || part === '..')) throw noModel(model)
  return `${baseUrl.replace(/\/+$/, '')}${path.replace(':model', encodeURIComponent(model))}${search}`
}

const noModel = (model: string): HttpError =>
  new HttpError(404, 'model_not_found', `The model '${model}' does not exist.`, { param: 'model' })

const callerGone = (cause: unknown): HttpError =>
  new HttpError(499, 'caller_gone', 'The caller went away before the server answered.', { cause })

/** What the server says of the gateway's own key, or where else it would rather be asked, is not for callers. */
function checkStatus(status: number): void {
  if (status === 401)
    throw new HttpError(502, 'upstream_refused', 'The server refused the key of the gateway.', {
      headers: STAY_AWAY,
    })
  if (status >= 300 && status < 400)
    throw new HttpError(
      502,
      'upstream_redirected',
      'The server that the gateway asks is somewhere else now.',
      {
        headers: STAY_AWAY,
      },
    )
}

const notMetered = ({ path }: PassedRoute): HttpError =>
  new HttpError(
    403,
    'not_metered',
    `Spending is limited for this key, and what ${path} costs is not counted: only batched endpoints may be called.`,
    { headers: STAY_AWAY },
  )

/** Breaks a body off that has more bytes than are allowed. */
class ByteMeter {
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get isOver(): boolean {
    return this.#bytes > this.#maxBytes
  }

  measured(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const meter = new TransformStream<Uint8Array, Uint8Array>({
      transform: (piece, controller) => {
        this.#bytes += piece.byteLength
        if (this.isOver) controller.error(tooLarge(this.#maxBytes))
        else controller.enqueue(piece)
      },
    })
    return body.pipeThrough(meter)
  }
}

/** An answer that breaks off at the server breaks off for the caller, too: what arrived of it must not pass for all. */
function unbroken(
  body: ReadableStream<Uint8Array>,
  outgoing: ServerResponse | undefined,
): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  return new ReadableStream({
    pull: async (controller) => {
      try {
        const { done, value } = await reader.read()
        if (done) controller.close()
        else controller.enqueue(value)
      } catch (error) {
        if (!outgoing) throw error
        outgoing.destroy()
        controller.close()
      }
    },
    cancel: (reason) => reader.cancel(reason),
  })
}
