import { isListText, isObjectText, isStringText, itemsOf, valuesOf } from '../body/json-members.ts'
import { eventText, listText, objectText, type Parts, pieces } from './event-text.ts'

export interface ChatEventOptions {
  /** The caller asked for a last chunk with `usage` (`stream_options.include_usage`). */
  readonly includeUsage: boolean
}

type Values = ReadonlyMap<string, string>
type Field = readonly [name: string, value: string | undefined]

/** A chunk's part for one choice. */
interface ChoiceDelta {
  readonly delta: Parts
  readonly logprobs?: string | undefined
  /** What else it says of the choice. */
  readonly more?: Parts
}

const DONE = 'data: [DONE]\n\n'
/** What every chunk says. Other fields of the answer go into the first alone: clients add them up. */
const IN_EVERY_CHUNK = ['id', 'object', 'created', 'model', 'service_tier', 'system_fingerprint']
const CHOICE_FIELDS = new Set(['index', 'message', 'logprobs', 'finish_reason'])
const MESSAGE_FIELDS = new Set(['role', 'content', 'refusal', 'tool_calls', 'function_call'])

/**
 * A finished chat completion, as JSON text, as the server-sent events of a stream: one choice after the other (some
 * clients take only the next index for a new choice), and of each its role first, alone, since some clients count what
 * else the first chunk of a choice has twice. Values are copied as they are written.
 */
export function* chatEvents(answer: string, { includeUsage }: ChatEventOptions): Generator<string> {
  const completion: Values = isObjectText(answer) ? valuesOf(answer) : new Map()
  const choices = completion.get('choices')
  if (!isListText(choices)) return yield* [eventText(answer), DONE]
  const usage = includeUsage ? 'null' : undefined
  let top: Parts = firstFields(completion)
  for (const choice of choiceTexts(itemsOf(choices))) {
    yield eventText(objectText([...top, ['choices', choice], ['usage', usage]]))
    top = commonFields(completion)
  }
  const total = completion.get('usage')
  if (includeUsage && total !== undefined)
    yield eventText(objectText([...top, ['choices', '[]'], ['usage', total]]))
  yield DONE
}

const commonFields = (completion: Values): Field[] =>
  IN_EVERY_CHUNK.map((name) => [name, name === 'object' ? CHUNK : completion.get(name)] as const)

const CHUNK = '"chat.completion.chunk"'

const firstFields = (completion: Values): Field[] => [
  ...commonFields(completion),
  ...[...completion].filter(
    ([name]) => !IN_EVERY_CHUNK.includes(name) && name !== 'choices' && name !== 'usage',
  ),
]

const NOT_ENDED: Parts = [['finish_reason', 'null']]

/** The `choices` of each chunk. An answer without choices still has one. */
function* choiceTexts(choices: readonly string[]): Generator<string> {
  if (choices.length === 0) yield '[]'
  for (const [position, text] of choices.entries()) {
    const choice: Values = isObjectText(text) ? valuesOf(text) : new Map()
    const index = choice.get('index') ?? String(position)
    for (const { delta, logprobs = 'null', more = NOT_ENDED } of deltasOf(choice))
      yield listText([
        objectText([['index', index], ['delta', objectText(delta)], ['logprobs', logprobs], ...more]),
      ])
  }
}

function* deltasOf(choice: Values): Generator<ChoiceDelta> {
  const text = choice.get('message')
  const message: Values = isObjectText(text) ? valuesOf(text) : new Map()
  const rest = [...choice].filter(([name]) => !CHOICE_FIELDS.has(name))
  yield { delta: headOf(message), more: [...NOT_ENDED, ...rest] }
  const others = [...message].filter(([name]) => !MESSAGE_FIELDS.has(name))
  if (others.length > 0) yield { delta: others }
  let logprobs = choice.get('logprobs')
  for (const delta of bodyDeltas(message)) {
    yield { delta, logprobs }
    logprobs = undefined
  }
  if (logprobs !== undefined && logprobs !== 'null') yield { delta: [], logprobs }
  yield { delta: [], more: [['finish_reason', choice.get('finish_reason') ?? 'null']] }
}

function headOf(message: Values): Parts {
  const content = message.get('content')
  const calls = message.get('tool_calls')
  return [
    ['role', message.get('role') ?? '"assistant"'],
    ['content', isStringText(content) ? '""' : content],
    ['refusal', message.has('refusal') ? 'null' : undefined],
    ['tool_calls', isListText(calls) && itemsOf(calls).length === 0 ? '[]' : undefined],
  ]
}

function* bodyDeltas(message: Values): Generator<Parts> {
  for (const name of ['content', 'refusal']) {
    for (const piece of textPieces(message.get(name))) yield [[name, piece]]
  }
  const call = message.get('function_call')
  if (isObjectText(call)) {
    for (const part of callParts(valuesOf(call))) yield [['function_call', objectText(part)]]
  }
  const calls = message.get('tool_calls')
  if (!isListText(calls)) return
  for (const [index, text] of itemsOf(calls).entries()) {
    for (const part of toolCallParts(text))
      yield [['tool_calls', listText([objectText([['index', String(index)], ...part])])]]
  }
}

/** A text of the answer in pieces; none for what is empty, or no text. */
function* textPieces(json: string | undefined): Generator<string> {
  if (isStringText(json) && json !== '""') yield* pieces(json)
}

/** What a function is called with comes after all else of the call; other calls, which few clients add up, come whole. */
function* toolCallParts(text: string): Generator<Parts> {
  const fields: Values = isObjectText(text) ? valuesOf(text) : new Map()
  const own = [...fields].filter(([name]) => name !== 'index')
  const called = fields.get('function')
  if (!isObjectText(called)) return yield own
  const [head = [], ...rest] = callParts(valuesOf(called))
  yield own.map(([name, value]) => [name, name === 'function' ? objectText(head) : value])
  for (const part of rest) yield [['function', objectText(part)]]
}

function* callParts(called: Values): Generator<Parts> {
  yield [...called].map(([name, value]) => [name, name === 'arguments' && isStringText(value) ? '""' : value])
  for (const piece of textPieces(called.get('arguments'))) yield [['arguments', piece]]
}
