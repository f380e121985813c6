import type { ZodError } from 'zod'
import {
  chatReplySchema,
  type Endpoint,
  embeddingsReplySchema,
  responsesReplySchema,
  type WireApiError,
  type WireChatReply,
  type WireEmbeddingsReply,
  type WireResponsesReply,
} from '../openai/wire.ts'
import { readUsage, type TokenUsage } from '../tokens/usage.ts'
import { assertNever } from '../util/exhaustive.ts'
import type { Refusal } from './refusals.ts'

type Json = Readonly<Record<string, unknown>>

/** Why an attempt at a request failed. `code` is the server's own where it gave one. */
export interface Failure {
  readonly code: string
  readonly message: string
  /** HTTP status, where there was one. */
  readonly status?: number
  /** The same request may succeed when it is sent again. */
  readonly retryable: boolean
  /** False when the server never tried: the attempt is not taken from the request's retries. */
  readonly countsAsAttempt: boolean
  /** The account or the key was refused, not the request: it was not tried. */
  readonly refusal?: Refusal
}

export interface ToolCall {
  readonly id: string | undefined
  readonly name: string
  /** JSON text as the model wrote it. */
  readonly arguments: string
}

export interface Choice {
  readonly index: number
  readonly text: string
  readonly refusal?: string
  /** `stop`, `length`, `content_filter`, `tool_calls` or the server's own word; undefined when it gave none. */
  readonly finishReason?: string
  readonly toolCalls: readonly ToolCall[]
}

export interface ReplyWarning {
  readonly code: 'refusal' | 'length' | 'content_filter' | 'choice_count'
  readonly message: string
}

/** What the body of a good answer says. `text` and `toolCalls` are those of the choice with the lowest index. */
export interface Reply {
  readonly kind: 'reply'
  readonly text: string
  readonly choices: readonly Choice[]
  readonly toolCalls: readonly ToolCall[]
  readonly usage: TokenUsage | undefined
  readonly model?: string
  /** One vector per input, in the order of the inputs; only for embeddings. */
  readonly embeddings?: readonly (readonly number[])[]
  readonly warnings: readonly ReplyWarning[]
}

/** The body is not an answer of its endpoint, or says that none was produced. It may have cost tokens all the same. */
export interface ReplyProblem {
  readonly kind: 'problem'
  readonly failure: Failure
  readonly usage: TokenUsage | undefined
}

/**
 * Reads the body of an HTTP 200. Give the request's body as well, to be warned when the number of choices (or of
 * embeddings) is not what it asked for.
 */
export function readReply(endpoint: Endpoint, body: unknown, request?: Json): Reply | ReplyProblem {
  const usage = isRecord(body) ? readUsage(body.usage) : undefined
  switch (endpoint) {
    case '/v1/chat/completions': {
      const chat = chatReplySchema.safeParse(body)
      return chat.success ? readChat(chat.data, usage, request) : misshapen(endpoint, chat.error, usage)
    }
    case '/v1/responses': {
      const response = responsesReplySchema.safeParse(body)
      return response.success
        ? readResponse(response.data, usage)
        : misshapen(endpoint, response.error, usage)
    }
    case '/v1/embeddings': {
      const list = embeddingsReplySchema.safeParse(body)
      return list.success ? readEmbeddings(list.data, usage, request) : misshapen(endpoint, list.error, usage)
    }
    default:
      return assertNever(endpoint)
  }
}

type Usage = TokenUsage | undefined

function readChat(chat: WireChatReply, usage: Usage, request: Json | undefined): Reply | ReplyProblem {
  if (chat.choices.length === 0) return badBody('the reply has no choices', usage)
  const choices = chat.choices
    .map((choice, position) => readChoice(choice, position))
    .sort((a, b) => a.index - b.index)
  const asked = request && (typeof request.n === 'number' ? request.n : 1)
  return reply(choices, usage, chat.model, countWarnings('choices', choices.length, asked))
}

function readChoice(choice: WireChatReply['choices'][number], position: number): Choice {
  const calls = choice.message?.tool_calls ?? []
  return {
    index: choice.index ?? position,
    text: choice.message?.content ?? '',
    ...(choice.message?.refusal && { refusal: choice.message.refusal }),
    ...(choice.finish_reason && { finishReason: choice.finish_reason }),
    toolCalls: calls.flatMap((call) =>
      call.function ? [{ ...call.function, id: call.id ?? undefined }] : [],
    ),
  }
}

function readResponse(response: WireResponsesReply, usage: Usage): Reply | ReplyProblem {
  const status = response.status ?? 'completed'
  if (status !== 'completed' && status !== 'incomplete') return unfinished(response, status, usage)
  const parts = response.output.flatMap((item) => (item.type === 'message' ? (item.content ?? []) : []))
  const refusal = parts.map((part) => (part.type === 'refusal' ? (part.refusal ?? '') : '')).join('')
  const toolCalls = response.output.flatMap((item) =>
    item.type === 'function_call'
      ? [{ id: item.call_id ?? item.id ?? undefined, name: item.name ?? '', arguments: item.arguments ?? '' }]
      : [],
  )
  const choice: Choice = {
    index: 0,
    text: parts.map((part) => (part.type === 'output_text' ? (part.text ?? '') : '')).join(''),
    ...(refusal && { refusal }),
    finishReason: finishReason(response, status, toolCalls.length > 0),
    toolCalls,
  }
  return reply([choice], usage, response.model, [])
}

/** The words of the chat endpoint, so that callers need to know one set only. */
function finishReason(response: WireResponsesReply, status: string, called: boolean): string {
  if (status === 'completed') return called ? 'tool_calls' : 'stop'
  const reason = response.incomplete_details?.reason ?? 'incomplete'
  return reason === 'max_output_tokens' ? 'length' : reason
}

/** A response object that ended without an answer (`failed`, `cancelled`), or is still being made. */
function unfinished(response: WireResponsesReply, status: string, usage: Usage): ReplyProblem {
  const error = response.error
  const code = codeOf(error)
  const message = error?.message ?? `the response ended with status "${status}" and no error text`
  const retryable = code === undefined || PASSING.has(code)
  return problem({ code: code ?? `response_${status}`, message, retryable, countsAsAttempt: true }, usage)
}

/** Codes inside a failed response that may pass; every other comes back whenever the same request is sent. */
const PASSING: ReadonlySet<string> = new Set([
  'server_error',
  'rate_limit_exceeded',
  'vector_store_timeout',
  'failed_to_download_image',
])

function readEmbeddings(
  list: WireEmbeddingsReply,
  usage: Usage,
  request: Json | undefined,
): Reply | ReplyProblem {
  const sorted = list.data
    .map(({ index, embedding }, position) => ({ index: index ?? position, embedding }))
    .sort((a, b) => a.index - b.index)
  const embeddings: (readonly number[])[] = []
  for (const { index, embedding } of sorted) {
    const vector = typeof embedding === 'string' ? decodeVector(embedding) : embedding
    if (!vector) return badBody(`embedding ${index} is not base64 of whole 32-bit floats`, usage)
    embeddings.push(vector)
  }
  const warnings = countWarnings('embeddings', embeddings.length, request && inputCount(request.input))
  return { ...reply([], usage, list.model, warnings), embeddings }
}

/** Little-endian 32-bit floats; undefined when the text holds no whole number of them. */
function decodeVector(base64: string): readonly number[] | undefined {
  const bytes = Buffer.from(base64, 'base64')
  if (bytes.byteLength % 4 !== 0 || Math.ceil(bytes.byteLength / 3) * 4 < base64.length - 3) return undefined
  return Array.from({ length: bytes.byteLength / 4 }, (_, at) => bytes.readFloatLE(at * 4))
}

/** An array of numbers is one input: the tokens of a text. */
const inputCount = (input: unknown): number =>
  Array.isArray(input) && typeof input[0] !== 'number' ? input.length : 1

function reply(
  choices: readonly Choice[],
  usage: Usage,
  model: string | null | undefined,
  warnings: readonly ReplyWarning[],
): Reply {
  return {
    kind: 'reply',
    text: choices[0]?.text ?? '',
    choices,
    toolCalls: choices[0]?.toolCalls ?? [],
    usage,
    ...(model && { model }),
    warnings: [...choices.flatMap(choiceWarnings), ...warnings],
  }
}

function choiceWarnings({ index, refusal, finishReason: reason }: Choice): readonly ReplyWarning[] {
  const warnings: ReplyWarning[] = []
  if (refusal) warnings.push({ code: 'refusal', message: `choice ${index} was refused: ${cut(refusal)}` })
  if (reason === 'length')
    warnings.push({ code: 'length', message: `choice ${index} was cut off at the output token limit` })
  if (reason === 'content_filter')
    warnings.push({ code: 'content_filter', message: `choice ${index} was cut off by the content filter` })
  return warnings
}

const countWarnings = (what: string, got: number, asked: number | undefined): readonly ReplyWarning[] =>
  asked === undefined || got === asked
    ? []
    : [{ code: 'choice_count', message: `the request asked for ${asked} ${what}, the reply has ${got}` }]

const problem = (failure: Failure, usage: Usage): ReplyProblem => ({ kind: 'problem', failure, usage })

const badBody = (message: string, usage: Usage): ReplyProblem =>
  problem({ code: 'bad_reply', message, retryable: true, countsAsAttempt: true }, usage)

function misshapen(endpoint: Endpoint, error: ZodError, usage: Usage): ReplyProblem {
  const issue = error.issues[0]
  const where = issue?.path.length ? issue.path.join('.') : 'the body'
  return badBody(`not a reply of ${endpoint}: ${where}: ${issue?.message ?? 'unknown shape'}`, usage)
}

/** The `code` of a server's error block, or its `type` when it has none. */
const codeOf = (error: WireApiError | null | undefined): string | undefined => {
  const code = error?.code ?? error?.type
  return code === null || code === undefined || code === '' ? undefined : String(code)
}

const SHOWN_TEXT = 500
const cut = (text: string): string => (text.length > SHOWN_TEXT ? `${text.slice(0, SHOWN_TEXT)}...` : text)

const isRecord = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
