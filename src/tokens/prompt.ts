import { isObject, type JsonObject, listOf, objectOf, textOf } from './json-value.ts'

/** The endpoints whose prompts can be measured: those of the wire. */
export type Endpoint = '/v1/chat/completions' | '/v1/responses' | '/v1/embeddings'

/** What a prompt consists of, in the order in which the body has it. */
export type PromptPart =
  /** A message begins. The parts up to the next one are in it. */
  | { readonly kind: 'message'; readonly role: string; readonly name: string | undefined }
  | { readonly kind: 'text'; readonly text: string }
  /** `url` is undefined for an image that was uploaded before. */
  | { readonly kind: 'image'; readonly url: string | undefined; readonly detail: string | undefined }
  /** A call of a tool that the model made earlier. */
  | { readonly kind: 'call'; readonly name: string; readonly input: string }
  /** An input of an embedding that came as tokens. */
  | { readonly kind: 'tokens'; readonly count: number }
  | { readonly kind: 'tool'; readonly tool: FunctionText }
  /** The JSON schema of the answer. */
  | { readonly kind: 'format'; readonly format: FunctionText }
  /** Something whose tokens only the server knows; `why` names the field, for people. */
  | { readonly kind: 'unknown'; readonly why: string }

/** A function, custom tool or answer format as a body describes it; `schema` may be anything, a grammar is a text. */
export interface FunctionText {
  readonly name: string
  readonly description: string | undefined
  readonly schema: unknown
}

/** The parts of a body's prompt. Reads forgivingly: what has no known shape is passed over or named as unknown. */
export function* promptParts(endpoint: Endpoint, body: JsonObject): Generator<PromptPart> {
  if (endpoint === '/v1/embeddings') return yield* embeddingParts(body.input)
  if (endpoint === '/v1/chat/completions') yield* chatParts(body)
  else yield* responsesParts(body)
  yield* toolParts(body.tools)
}

const CHAT_UNKNOWN = ['web_search_options'] as const
const RESPONSES_UNKNOWN = ['previous_response_id', 'conversation', 'prompt', 'context_management'] as const

function* chatParts(body: JsonObject): Generator<PromptPart> {
  for (const [at, message] of listOf(body.messages).entries())
    if (isObject(message)) yield* chatMessage(message, `messages[${at}]`)
  for (const legacy of listOf(body.functions)) yield { kind: 'tool', tool: functionText(legacy) }
  yield* formatParts(objectOf(body.response_format)?.type, objectOf(body.response_format)?.json_schema)
  yield* unknownFields(body, CHAT_UNKNOWN)
}

function* chatMessage(message: JsonObject, place: string): Generator<PromptPart> {
  yield { kind: 'message', role: textOf(message.role) ?? '', name: textOf(message.name) }
  yield* contentParts(message.content, `${place}.content`)
  const refusal = textOf(message.refusal)
  if (refusal) yield { kind: 'text', text: refusal }
  for (const call of listOf(message.tool_calls))
    yield callPart(objectOf(call)?.function ?? objectOf(call)?.custom)
  if (isObject(message.function_call)) yield callPart(message.function_call)
  if (isObject(message.audio)) yield unknownPart(`${place}.audio is a recording`)
}

function* responsesParts(body: JsonObject): Generator<PromptPart> {
  if (typeof body.instructions === 'string') yield* plainMessage('system', body.instructions)
  if (typeof body.input === 'string') yield* plainMessage('user', body.input)
  for (const [at, item] of listOf(body.input).entries())
    if (isObject(item)) yield* inputItem(item, `input[${at}]`)
  const format = objectOf(objectOf(body.text)?.format)
  yield* formatParts(format?.type, format)
  yield* unknownFields(body, RESPONSES_UNKNOWN)
}

function* plainMessage(role: string, text: string): Generator<PromptPart> {
  yield { kind: 'message', role, name: undefined }
  yield { kind: 'text', text }
}

function* inputItem(item: JsonObject, place: string): Generator<PromptPart> {
  const type = item.type ?? 'message'
  switch (type) {
    case 'message':
      yield { kind: 'message', role: textOf(item.role) ?? '', name: undefined }
      return yield* contentParts(item.content, `${place}.content`)
    case 'function_call':
    case 'custom_tool_call':
      yield { kind: 'message', role: 'assistant', name: undefined }
      return yield callPart(item)
    case 'function_call_output':
    case 'custom_tool_call_output':
      yield { kind: 'message', role: 'tool', name: undefined }
      return yield* contentParts(item.output, `${place}.output`)
    default:
      yield unknownPart(`${place} is of type ${JSON.stringify(type)}`)
  }
}

function* contentParts(content: unknown, place: string): Generator<PromptPart> {
  if (typeof content === 'string') return yield { kind: 'text', text: content }
  let at = 0
  for (const part of listOf(content)) {
    if (typeof part === 'string') yield { kind: 'text', text: part }
    else if (isObject(part)) yield contentPart(part, place, at)
    at++
  }
}

function contentPart(part: JsonObject, place: string, at: number): PromptPart {
  switch (part.type) {
    case 'text':
    case 'input_text':
    case 'output_text':
    case 'summary_text':
      return { kind: 'text', text: textOf(part.text) ?? '' }
    case 'refusal':
      return { kind: 'text', text: textOf(part.refusal) ?? '' }
    case 'image_url':
    case 'input_image':
      return imagePart(part)
    default:
      return unknownPart(`${place}[${at}] is of type ${JSON.stringify(part.type)}`)
  }
}

/** Chat nests url and detail in an object, responses has them side by side. */
function imagePart(part: JsonObject): PromptPart {
  const nested = objectOf(part.image_url)
  return {
    kind: 'image',
    url: textOf(part.image_url) ?? textOf(nested?.url),
    detail: textOf(nested?.detail) ?? textOf(part.detail),
  }
}

function callPart(call: unknown): PromptPart {
  const { name, arguments: args, input } = objectOf(call) ?? {}
  return { kind: 'call', name: textOf(name) ?? '', input: textOf(args) ?? textOf(input) ?? '' }
}

/** Tools that the server runs add prompts, results and prices of their own. */
function* toolParts(tools: unknown): Generator<PromptPart> {
  for (const [at, tool] of listOf(tools).entries()) {
    if (!isObject(tool)) continue
    const { type } = tool
    if (type === 'function' || type === 'custom')
      yield { kind: 'tool', tool: functionText(tool[type] ?? tool) }
    else yield unknownPart(`tools[${at}] is of type ${JSON.stringify(type)}`)
  }
}

function* formatParts(type: unknown, format: unknown): Generator<PromptPart> {
  if (type === 'json_schema' && isObject(format)) yield { kind: 'format', format: functionText(format) }
}

function functionText(value: unknown): FunctionText {
  const { name, description, parameters, schema, format } = objectOf(value) ?? {}
  return {
    name: textOf(name) ?? '',
    description: textOf(description),
    schema: parameters ?? schema ?? objectOf(format)?.definition,
  }
}

function* embeddingParts(input: unknown): Generator<PromptPart> {
  if (typeof input === 'string') return yield { kind: 'text', text: input }
  const items = listOf(input)
  if (typeof items[0] === 'number') return yield { kind: 'tokens', count: items.length }
  for (const item of items)
    if (typeof item === 'string') yield { kind: 'text', text: item }
    else yield { kind: 'tokens', count: listOf(item).length }
}

function* unknownFields(body: JsonObject, fields: readonly string[]): Generator<PromptPart> {
  for (const field of fields)
    if (body[field] !== undefined && body[field] !== null) yield unknownPart(`${field} is set`)
}

const unknownPart = (what: string): PromptPart => ({
  kind: 'unknown',
  why: `${what}, and only the server knows what that adds to the prompt`,
})
