// Not from the package's own name, with which all of it would be loaded before there is anything to send.
import { APIConnectionError, APIConnectionTimeoutError, APIError, APIUserAbortError } from 'openai/core/error'
import { refusalOf } from '../batch/refusals.ts'
import { errorText, RemoteError } from '../errors.ts'

/** What the mapping knows about the call that failed. */
export interface FailedCall {
  /** Method and path, for people: `POST /batches`. */
  readonly what: string
  /** The signal the caller gave: when it is aborted, the failure was the caller's wish. */
  readonly signal?: AbortSignal | undefined
  /** Texts that must not appear in a message; some servers repeat the key they refuse. */
  readonly secrets: readonly string[]
  /** Milliseconds since 1970, to read dates in `Retry-After`. */
  readonly nowMs: number
}

/** The system's and undici's words for a connection that was never made: nothing can have been sent on it. */
const NOT_CONNECTED: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
])
/** Words for a lost way, which a connection that stood can end with as well: only `connect` says that there was none. */
const NO_WAY: ReadonlySet<string> = new Set(['ENETUNREACH', 'ENETDOWN', 'EHOSTUNREACH', 'EHOSTDOWN'])
const SHOWN_TEXT = 500

/** Turns whatever a call through the SDK threw into a `RemoteError`. One that already is stays as it is. */
export function toRemoteError(error: unknown, call: FailedCall): RemoteError {
  if (error instanceof RemoteError) return error
  if (call.signal?.aborted || error instanceof APIUserAbortError) return abortedError(call)
  if (error instanceof APIConnectionTimeoutError) return timeoutError(call, causeText(error))
  if (error instanceof APIConnectionError) return networkError(error, call)
  if (error instanceof APIError && error.status !== undefined) return statusError(error, call)
  if (error instanceof SyntaxError) return badReplyError(`it is not JSON (${error.message})`, call, true)
  return networkError(error, call)
}

export const abortedError = ({ what }: FailedCall): RemoteError =>
  new RemoteError('aborted', `${what} was aborted before it was answered`)

export const timeoutError = ({ what }: FailedCall, detail: string): RemoteError =>
  new RemoteError('timeout', `${what} timed out: ${detail}`, { retryable: true })

/**
 * No answer arrived, or it broke off, and the server may have acted (`network`); or there was no connection at all
 * (`unreachable`).
 */
export function networkError(cause: unknown, call: FailedCall): RemoteError {
  const text = redact(causeText(cause), call.secrets)
  const advice = 'check the network and the base URL'
  return neverConnected(cause)
    ? new RemoteError('unreachable', `${call.what} did not reach the server (${text}); ${advice}`, {
        cause,
        retryable: true,
      })
    : new RemoteError('network', `${call.what} got no complete answer (${text}); ${advice}`, {
        cause,
        retryable: true,
      })
}

/** With several addresses to try there are several errors: each must say so. */
function neverConnected(error: unknown): boolean {
  for (const one of causesOf(error)) {
    if (one instanceof AggregateError && one.errors.length > 0) return one.errors.every(neverConnected)
    const code = errorCode(one) ?? ''
    if (NOT_CONNECTED.has(code) || (NO_WAY.has(code) && isOfConnect(one))) return true
  }
  return false
}

/** A 2xx answer that cannot be what was asked for. `transient`: it looks like a page some proxy put in. */
export const badReplyError = (why: string, call: FailedCall, transient: boolean): RemoteError =>
  new RemoteError(
    'bad_reply',
    `${call.what} was answered with something else: ${redact(why, call.secrets)}; check that the base URL is an OpenAI-compatible API`,
    { retryable: transient },
  )

/** The SDK's error is not kept as the cause: its headers and raw text may hold what must not be logged. */
function statusError(error: APIError, call: FailedCall): RemoteError {
  const status = error.status ?? 0
  const remoteCode = firstText(error.code, error.type)
  const request = error.requestID ? `, request ${error.requestID}` : ''
  const said = redact(withoutStatus(error.message, status), call.secrets)
  const code = remoteCode ? `, ${remoteCode}` : ''
  return new RemoteError(
    'http_error',
    `${call.what} failed with HTTP ${status}${code}${request}: ${said}${advice(status)}`,
    {
      status,
      remoteCode,
      requestId: error.requestID ?? undefined,
      retryAfterMs: error.headers ? retryAfterMs(error.headers, call.nowMs) : undefined,
      retryable: isRetryable(error, remoteCode),
    },
  )
}

/** An exhausted account can be paid for, or has room again after a while; a refused key stays refused. */
function isRetryable({ status = 0, message, headers }: APIError, code: string | undefined): boolean {
  const refusal = refusalOf({ status, code, message })
  if (refusal) return refusal === 'account'
  const told = headers?.get('x-should-retry')
  if (told === 'true' || told === 'false') return told === 'true'
  return status === 408 || status === 409 || status === 429 || status >= 500
}

function advice(status: number): string {
  if (status === 401) return '; check the API key'
  if (status === 403) return '; check what the key, organization and project may do'
  return ''
}

/**
 * How long the answer asks us to wait, in milliseconds: `retry-after-ms`, else `Retry-After` in seconds or as a
 * date (past dates give 0). Undefined when it does not say, or says nonsense.
 */
export function retryAfterMs(headers: Pick<Headers, 'get'>, nowMs: number): number | undefined {
  const exact = nonNegative(headers.get('retry-after-ms'))
  if (exact !== undefined) return exact
  const text = headers.get('retry-after')
  const seconds = nonNegative(text)
  if (seconds !== undefined) return Math.ceil(seconds * 1000)
  const date = text === null || !/[a-z]/i.test(text) ? Number.NaN : Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs)
}

function nonNegative(text: string | null): number | undefined {
  const value = text?.trim() ? Number(text) : Number.NaN
  return Number.isFinite(value) && value >= 0 ? value : undefined
}

/** Messages and codes of an error and of all that caused it: fetch hides the reason two levels down. */
function causeText(error: unknown): string {
  const parts = causesOf(error).map((one) => {
    const code = errorCode(one)
    const text = errorText(one) || code || 'unknown error'
    return code && !text.includes(code) ? `${text} ${code}` : text
  })
  return [...new Set(parts)].join(': ').slice(0, SHOWN_TEXT)
}

const MOST_CAUSES = 5

/** The error and what caused it, the outermost first. */
function causesOf(error: unknown): readonly unknown[] {
  const causes: unknown[] = []
  for (let current = error; current !== undefined && causes.length < MOST_CAUSES; ) {
    causes.push(current)
    current = current instanceof Error ? current.cause : undefined
  }
  return causes
}

const isOfConnect = (error: unknown): boolean =>
  error instanceof Error && 'syscall' in error && error.syscall === 'connect'

const errorCode = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined

const firstText = (...values: readonly unknown[]): string | undefined => {
  for (const value of values) {
    if (typeof value === 'string' && value !== '') return value
    if (typeof value === 'number') return String(value)
  }
  return undefined
}

const withoutStatus = (message: string, status: number): string =>
  (message.startsWith(`${status} `) ? message.slice(String(status).length + 1) : message).slice(0, SHOWN_TEXT)

const redact = (text: string, secrets: readonly string[]): string =>
  secrets.reduce((safe, secret) => (secret === '' ? safe : safe.replaceAll(secret, '[key]')), text)
