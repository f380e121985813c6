import type { EmulatedRequest } from './answers.ts'
import { type Chance, createChance, fingerprint, mix, seedOf } from './chance.ts'
import { asArray, asObject, asString, isObject, type JsonObject } from './json.ts'
import { choiceCount, lastUserText, userPictures } from './prompt.ts'
import { sampleSchema } from './schema-sampler.ts'

/** What the model says in one choice. */
export type Draft =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'call'; readonly name: string; readonly arguments: string }

const MAX_WORDS = 200
const READ_CHARACTERS = 1000
const ECHOED_WORDS = 12

const REMARKS = [
  'That is the heart of it.',
  'There is more to say, but this is the gist.',
  'Opinions on this differ.',
  'The rest follows from that.',
  'I would not add much to it.',
]

const FREE_OBJECT = {
  type: 'object',
  properties: { summary: { type: 'string' }, topic: { type: 'string' }, score: { type: 'number' } },
  required: ['summary', 'topic', 'score'],
}

/**
 * Answers without a model: JSON that satisfies the schema asked for, a tool call where one is demanded, else a
 * short text that echoes the last user message. Depends on the body and the attempt alone. Most choices follow
 * the user's text and pictures, so that repeats and other wordings of the prompt mostly agree, with some dissent.
 * `key` is the fingerprint of the body.
 */
export function simulateDrafts(request: EmulatedRequest, key: number): readonly Draft[] {
  const { body, endpoint, attempt } = request
  const userText = lastUserText(endpoint, body)
  const stable = seedOf([userText, ...userPictures(endpoint, body)].join('\n'))
  const varied = mix(key >>> 0, attempt)
  const words = wordsOf(userText)
  return Array.from({ length: choiceCount(endpoint, body) }, (_, index) => {
    // The first choice is the considered one; the others would not be asked for if they were all the same.
    const seed = index === 0 ? stable : mix(stable, index)
    return draft(body, { chance: createChance(seed, mix(varied, index)), words }, index)
  })
}

interface Wit {
  readonly chance: Chance
  readonly words: readonly string[]
}

function draft(body: JsonObject, wit: Wit, index: number): Draft {
  const tool = demandedTool(body, wit.chance)
  if (tool)
    return { kind: 'call', name: tool.name, arguments: JSON.stringify(sampleSchema(tool.schema, wit)) }
  const schema = outputSchema(body)
  if (schema) return { kind: 'text', text: JSON.stringify(sampleSchema(schema, wit)) }
  return { kind: 'text', text: echo(wit, index) }
}

function echo({ chance, words }: Wit, index: number): string {
  const remark = REMARKS[chance.pick(3, REMARKS.length)] ?? ''
  const start = chance.pick(4, Math.max(1, words.length - ECHOED_WORDS))
  const quoted = words.slice(start, start + ECHOED_WORDS).join(' ')
  const text = quoted === '' ? remark : `You ask about "${quoted}". ${remark}`
  return index === 0 ? text : `${text} (Put in another way: ${index}.)`
}

/** The schema of the answer's JSON, in either endpoint's form. */
function outputSchema(body: JsonObject): JsonObject | undefined {
  const format = asObject(body.response_format ?? asObject(body.text).format)
  if (format.type === 'json_object') return FREE_OBJECT
  if (format.type !== 'json_schema') return undefined
  return asObject(format.schema ?? asObject(format.json_schema).schema)
}

interface Tool {
  readonly name: string
  readonly schema: JsonObject
}

function demandedTool(body: JsonObject, chance: Chance): Tool | undefined {
  const choice = body.tool_choice
  const tools = asArray(body.tools).flatMap(toolOf)
  if (choice === 'required') return tools[chance.pick(5, tools.length)]
  if (!isObject(choice)) return undefined
  const name = asString(choice.name) ?? asString(asObject(choice.function).name)
  return tools.find((tool) => tool.name === name)
}

/** Chat nests a tool's name and parameters in `function`; responses does not. */
function toolOf(tool: unknown): Tool[] {
  const outer = asObject(tool)
  const inner = isObject(outer.function) ? outer.function : outer
  const name = asString(inner.name)
  const schema = { type: 'object', ...asObject(inner.parameters) }
  return outer.type === 'function' && name !== undefined ? [{ name, schema }] : []
}

const wordsOf = (text: string): readonly string[] =>
  (text.slice(0, READ_CHARACTERS).match(/[\p{L}\p{N}]+/gu) ?? []).slice(0, MAX_WORDS)

/** A vector of length 1 that depends on the input alone. */
export function simulateVector(input: unknown, dimensions: number): Float32Array {
  const seed = fingerprint(typeof input === 'string' ? input : JSON.stringify(input))
  const low = seed >>> 0
  const high = Math.floor(seed / 0x1_0000_0000)
  const vector = Float32Array.from(
    { length: dimensions },
    (_, index) => mix(low, mix(high, index)) / 2 ** 31 - 1,
  )
  let squares = 0
  for (const value of vector) squares += value * value
  const length = Math.sqrt(squares) || 1
  return vector.map((value) => value / length)
}
