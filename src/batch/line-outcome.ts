import type { Endpoint, WireResultLine } from '../openai/wire.ts'
import { readUsage, type TokenUsage } from '../tokens/usage.ts'
import { parsedJson } from '../util/parsed-json.ts'
import { refusalOf } from './refusals.ts'
import type { Failure } from './reply.ts'

type Json = Readonly<Record<string, unknown>>

/** What one result line says about its request: an answer, to be read by `readReply`, or why there is none. */
export type LineOutcome = (
  | { readonly kind: 'reply'; readonly body: Json }
  | { readonly kind: 'failure'; readonly failure: Failure }
) & {
  /** The server's own id of the call, for its support; undefined when it gave none. */
  readonly requestId?: string | undefined
  /** Tokens that were used; undefined when the server did not say. */
  readonly usage?: TokenUsage | undefined
  /** What was charged for it, where that was settled when it came: for direct calls. */
  readonly charge?: Charge | undefined
}

/** What was settled for one answer. */
export interface Charge {
  /** Undefined for a model without a known price. */
  readonly costNanoUsd: number | undefined
  /** It was answered, and priced, at this tier. */
  readonly tier?: 'flex'
}

/** The field that an answer of each endpoint has and an error body has not. */
const ANSWER_FIELD = {
  '/v1/chat/completions': 'choices',
  '/v1/responses': 'output',
  '/v1/embeddings': 'data',
} as const satisfies Record<Endpoint, string>

/** Codes of requests that the server never tried, because their batch ended first. */
const NOT_TRIED: ReadonlySet<string> = new Set(['batch_expired', 'batch_cancelled'])
/** Codes that pass, of errors that carry no HTTP status. */
const PASSING: ReadonlySet<string> = new Set([
  'network',
  'server_error',
  'internal_error',
  'internal_server_error',
  'rate_limit_exceeded',
  'service_unavailable',
  'timeout',
])
const KEPT_TEXT = 2000
const KEPT_CODE = 200

/** A line of a result file, or of a `_replies` segment, which also says what was charged. */
export interface ResultLine extends WireResultLine {
  readonly charge?: Charge
}

/**
 * Reads one line of an output file, an error file or a `_replies` segment. The fields that Nightshift uses are
 * checked and taken as far as they make sense; undefined when the text is no JSON object with a `custom_id`.
 */
export const parseResultLine = (text: string): ResultLine | undefined => readLine(parsedJson(text))

/** The same for a line of our own, which also says what was charged. Of a server's line that is never believed. */
export function parseReplyLine(text: string): ResultLine | undefined {
  const own = parsedJson(text)
  const line = readLine(own)
  const charge = isRecord(own) ? readCharge(own.charge) : undefined
  return line && charge ? { ...line, charge } : line
}

function readLine(line: unknown): ResultLine | undefined {
  if (!isRecord(line) || typeof line.custom_id !== 'string') return undefined
  const { response } = line
  return {
    custom_id: line.custom_id,
    response: isRecord(response) ? readResponse(response) : null,
    error: line.error ?? null,
  }
}

function readCharge(value: unknown): Charge | undefined {
  if (!isRecord(value)) return undefined
  const costNanoUsd = typeof value.nanoUsd === 'number' ? value.nanoUsd : undefined
  return value.tier === 'flex' ? { costNanoUsd, tier: 'flex' } : { costNanoUsd }
}

const readResponse = (response: Json): NonNullable<WireResultLine['response']> => ({
  status_code: statusOf(response.status_code),
  request_id: typeof response.request_id === 'string' ? response.request_id : null,
  body: response.body ?? null,
})

/** Some servers write the status as text, and 0 for none. */
function statusOf(value: unknown): number | null {
  const status = typeof value === 'string' ? Number.parseInt(value, 10) : value
  return typeof status === 'number' && Number.isInteger(status) && status > 0 ? status : null
}

/**
 * Decides what a line means for its request. Whatever looks like an answer is one, even beside an error: it was
 * paid for. Errors are found in `response.body.error`, in `error`, or in both; unknown codes fail this request
 * only, for good, and keep the server's text (at most 2,000 characters).
 */
export function classifyLine(line: ResultLine, expected: Endpoint): LineOutcome {
  const status = line.response?.status_code || undefined
  const raw = line.response?.body
  const body = typeof raw === 'string' ? (parsedJson(raw) ?? raw) : raw
  const requestId = line.response?.request_id || undefined
  const usage = isRecord(body) ? readUsage(body.usage) : undefined
  const facts = { requestId, usage, ...(line.charge && { charge: line.charge }) }
  if (isRecord(body) && isAnswer(line, status, body, expected)) return { kind: 'reply', body, ...facts }
  return { kind: 'failure', failure: readFailure(status, body, line.error), ...facts }
}

function isAnswer(line: WireResultLine, status: number | undefined, body: Json, expected: Endpoint): boolean {
  if (status !== undefined && (status < 200 || status >= 300)) return false
  if (Array.isArray(body[ANSWER_FIELD[expected]])) return true
  return status !== undefined && !readError(body.error) && !readError(line.error)
}

/** The same outcome where a refused key cannot be meant, since the key works: the fault is the request's own. */
export function withWorkingKey(outcome: LineOutcome): LineOutcome {
  if (outcome.kind !== 'failure' || outcome.failure.refusal !== 'key') return outcome
  const { refusal: _, ...failure } = outcome.failure
  return { ...outcome, failure: { ...failure, retryable: false, countsAsAttempt: true } }
}

/** A request that neither file of a finished batch mentions. */
export const missingLine = (): LineOutcome => ({
  kind: 'failure',
  failure: {
    code: 'missing_line',
    message: 'the batch finished without a line for this request',
    retryable: true,
    countsAsAttempt: true,
  },
})

function readFailure(status: number | undefined, body: unknown, lineError: unknown): Failure {
  const refused = status !== undefined && status >= 300
  const first = readError(isRecord(body) ? body.error : undefined) ?? readError(lineError) ?? readError(body)
  const code = first?.code ?? readError(lineError)?.code ?? (first || refused ? undefined : 'empty_reply')
  const message = (first?.message ?? 'the server answered with nothing').slice(0, KEPT_TEXT)
  const said = { ...(status !== undefined && { status }), code, message }
  const refusal = refusalOf(said)
  return {
    ...said,
    code: code ?? (refused ? `http_${status}` : 'bad_reply'),
    retryable: refusal !== undefined || (refused ? isPassingStatus(status) : isPassingCode(code)),
    countsAsAttempt: refusal === undefined && (code === undefined || !NOT_TRIED.has(code)),
    ...(refusal && { refusal }),
  }
}

const isPassingStatus = (status: number): boolean =>
  status === 408 || status === 409 || status === 429 || (status >= 500 && status !== 501 && status !== 505)

/** Without a status the code decides. No code at all is no word of the server's about this request. */
const isPassingCode = (code: string | undefined): boolean =>
  code === undefined ||
  code === 'empty_reply' ||
  NOT_TRIED.has(code) ||
  PASSING.has(code) ||
  isPassingStatus(Number(code))

interface FoundError {
  readonly code: string | undefined
  readonly message: string
}

/** An error block of any make; undefined where there is none (`null`, an empty text, an empty object). */
function readError(value: unknown): FoundError | undefined {
  if (value === null || value === undefined || value === '') return undefined
  if (typeof value === 'string') return { code: undefined, message: value }
  if (!isRecord(value)) return { code: undefined, message: shown(value) }
  if (Object.keys(value).length === 0) return undefined
  const message = textOf(value.message) ?? textOf(value.detail) ?? shown(value)
  return { code: (textOf(value.code) ?? textOf(value.type))?.slice(0, KEPT_CODE), message }
}

/** JSON can be read at any depth, but written only as deep as the stack has room. */
function shown(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (error) {
    if (error instanceof RangeError) return 'an error nested too deeply to be shown'
    throw error
  }
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && value !== '' ? value : undefined
}

const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
