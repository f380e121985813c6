import { inputsOfBody, MAX_EMBEDDING_INPUTS } from '../../batch/embedding-inputs.ts'
import type { Endpoint } from '../../openai/wire.ts'
import { assertNever } from '../../util/exhaustive.ts'
import { type Fields, isFields } from './read-body.ts'
import { missing, type Refusal, refusal, wrongType } from './refusal.ts'
import { type RefusedModels, whyUnbatchable } from './unbatchable.ts'

export interface CheckFacts {
  readonly refusedModels?: RefusedModels | undefined
}

/** A body whose model is fit to be named. */
export type BodyCheck = { readonly kind: 'fit'; readonly model: string } | Refusal

const MAX_MODEL_LENGTH = 256

/**
 * What can be told from a body alone: that no batch could hold it, or that it would be refused for a field that it must
 * have. All else is the server's to judge, whose error its caller gets.
 */
export function checkBody(endpoint: Endpoint, body: Fields, facts: CheckFacts): BodyCheck {
  const { model } = body
  if (model === undefined || model === null) return missing('model', 'Name the model that is to answer.')
  if (typeof model !== 'string') return wrongType('model', 'a string', model)
  return (
    checkName(model) ??
    checkStream(endpoint, body) ??
    checkContent(endpoint, body) ??
    checkBackground(endpoint, body.background) ??
    checkBatchable(endpoint, model, facts) ?? { kind: 'fit', model }
  )
}

function checkName(model: string): Refusal | undefined {
  if (model === '')
    return refusal(
      'invalid_value',
      'model',
      "Invalid 'model': it is empty. Name the model that is to answer.",
    )
  if (model.length > MAX_MODEL_LENGTH)
    return refusal(
      'string_above_max_length',
      'model',
      `Invalid 'model': it has ${model.length} characters, and at most ${MAX_MODEL_LENGTH} are allowed.`,
    )
  if (hasControl(model))
    return refusal('invalid_value', 'model', "Invalid 'model': it has control characters.")
  return undefined
}

function hasControl(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true
  }
  return false
}

function checkStream(endpoint: Endpoint, body: Fields): Refusal | undefined {
  const { stream, stream_options: options } = body
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean')
    return wrongType('stream', 'a boolean', stream)
  if (stream === true && endpoint === '/v1/embeddings')
    return refusal(
      'unknown_parameter',
      'stream',
      "Unknown parameter: 'stream'. Embeddings cannot be streamed.",
    )
  if (options === undefined || options === null) return undefined
  if (!isFields(options)) return wrongType('stream_options', 'an object', options)
  if (stream !== true)
    return refusal(
      'invalid_parameter',
      'stream_options',
      "The 'stream_options' parameter is only allowed when 'stream' is true.",
    )
  const usage = options.include_usage
  return usage === undefined || usage === null || typeof usage === 'boolean'
    ? undefined
    : wrongType('stream_options.include_usage', 'a boolean', usage)
}

function checkContent(endpoint: Endpoint, body: Fields): Refusal | undefined {
  switch (endpoint) {
    case '/v1/chat/completions':
      return checkMessages(body.messages)
    case '/v1/responses':
      return checkInput(body)
    case '/v1/embeddings':
      return checkEmbeddingInput(body)
    default:
      return assertNever(endpoint)
  }
}

function checkMessages(messages: unknown): Refusal | undefined {
  if (messages === undefined || messages === null) return missing('messages', 'Give an array of messages.')
  if (!Array.isArray(messages)) return wrongType('messages', 'an array of objects', messages)
  if (messages.length === 0) return emptyArray('messages')
  const odd = messages.findIndex((message) => !isFields(message))
  return odd < 0 ? undefined : wrongType(`messages[${odd}]`, 'an object', messages[odd])
}

/** Fields that a response can be made of without any input. */
const INSTEAD_OF_INPUT = ['prompt', 'conversation', 'previous_response_id']

function checkInput(body: Fields): Refusal | undefined {
  const { input } = body
  if (input === undefined || input === null) {
    if (INSTEAD_OF_INPUT.some((name) => body[name] !== undefined && body[name] !== null)) return undefined
    const advice =
      body.messages === undefined
        ? 'Give a string or an array of items.'
        : "It is called 'input' here, not 'messages'."
    return missing('input', advice)
  }
  if (typeof input === 'string') return undefined
  if (!Array.isArray(input)) return wrongType('input', 'a string or an array of objects', input)
  const odd = input.findIndex((item) => !isFields(item))
  return odd < 0 ? undefined : wrongType(`input[${odd}]`, 'an object', input[odd])
}

function checkEmbeddingInput(body: Fields): Refusal | undefined {
  const { input } = body
  if (input === undefined || input === null) return missing('input', 'Give a string or an array of strings.')
  if (input === '') return refusal('invalid_value', 'input', "Invalid 'input': it is empty.")
  if (typeof input === 'string') return undefined
  if (!Array.isArray(input)) return wrongType('input', 'a string or an array', input)
  if (input.length === 0) return emptyArray('input')
  const count = inputsOfBody(body)
  if (count <= MAX_EMBEDDING_INPUTS) return undefined
  const message = `Invalid 'input': it has ${count} inputs, and a batch holds at most ${MAX_EMBEDDING_INPUTS}.`
  return refusal('array_above_max_length', 'input', message)
}

const emptyArray = (param: string): Refusal =>
  refusal('empty_array', param, `Invalid '${param}': empty array. Expected an array with minimum length 1.`)

/** A response that is made in the background answers at once without its answer, which nothing would then ask for. */
function checkBackground(endpoint: Endpoint, background: unknown): Refusal | undefined {
  if (endpoint !== '/v1/responses' || background === undefined || background === null || background === false)
    return undefined
  if (background !== true) return wrongType('background', 'a boolean', background)
  const message =
    "'background' cannot be true here: the request is batched, and its result asked for, already."
  return refusal('unsupported_parameter', 'background', message)
}

function checkBatchable(
  endpoint: Endpoint,
  model: string,
  { refusedModels }: CheckFacts,
): Refusal | undefined {
  const why = whyUnbatchable(endpoint, model, refusedModels)
  if (why === undefined) return undefined
  const message = `The model '${model}' cannot be used in batches of ${endpoint}: ${why}. Choose another model.`
  return refusal('model_not_supported_in_batch', 'model', message)
}
