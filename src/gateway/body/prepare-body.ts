import { hash } from 'node:crypto'
import { inputsOfBody } from '../../batch/embedding-inputs.ts'
import { MAX_BATCH_BYTES } from '../../batch/lint.ts'
import type { Endpoint } from '../../openai/wire.ts'
import { type Calibration, estimateText, noCalibration } from '../../tokens/calibration.ts'
import type { TokenForecast } from '../../tokens/forecast.ts'
import { measureBody } from '../../tokens/measure.ts'
import { type CheckFacts, checkBody } from './check-body.ts'
import { cutMembers, setMember } from './json-members.ts'
import { onOneLine } from './json-shape.ts'
import { batchLineBytes } from './line.ts'
import { type Fields, isFields, readBody } from './read-body.ts'
import { type Refusal, refusal } from './refusal.ts'

export interface BodyFacts extends CheckFacts {
  /** The id that the request will have: the `custom_id` of its line. */
  readonly id: string
  /** Most bytes that a line may have, line break included. Default: what a batch may have. */
  readonly maxLineBytes?: number | undefined
  /** What is known of the tokens of text. Default: 4 bytes count for one. */
  readonly calibration?: Calibration | undefined
  /** Share of the allowed output tokens that answers are expected to use. Default: 0.5. */
  readonly completionRatio?: number | undefined
}

/** A body that can be batched. */
export interface PreparedBody {
  readonly kind: 'prepared'
  readonly endpoint: Endpoint
  readonly model: string
  /** As it came, on one line, without `stream`, `stream_options` and `service_tier`. */
  readonly bodyText: string
  /** The same for bodies that differ in nothing but white space and in what was cut: SHA-256, base64url. */
  readonly fingerprint: string
  /** The caller wants events. */
  readonly isStreamed: boolean
  /** The caller wants `usage` among them (`stream_options.include_usage`). */
  readonly includeUsage: boolean
  /** Bytes of its line in a batch file, line break included. */
  readonly lineBytes: number
  /** Embedding inputs; 0 for other endpoints. */
  readonly inputs: number
  readonly tokens: TokenForecast
}

/** What a batch cannot have, or has in another way: streams, and a tier of its own. */
const CUT: ReadonlySet<string> = new Set(['stream', 'stream_options', 'service_tier'])
/** What a request without a maximum of output tokens is taken to be allowed. */
const ASSUMED_MOST_OUTPUT = 2048
const COMPLETION_RATIO = 0.5
/** More than a server writes in the time of a batch. What a body allows may be any number, which no book could hold. */
const MOST_OUTPUT = 100_000_000

/**
 * Checks a request's body as it came in and makes ready what goes into the batch. All that the caller wrote stays as it
 * was: numbers, escapes, order, unknown and doubled fields.
 */
export function prepareBody(endpoint: Endpoint, bytes: Uint8Array, facts: BodyFacts): PreparedBody | Refusal {
  const read = readBody(bytes)
  if (read.kind === 'refused') return read
  const { text, compact, body } = read
  const check = checkBody(endpoint, body, facts)
  if (check.kind === 'refused') return check
  const bodyText = onOneLine(cutMembers(text, CUT))
  const lineBytes = batchLineBytes({ id: facts.id, endpoint, bodyText })
  const { maxLineBytes = MAX_BATCH_BYTES } = facts
  if (lineBytes > maxLineBytes) return tooLarge(lineBytes, maxLineBytes)
  const meaning = compact === text ? bodyText : cutMembers(compact, CUT)
  return {
    kind: 'prepared',
    endpoint,
    model: check.model,
    bodyText,
    fingerprint: hash('sha256', `${endpoint} ${meaning}`, 'base64url'),
    isStreamed: body.stream === true,
    includeUsage: isFields(body.stream_options) && body.stream_options.include_usage === true,
    lineBytes,
    inputs: endpoint === '/v1/embeddings' ? inputsOfBody(body) : 0,
    tokens: forecast(endpoint, body, measured(check.model, bodyText), facts),
  }
}

/** The body for a tier of its own (`flex`), with which it is called directly. */
export const withServiceTier = (bodyText: string, tier: string): string =>
  setMember(bodyText, 'service_tier', JSON.stringify(tier))

const tooLarge = (bytes: number, most: number): Refusal =>
  refusal(
    'request_too_large',
    null,
    `The request takes ${bytes} bytes in a batch, and at most ${most} are allowed.`,
    413,
  )

interface Measured {
  readonly model: string
  readonly bodyBytes: number
}

const measured = (model: string, bodyText: string): Measured => ({
  model,
  bodyBytes: Buffer.byteLength(bodyText),
})

/** As it will be sent: a tier is cut, so none is priced. */
function forecast(endpoint: Endpoint, given: Fields, measured: Measured, facts: BodyFacts): TokenForecast {
  const { calibration = noCalibration, completionRatio = COMPLETION_RATIO } = facts
  const body = given.service_tier === undefined ? given : { ...given, service_tier: undefined }
  const measure = measureBody(endpoint, body, measured)
  const { maxOutputTokens: allowed, mostInputTokens: mostInput, unbounded } = measure
  const most = allowed === undefined ? undefined : Math.min(allowed, MOST_OUTPUT)
  const estimate = estimateText(calibration, measure.textBytes) + measure.imageTokens
  return {
    requests: 1,
    input: Math.min(Math.ceil(estimate), mostInput),
    output: Math.round((most ?? ASSUMED_MOST_OUTPUT) * completionRatio),
    mostInput,
    mostOutput: most ?? 0,
    longest: mostInput,
    unbounded: most === undefined || unbounded !== undefined ? 1 : 0,
  }
}
