import type { Endpoint } from '../../openai/wire.ts'
import { cutText } from '../../util/text.ts'
import { isObjectText, isStringText, valuesOf } from '../body/json-members.ts'
import { openaiErrorText } from '../body/openai-error.ts'
import { eventText, objectText } from './event-text.ts'

/** An error as it is answered: HTTP status, and JSON text. */
export interface ErrorAnswer {
  readonly status: number
  readonly body: string
}

const SHOWN_TEXT = 2000

/**
 * An error as a server-sent event, by which every client's stream raises: once a stream has begun, its status is sent.
 * `sequence`: number of the event, for responses; default: 0.
 */
export function errorEvent(endpoint: Endpoint, answer: ErrorAnswer, sequence = 0): string {
  const error = errorObject(answer)
  if (endpoint !== '/v1/responses') return eventText(objectText([['error', error]]))
  const { code, message, param } = Object.fromEntries(valuesOf(error))
  // Older clients look for the fields of the published event, newer ones and the server's own for `error`.
  const parts = { type: '"error"', sequence_number: String(sequence), code, message, param, error }
  return eventText(objectText(Object.entries(parts)), 'error')
}

/** The answer's `error` as it is written; one in OpenAI's form for what has none. */
function errorObject({ status, body }: ErrorAnswer): string {
  const given = isObjectText(body) ? valuesOf(body).get('error') : undefined
  if (isObjectText(given) && isStringText(valuesOf(given).get('message'))) return given
  const message = cutText(messageOf(given ?? body), SHOWN_TEXT)
  return valuesOf(openaiErrorText({ status, message })).get('error') ?? '{}'
}

function messageOf(json: string): string {
  if (!isStringText(json)) return json
  const text: unknown = JSON.parse(json)
  return String(text)
}
