import type { Endpoint } from '../openai/wire.ts'
import { imageParts, imagePromptTokens } from './image-parts.ts'
import { asArray, asNumber, asObject, asString, isObject, type JsonObject } from './json.ts'

const BYTES_PER_TOKEN = 4
const MAX_CHOICES = 128

/** Tokens of a text, estimated. */
export const estimateTokens = (text: string): number => Math.ceil(Buffer.byteLength(text) / BYTES_PER_TOKEN)

/** The first `tokens` tokens of a text, and whether that cut something off. */
export function cutToTokens(text: string, tokens: number): { readonly text: string; readonly cut: boolean } {
  const limit = tokens * BYTES_PER_TOKEN
  if (text.length <= tokens || Buffer.byteLength(text) <= limit) return { text, cut: false }
  const head = Buffer.from(text).subarray(0, limit).toString('utf8')
  return { text: head.replace(/\uFFFD+$/, ''), cut: true }
}

/** Tokens of all that a body asks the model to read: texts by their bytes, pictures by their size and detail. */
export function promptTokens(endpoint: Endpoint, body: JsonObject): number {
  let bytes = 0
  for (const text of promptTexts(endpoint, body)) bytes += Buffer.byteLength(text)
  for (const extra of [body.tools, body.response_format, body.text]) {
    if (extra !== undefined) bytes += Buffer.byteLength(JSON.stringify(extra))
  }
  const numbers = endpoint === '/v1/embeddings' ? countNumbers(body.input) : 0
  return Math.ceil(bytes / BYTES_PER_TOKEN) + numbers + imagePromptTokens(endpoint, body)
}

/** The text of the last user message; empty when there is none. */
export function lastUserText(endpoint: Endpoint, body: JsonObject): string {
  const turns = endpoint === '/v1/chat/completions' ? body.messages : body.input
  if (typeof turns === 'string') return turns
  const user = asArray(turns).findLast((turn) => isObject(turn) && (turn.role ?? 'user') === 'user')
  return contentTexts(asObject(user).content).join(' ')
}

/** URLs of the pictures that users showed, in order. */
export const userPictures = (endpoint: Endpoint, body: JsonObject): readonly string[] =>
  imageParts(endpoint, body).flatMap(({ url }) => asString(url) ?? [])

/** How many choices a body asks for. */
export function choiceCount(endpoint: Endpoint, body: JsonObject): number {
  const asked = endpoint === '/v1/chat/completions' ? (asNumber(body.n) ?? 1) : 1
  return Math.min(Math.max(1, Math.floor(asked)), MAX_CHOICES)
}

/** How many inputs an embeddings body holds: a text or a list of tokens is one. */
export function embeddingInputs(body: JsonObject): readonly unknown[] {
  const input = body.input
  if (!Array.isArray(input)) return input === undefined ? [] : [input]
  return typeof input[0] === 'number' ? [input] : input
}

function promptTexts(endpoint: Endpoint, body: JsonObject): readonly string[] {
  if (endpoint === '/v1/chat/completions') {
    return asArray(body.messages).flatMap((message) => contentTexts(asObject(message).content))
  }
  if (endpoint === '/v1/embeddings') return embeddingInputs(body).filter((input) => typeof input === 'string')
  const input = body.input
  const turns = asArray(input).flatMap((item) => contentTexts(asObject(item).content))
  return [asString(body.instructions) ?? '', asString(input) ?? '', ...turns]
}

/** Content is a text or a list of parts, of which those with a text count. */
function contentTexts(content: unknown): readonly string[] {
  if (typeof content === 'string') return [content]
  return asArray(content).flatMap((part) => asString(asObject(part).text) ?? [])
}

function countNumbers(input: unknown): number {
  if (typeof input === 'number') return 1
  return Array.isArray(input) ? input.reduce<number>((sum, item) => sum + countNumbers(item), 0) : 0
}
