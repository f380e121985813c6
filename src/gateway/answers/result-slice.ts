import { classifyLine, parseResultLine } from '../../batch/line-outcome.ts'
import type { Failure } from '../../batch/reply.ts'
import type { Endpoint } from '../../openai/wire.ts'
import type { TokenUsage } from '../../tokens/usage.ts'
import { parsedJson } from '../../util/parsed-json.ts'
import { isObjectText, valuesOf } from '../body/json-members.ts'
import { openaiErrorText } from '../body/openai-error.ts'
import type { Ending } from '../domain/request.ts'

/** What one line of a result file says to the caller of its request. */
export interface ResultSlice {
  /** The line's `custom_id`. */
  readonly id: string
  readonly ending: Extract<Ending, 'succeeded' | 'failed'>
  /** What the caller is answered with when this is the end of it: 200, or the server's own HTTP status where it gave one. */
  readonly status: number
  /** JSON text, as the server wrote it; of an error that it gave in no body, one in OpenAI's form. */
  readonly body: string
  /** The server's own id of the call. */
  readonly requestId: string | undefined
  readonly usage: TokenUsage | undefined
  /**
   * For `failed`: `retryable`, it may pass, and the request may be sent again; `countsAsAttempt` false, it was not tried
   * (expired or cancelled with its batch); `refusal`, it is about the account or the key.
   */
  readonly failure: Failure | undefined
}

/** Undefined when the text is no result line at all. */
export function sliceResult(text: string, endpoint: Endpoint): ResultSlice | undefined {
  const line = parseResultLine(text)
  if (!line) return undefined
  const outcome = classifyLine(line, endpoint)
  const raw = rawBody(text)
  const facts = { id: line.custom_id, requestId: outcome.requestId, usage: outcome.usage }
  // To a client 202 means that the answer comes later, and 204 that there is none.
  if (outcome.kind === 'reply' && raw !== undefined)
    return { ...facts, ending: 'succeeded', status: 200, body: raw, failure: undefined }
  const failure = outcome.kind === 'failure' ? outcome.failure : undefined
  return { ...facts, ending: 'failed', ...failureAnswer(failure, raw), failure }
}

/** A failure as its caller is answered, with the server's own body (`raw`, JSON text of an object) if it may pass as one. */
export function failureAnswer(failure: Failure | undefined, raw?: string): { status: number; body: string } {
  const { code = 'bad_reply', message = 'the server answered with nothing', status } = failure ?? {}
  const isRefusal = status !== undefined && status >= 400 && status <= 599
  if (isRefusal && raw !== undefined && valuesOf(raw).size > 0) return { status, body: raw }
  const fit = isRefusal ? status : fittingStatus(code, status !== undefined, failure?.retryable ?? true)
  return { status: fit, body: openaiErrorText({ status: fit, code, message }) }
}

/** Codes that come without a status, and the one they have when they come with one. */
const STATUS_OF: ReadonlyMap<string, number> = new Map([
  ['batch_expired', 503],
  ['batch_cancelled', 503],
  ['missing_line', 502],
  ['empty_reply', 502],
  ['bad_reply', 502],
  ['timeout', 504],
  ['service_unavailable', 503],
  ['rate_limit_exceeded', 429],
  ['insufficient_quota', 429],
  ['model_not_found', 404],
])

/** `isOdd`: it came with a status that is not one of an error, such as a 200 without an answer. */
function fittingStatus(code: string, isOdd: boolean, mayPass: boolean): number {
  const number = Number(code)
  if (Number.isInteger(number) && number >= 400 && number <= 599) return number
  return STATUS_OF.get(code) ?? (isOdd ? 502 : mayPass ? 500 : 400)
}

/** The text of `response.body`; of one that is a string with JSON in it, that JSON. Undefined when it is no object. */
function rawBody(text: string): string | undefined {
  const response = valuesOf(text).get('response')
  const body = isObjectText(response) ? valuesOf(response).get('body') : undefined
  if (body === undefined || isObjectText(body)) return body
  const inner = parsedJson(body)
  return typeof inner === 'string' && isObjectText(inner) && parsedJson(inner) !== undefined
    ? inner
    : undefined
}
