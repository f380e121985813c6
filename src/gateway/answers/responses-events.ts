import { isListText, isObjectText, itemsOf, valuesOf } from '../body/json-members.ts'
import { eventText, objectText, type Parts } from './event-text.ts'
import { itemSteps } from './response-items.ts'

/**
 * A finished response object, as JSON text, as the server-sent events of a stream, with all that comes before its end:
 * it is created, each of its items is added, written and done. Values are copied as they are written.
 */
export function* responsesEvents(answer: string): Generator<string> {
  let number = 0
  const event = (type: string, parts: Parts): string =>
    eventText(
      objectText([['type', JSON.stringify(type)], ['sequence_number', String(number++)], ...parts]),
      type,
    )
  const response = isObjectText(answer) ? valuesOf(answer) : undefined
  if (response) {
    // Clients raise for a stream that does not begin so, also where nothing comes of it.
    const begun: Parts = [['response', begunResponse(response)]]
    yield event('response.created', begun)
    yield event('response.in_progress', begun)
    const output = response.get('output')
    for (const [index, item] of (isListText(output) ? itemsOf(output) : []).entries())
      for (const { type, parts } of itemSteps(item, index)) yield event(type, parts)
  }
  yield event(lastEvent(response?.get('status')), [['response', answer]])
}

/** What is not known yet when a response is begun. */
const AT_FIRST: ReadonlyMap<string, string | undefined> = new Map([
  ['status', '"in_progress"'],
  ['output', '[]'],
  ['output_text', undefined],
  ['usage', 'null'],
  ['error', 'null'],
  ['incomplete_details', 'null'],
  ['completed_at', 'null'],
])

const begunResponse = (response: ReadonlyMap<string, string>): string =>
  objectText(
    [...response].map(([name, value]) => [name, AT_FIRST.has(name) ? AT_FIRST.get(name) : value] as const),
  )

function lastEvent(status: string | undefined): string {
  if (status === '"failed"' || status === '"cancelled"') return 'response.failed'
  return status === '"incomplete"' ? 'response.incomplete' : 'response.completed'
}
