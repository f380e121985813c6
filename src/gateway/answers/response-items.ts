import { isListText, isObjectText, isStringText, itemsOf, valuesOf } from '../body/json-members.ts'
import { objectText, type Parts, pieces } from './event-text.ts'

/** An event of a response's stream, without its number. */
export interface Step {
  readonly type: string
  readonly parts: Parts
}

type Values = ReadonlyMap<string, string>

/** Where in the response something is: fields that every event about it has. */
type Place = readonly (readonly [string, string])[]

/** An item of a response's output, from being added to being done. */
export function* itemSteps(item: string, index: number): Generator<Step> {
  const fields: Values = isObjectText(item) ? valuesOf(item) : new Map()
  const type = wordOf(fields.get('type'))
  const place = [['output_index', String(index)]] as const
  const inside = [['item_id', fields.get('id') ?? '""'], ...place] as const
  // Some clients check each event against the item's id: what has none is told at once.
  const isWhole = CALLS.has(type) && !isStringText(fields.get('id'))
  yield step('response.output_item.added', [...place, ['item', isWhole ? item : begunItem(type, fields)]])
  if (!isWhole) yield* insideSteps(type, fields, inside)
  yield step('response.output_item.done', [...place, ['item', item]])
}

const step = (type: string, parts: Parts): Step => ({ type, parts })

/** Calls that are written like a text: the field, and the event of its pieces. */
const CALLS: ReadonlyMap<string, readonly [field: string, event: string]> = new Map([
  ['function_call', ['arguments', 'response.function_call_arguments']],
  ['custom_tool_call', ['input', 'response.custom_tool_call_input']],
  ['mcp_call', ['arguments', 'response.mcp_call_arguments']],
  ['code_interpreter_call', ['code', 'response.code_interpreter_call_code']],
])

/** What the server does for the model is told in phases, the last one when it succeeds. */
const PHASES: ReadonlyMap<string, readonly string[]> = new Map([
  ['web_search_call', ['in_progress', 'searching', 'completed']],
  ['file_search_call', ['in_progress', 'searching', 'completed']],
  ['image_generation_call', ['in_progress', 'generating', 'completed']],
  ['code_interpreter_call', ['in_progress', 'interpreting', 'completed']],
  ['mcp_call', ['in_progress', 'completed']],
  ['mcp_list_tools', ['in_progress', 'completed']],
])

/** Fields that are empty when an item is added, if they hold what is written piece by piece, or come in the end. */
const AT_FIRST: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map([
  ['message', new Map([['content', '[]']])],
  [
    'reasoning',
    new Map([
      ['summary', '[]'],
      ['content', '[]'],
    ]),
  ],
  [
    'mcp_call',
    new Map([
      ['output', 'null'],
      ['error', 'null'],
    ]),
  ],
  [
    'mcp_list_tools',
    new Map([
      ['tools', '[]'],
      ['error', 'null'],
    ]),
  ],
  ['image_generation_call', new Map([['result', 'null']])],
  ['file_search_call', new Map([['results', 'null']])],
  ['code_interpreter_call', new Map([['outputs', 'null']])],
])

function begunItem(type: string, fields: Values): string {
  const empty = new Map(AT_FIRST.get(type))
  const written = CALLS.get(type)?.[0]
  if (written !== undefined && isStringText(fields.get(written))) empty.set(written, '""')
  if (isStringText(fields.get('status'))) empty.set('status', '"in_progress"')
  return objectText(
    [...fields].map(([name, value]) => [name, value === 'null' ? value : (empty.get(name) ?? value)]),
  )
}

function* insideSteps(type: string, fields: Values, place: Place): Generator<Step> {
  if (type === 'reasoning') yield* summarySteps(fields.get('summary'), place)
  if (type === 'message' || type === 'reasoning') yield* partsSteps(type, fields.get('content'), place)
  const [begin, ...phases] = PHASES.get(type) ?? []
  if (begin !== undefined) yield step(`response.${type}.${begin}`, place)
  yield* callSteps(type, fields, place)
  for (const phase of phases) yield* phaseStep(type, phase, wordOf(fields.get('status')), place)
}

/** Of calls that failed only some kinds have an event of their own. */
function* phaseStep(type: string, phase: string, status: string, place: Place): Generator<Step> {
  const failed = status === 'failed' || status === 'incomplete'
  if (phase !== 'completed' || !failed) yield step(`response.${type}.${phase}`, place)
  else if (type === 'mcp_call' || type === 'mcp_list_tools') yield step(`response.${type}.failed`, place)
}

function* callSteps(type: string, fields: Values, place: Place): Generator<Step> {
  const [field, event] = CALLS.get(type) ?? []
  const value = field === undefined ? undefined : fields.get(field)
  if (field === undefined || !isStringText(value)) return
  yield* deltaSteps(`${event}.delta`, value, place)
  const name = type === 'function_call' ? fields.get('name') : undefined
  yield step(`${event}.done`, [...place, ['name', name], [field, value]])
}

function* deltaSteps(type: string, text: string, place: Place): Generator<Step> {
  if (text === '""') return
  for (const piece of pieces(text)) yield step(type, [...place, ['delta', piece]])
}

/**
 * The parts of a message, or of what the model thought. Some clients raise for a part that has no place in its item: of
 * an item with such a part only the whole is told.
 */
function* partsSteps(type: string, content: string | undefined, place: Place): Generator<Step> {
  const parts = isListText(content) ? itemsOf(content) : []
  if (!parts.every((part) => isThought(part) === (type === 'reasoning'))) return
  for (const [index, part] of parts.entries()) {
    const at: Place = [...place, ['content_index', String(index)]]
    const fields: Values = isObjectText(part) ? valuesOf(part) : new Map()
    const kind = WRITTEN_PARTS.get(wordOf(fields.get('type')))
    const text = kind && fields.get(kind.field)
    const isWritten = kind !== undefined && isStringText(text)
    yield step('response.content_part.added', [
      ...at,
      ['part', isWritten ? begunPart(fields, kind.field) : part],
    ])
    if (isWritten) yield* textSteps(kind, fields, text, at)
    yield step('response.content_part.done', [...at, ['part', part]])
  }
}

const isThought = (part: string): boolean =>
  isObjectText(part) && wordOf(valuesOf(part).get('type')) === 'reasoning_text'

interface WrittenPart {
  readonly field: string
  readonly event: string
}

const WRITTEN_PARTS: ReadonlyMap<string, WrittenPart> = new Map([
  ['output_text', { field: 'text', event: 'response.output_text' }],
  ['refusal', { field: 'refusal', event: 'response.refusal' }],
  ['reasoning_text', { field: 'text', event: 'response.reasoning_text' }],
])

const begunPart = (fields: Values, field: string): string =>
  objectText(
    [...fields].map(([name, value]) => {
      if (name === field) return [name, '""']
      return [name, (name === 'annotations' || name === 'logprobs') && isListText(value) ? '[]' : value]
    }),
  )

function* textSteps({ field, event }: WrittenPart, fields: Values, text: string, at: Place): Generator<Step> {
  const isOutput = event === 'response.output_text'
  const all = fields.get('logprobs')
  const none = isOutput ? '[]' : undefined
  let logprobs = isOutput && isListText(all) ? all : none
  const done: Parts = [...at, [field, text], ['logprobs', logprobs]]
  for (const piece of text === '""' ? [] : pieces(text)) {
    yield step(`${event}.delta`, [...at, ['delta', piece], ['logprobs', logprobs]])
    logprobs = none
  }
  const annotations = fields.get('annotations')
  for (const [index, annotation] of (isListText(annotations) ? itemsOf(annotations) : []).entries())
    yield step('response.output_text.annotation.added', [
      ...at,
      ['annotation_index', String(index)],
      ['annotation', annotation],
    ])
  yield step(`${event}.done`, done)
}

function* summarySteps(summary: string | undefined, place: Place): Generator<Step> {
  if (!isListText(summary)) return
  for (const [index, part] of itemsOf(summary).entries()) {
    const at: Place = [...place, ['summary_index', String(index)]]
    const fields: Values = isObjectText(part) ? valuesOf(part) : new Map()
    const text = fields.get('text')
    const isWritten = isStringText(text)
    yield step('response.reasoning_summary_part.added', [
      ...at,
      ['part', isWritten ? begunPart(fields, 'text') : part],
    ])
    if (isWritten) {
      yield* deltaSteps('response.reasoning_summary_text.delta', text, at)
      yield step('response.reasoning_summary_text.done', [...at, ['text', text]])
    }
    yield step('response.reasoning_summary_part.done', [...at, ['part', part]])
  }
}

/** The text of a JSON string that is a plain word; empty for all else. */
const wordOf = (json: string | undefined): string =>
  json && /^"[\w.-]*"$/.test(json) ? json.slice(1, -1) : ''
