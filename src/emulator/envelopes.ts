import type { EmulatedRequest } from './answers.ts'
import { callId, completionId, functionCallId, messageId, responseId } from './ids.ts'
import { asNumber, asObject, asString, type JsonObject } from './json.ts'
import { cutToTokens, embeddingInputs, estimateTokens, promptTokens } from './prompt.ts'
import { type Draft, simulateVector } from './simulated-model.ts'

const DEFAULT_DIMENSIONS = 1536
const LARGE_DIMENSIONS = 3072
const MAX_DIMENSIONS = 16_384

/** The reply body that carries these drafts, in the form of the request's endpoint. `createdMs` is the time of it. */
export function envelope(request: EmulatedRequest, drafts: readonly Draft[], createdMs: number): JsonObject {
  const created = Math.floor(createdMs / 1000)
  if (request.endpoint === '/v1/embeddings') return embeddingsBody(request)
  return request.endpoint === '/v1/responses'
    ? responsesBody(request, drafts, created)
    : chatBody(request, drafts, created)
}

interface Cut {
  readonly draft: Draft
  readonly cut: boolean
  readonly tokens: number
}

/** What is left of a draft when the model may not say more than `limit` tokens. */
function cutDraft(draft: Draft, limit: number): Cut {
  const said = draft.kind === 'text' ? draft.text : draft.arguments
  const { text, cut } = cutToTokens(said, limit)
  const kept: Draft = draft.kind === 'text' ? { ...draft, text } : { ...draft, arguments: text }
  return { draft: kept, cut, tokens: Math.max(1, estimateTokens(text)) }
}

function chatBody(
  { body, endpoint }: EmulatedRequest,
  drafts: readonly Draft[],
  created: number,
): JsonObject {
  const limit = asNumber(body.max_completion_tokens) ?? asNumber(body.max_tokens) ?? Infinity
  const cuts = drafts.map((draft) => cutDraft(draft, limit))
  const prompt = promptTokens(endpoint, body)
  const completion = cuts.reduce((sum, { tokens }) => sum + tokens, 0)
  return {
    id: completionId(),
    object: 'chat.completion',
    created,
    model: body.model,
    choices: cuts.map(chatChoice),
    usage: {
      prompt_tokens: prompt,
      completion_tokens: completion,
      total_tokens: prompt + completion,
      prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
      completion_tokens_details: {
        reasoning_tokens: 0,
        audio_tokens: 0,
        accepted_prediction_tokens: 0,
        rejected_prediction_tokens: 0,
      },
    },
    service_tier: serviceTier(body),
    system_fingerprint: null,
  }
}

function chatChoice({ draft, cut }: Cut, index: number): JsonObject {
  const content = draft.kind === 'text' ? draft.text : null
  const message = { role: 'assistant', content, refusal: null, annotations: [] }
  if (draft.kind === 'text') {
    return { index, message, logprobs: null, finish_reason: cut ? 'length' : 'stop' }
  }
  const call = { id: callId(), type: 'function', function: { name: draft.name, arguments: draft.arguments } }
  return {
    index,
    message: { ...message, tool_calls: [call] },
    logprobs: null,
    finish_reason: cut ? 'length' : 'tool_calls',
  }
}

function responsesBody(
  { body, endpoint }: EmulatedRequest,
  drafts: readonly Draft[],
  created: number,
): JsonObject {
  const limit = asNumber(body.max_output_tokens)
  const cuts = drafts.map((draft) => cutDraft(draft, limit ?? Infinity))
  const incomplete = cuts.some(({ cut }) => cut)
  const input = promptTokens(endpoint, body)
  const output = cuts.reduce((sum, { tokens }) => sum + tokens, 0)
  return {
    id: responseId(),
    object: 'response',
    created_at: created,
    status: incomplete ? 'incomplete' : 'completed',
    background: false,
    error: null,
    incomplete_details: incomplete ? { reason: 'max_output_tokens' } : null,
    instructions: body.instructions ?? null,
    max_output_tokens: limit ?? null,
    model: body.model,
    output: cuts.map(responsesItem),
    ...responsesSettings(body),
    usage: {
      input_tokens: input,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: output,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: input + output,
    },
  }
}

/** What a response repeats of its request. */
const responsesSettings = (body: JsonObject): JsonObject => ({
  parallel_tool_calls: body.parallel_tool_calls ?? true,
  previous_response_id: body.previous_response_id ?? null,
  reasoning: { effort: asObject(body.reasoning).effort ?? null, summary: null },
  service_tier: serviceTier(body),
  store: body.store ?? true,
  temperature: body.temperature ?? 1,
  text: { format: { type: 'text' }, ...asObject(body.text) },
  tool_choice: body.tool_choice ?? 'auto',
  tools: body.tools ?? [],
  top_p: body.top_p ?? 1,
  truncation: body.truncation ?? 'disabled',
  user: body.user ?? null,
  metadata: body.metadata ?? {},
})

function responsesItem({ draft, cut }: Cut): JsonObject {
  const status = cut ? 'incomplete' : 'completed'
  if (draft.kind === 'call') {
    const { name, arguments: given } = draft
    return { id: functionCallId(), type: 'function_call', status, call_id: callId(), name, arguments: given }
  }
  const content = [{ type: 'output_text', text: draft.text, annotations: [], logprobs: [] }]
  return { id: messageId(), type: 'message', status, role: 'assistant', content }
}

function embeddingsBody({ body, endpoint }: EmulatedRequest): JsonObject {
  const model = asString(body.model) ?? ''
  const natural = model.includes('3-large') ? LARGE_DIMENSIONS : DEFAULT_DIMENSIONS
  const dimensions = Math.min(asNumber(body.dimensions) ?? natural, MAX_DIMENSIONS)
  const asBase64 = body.encoding_format === 'base64'
  const tokens = promptTokens(endpoint, body)
  return {
    object: 'list',
    data: embeddingInputs(body).map((input, index) => {
      const vector = simulateVector(input, dimensions)
      return { object: 'embedding', index, embedding: asBase64 ? base64(vector) : Array.from(vector) }
    }),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  }
}

const base64 = (vector: Float32Array): string =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64')

const serviceTier = (body: JsonObject): string => {
  const tier = asString(body.service_tier) ?? 'auto'
  return tier === 'auto' ? 'default' : tier
}
