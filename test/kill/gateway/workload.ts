import { chanceOf } from '../../../demos/support/prompt.ts'
import { type Answer, type EmulatedRequest, httpAnswer, rawBody } from '../../../src/emulator/index.ts'

/**
 * The calls that are made while gateways are killed. No two have the same body: each has its serial number in its prompt
 * and in its answer, so that everybody can tell whose answer it is, and how often it was asked for. What a call is like
 * depends on its number alone.
 */
export interface Ask {
  readonly serial: number
  readonly endpoint: EmulatedRequest['endpoint']
  readonly model: string
  /** How its caller waits. */
  readonly way: 'held' | 'streamed' | 'background' | 'polled'
  /** It has an `Idempotency-Key`. */
  readonly hasKey: boolean
  /** By which it goes another way than by batch, or may. */
  readonly urgency: Urgency
  /** The server refuses it: its answer is an error of its own. */
  readonly isRefused: boolean
  /** Its caller is cut off soon after it called, and makes the same call again. */
  readonly isCutOff: boolean
}

/** `high`: a direct call. `now`: no time but for a direct call. `soon`: for a flex call. `later`: for a batch. */
export type Urgency = 'none' | 'high' | 'now' | 'soon' | 'later'

type Shares<Value> = readonly (readonly [share: number, value: Value])[]

const KINDS: Shares<Pick<Ask, 'endpoint' | 'model'>> = [
  [0.32, { endpoint: '/v1/chat/completions', model: 'gpt-5-mini' }],
  [0.16, { endpoint: '/v1/chat/completions', model: 'gpt-5-nano' }],
  [0.1, { endpoint: '/v1/chat/completions', model: 'gpt-4.1-mini' }],
  [0.16, { endpoint: '/v1/responses', model: 'gpt-5-mini' }],
  [0.08, { endpoint: '/v1/responses', model: 'gpt-4.1-mini' }],
  [0.12, { endpoint: '/v1/embeddings', model: 'text-embedding-3-small' }],
  [0.06, { endpoint: '/v1/embeddings', model: 'text-embedding-3-large' }],
]
const WAYS: Shares<Ask['way']> = [
  [0.45, 'held'],
  [0.2, 'streamed'],
  [0.2, 'background'],
  [0.15, 'polled'],
]
const URGENCIES: Shares<Urgency> = [
  [0.9, 'none'],
  [0.04, 'high'],
  [0.01, 'now'],
  [0.02, 'soon'],
  [0.03, 'later'],
]
const KEYS = 0.35
const REFUSED = 0.03
const CUT_OFF = 0.05

export function askOf(serial: number): Ask {
  const chance = (what: string): number => chanceOf(`${what} of ${serial}`)
  const kind = drawn(KINDS, chance('kind'))
  const way = drawn(WAYS, chance('way'))
  const urgency = drawn(URGENCIES, chance('urgency'))
  return {
    serial,
    ...kind,
    way: way === 'streamed' && kind.endpoint === '/v1/embeddings' ? 'held' : way,
    hasKey: chance('key') < KEYS,
    urgency,
    isRefused: chance('refusal') < REFUSED,
    // Only where no answer can be there by then: it would be lost on the way, and the same call is a new one.
    isCutOff: isBatched({ urgency }) && chance('cut') < CUT_OFF,
  }
}

/** It goes by batch, whatever happens to others. */
export const isBatched = ({ urgency }: Pick<Ask, 'urgency'>): boolean =>
  urgency === 'none' || urgency === 'later'

function drawn<Value>(shares: Shares<Value>, chance: number): Value {
  let sum = 0
  for (const [share, value] of shares) {
    sum += share
    if (chance < sum) return value
  }
  const [last] = shares.slice(-1)
  if (!last) throw new Error('there is nothing to draw from')
  return last[1]
}

const FILLER = 'What is this about? '.repeat(20)
const MARK = /#(\d+):/

export const promptOf = ({ serial }: Ask): string => `#${serial}: ${FILLER}`

/** The serial number in a body, or in what was answered to it; undefined when there is none. */
export function serialIn(text: string): number | undefined {
  const mark = MARK.exec(text)?.[1]
  return mark === undefined ? undefined : Number(mark)
}

export const answerText = (serial: number): string => `#${serial}: answered`
export const errorText = (serial: number): string => `#${serial}: refused`

/** What the server answers: an embedding is a vector of the serial number alone. */
export function answers({ body, endpoint }: EmulatedRequest): Answer {
  const serial = serialIn(JSON.stringify(body)) ?? 0
  if (askOf(serial).isRefused) return httpAnswer(REFUSAL_STATUS, refusal(serial))
  return endpoint === '/v1/embeddings' ? rawBody(embedding(serial, body)) : answerText(serial)
}

export const REFUSAL_STATUS = 400

const refusal = (serial: number) => ({
  error: { message: errorText(serial), type: 'invalid_request_error', param: null, code: 'refused' },
})

function embedding(serial: number, { model, encoding_format: format }: EmulatedRequest['body']) {
  const bytes = Buffer.from(Float32Array.of(serial).buffer)
  const vector = format === 'base64' ? bytes.toString('base64') : [serial]
  return {
    id: answerText(serial),
    object: 'list',
    data: [{ object: 'embedding', index: 0, embedding: vector }],
    model,
    usage: { prompt_tokens: 100, total_tokens: 100 },
  }
}
