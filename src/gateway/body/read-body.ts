import { errorText } from '../../errors.ts'
import { cutText, oneLine } from '../../util/text.ts'
import { hasLoneSurrogate, shapeOf } from './json-shape.ts'
import { kindOf, type Refusal, refusal } from './refusal.ts'

export type Fields = Readonly<Record<string, unknown>>

export const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A body that any reader of JSON takes, and that is an object. */
export interface ReadBody {
  readonly kind: 'object'
  /** As it came. */
  readonly text: string
  /** The same without the white space between its parts. */
  readonly compact: string
  readonly body: Fields
}

/**
 * Readers with a limit have it at 128 levels and more, and take long over what is millions deep. A line that a server
 * cannot read costs all who share its batch.
 */
const MAX_DEPTH = 100
const SHOWN_TEXT = 200

/** Reads the bytes of a body: UTF-8 without a byte order mark, JSON, an object. */
export function readBody(bytes: Uint8Array): ReadBody | Refusal {
  const text = decode(bytes)
  if (text === undefined) return invalid('it is not UTF-8')
  if (text.startsWith('\uFEFF')) return invalid('it begins with a byte order mark: send it without')
  const { compact, depth } = shapeOf(text)
  if (depth > MAX_DEPTH)
    return invalid(`it is nested ${depth} levels deep, and at most ${MAX_DEPTH} are taken`)
  const body = parse(text)
  if (body instanceof SyntaxError)
    return invalid(compact === '' ? 'it is empty' : cutText(oneLine(errorText(body)), SHOWN_TEXT))
  if (!isFields(body))
    return refusal('invalid_type', null, `The body must be a JSON object, but it is ${kindOf(body)}.`)
  if (hasLoneSurrogate(text))
    return invalid('a string has half of a surrogate pair (as \\ud83d alone is), which is no Unicode text')
  return { kind: 'object', text, compact, body }
}

const invalid = (why: string): Refusal =>
  refusal('invalid_json', null, `The body of the request is not valid JSON: ${why}.`)

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return error
    throw error
  }
}
