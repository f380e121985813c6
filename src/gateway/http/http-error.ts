import { NightshiftError, RemoteError } from '../../errors.ts'
import { openaiErrorText } from '../body/openai-error.ts'
import type { Refusal } from '../body/refusal.ts'
import { JSON_TYPE, type Reply } from './reply.ts'

export interface HttpErrorOptions {
  readonly param?: string | null | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly cause?: unknown
}

/** A call that is not served, as its caller is told: HTTP status, and OpenAI's form of an error. */
export class HttpError extends NightshiftError {
  override readonly name = 'HttpError'
  readonly status: number
  readonly param: string | null
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, code: string, message: string, options: HttpErrorOptions = {}) {
    super(code, message, { retryable: status >= 500 || status === 429, cause: options.cause })
    this.status = status
    this.param = options.param ?? null
    this.headers = options.headers ?? {}
  }
}

/** What SDKs obey, whatever the status: come back after so many seconds. They take 60 at most. */
export const comeBack = (seconds: number): Readonly<Record<string, string>> => ({
  'retry-after': String(seconds),
  'x-should-retry': 'true',
})

/** Asking again would bring the same. */
export const STAY_AWAY: Readonly<Record<string, string>> = { 'x-should-retry': 'false' }

export const refused = ({ status, code, message, param }: Refusal): HttpError =>
  new HttpError(status, code, message, { param })

export function errorReply(error: HttpError): Reply {
  const { status, code, message, param, headers } = error
  const body = openaiErrorText({ status, code, message, param })
  return { status, body, headers: { 'content-type': JSON_TYPE, ...headers } }
}

const RETRY_SECONDS = 2

/**
 * Whatever was thrown, as it is answered. What may pass is a 503 by which SDKs come back: nothing was put on record, or
 * it is known again by its body. Of anything unforeseen its caller learns nothing.
 */
export function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error
  if (error instanceof RemoteError) return remoteRefusal(error)
  if (NightshiftError.is(error) && error.retryable) {
    const message =
      error.code === 'in_doubt'
        ? 'The gateway cannot tell whether the request was put on record. Send the same request again: it is known by its body.'
        : 'The gateway cannot reach its database for the moment, and took nothing. Send the request again.'
    return new HttpError(503, error.code, message, { cause: error, headers: comeBack(RETRY_SECONDS) })
  }
  return new HttpError(500, 'internal_error', 'The gateway failed; its log says why.', { cause: error })
}

/** What the server said when it was asked for its caller. */
function remoteRefusal(error: RemoteError): HttpError {
  const { status, remoteCode, message } = error
  if (status !== undefined && status >= 400 && status < 500 && status !== 401)
    return new HttpError(status, remoteCode ?? error.code, message, { cause: error })
  const told = 'The server that the gateway asks did not answer as hoped. Send the request again.'
  return new HttpError(502, 'upstream_failed', told, { cause: error, headers: comeBack(RETRY_SECONDS) })
}
