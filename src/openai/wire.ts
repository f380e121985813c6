/**
 * The shapes that cross the network. Schemas are minimal and forgiving: they name the fields Nightshift
 * reads and let everything else through. Types of request bodies are the `openai` package's own, re-exported
 * as types only, so that no other folder imports the package.
 */
import type { ChatCompletionCreateParamsNonStreaming } from 'openai/resources/chat/completions'
import type { EmbeddingCreateParams } from 'openai/resources/embeddings'
import type { ResponseCreateParamsNonStreaming } from 'openai/resources/responses/responses'
import { z } from 'zod'

/** Endpoints that a task can use, by batch and directly. */
export const ENDPOINTS = ['/v1/chat/completions', '/v1/responses', '/v1/embeddings'] as const
export type Endpoint = (typeof ENDPOINTS)[number]

/** The request body of each endpoint; fields the SDK does not know yet are allowed. */
export interface EndpointBodies {
  '/v1/chat/completions': ChatCompletionCreateParamsNonStreaming & { [extra: string]: unknown }
  '/v1/responses': ResponseCreateParamsNonStreaming & { [extra: string]: unknown }
  '/v1/embeddings': EmbeddingCreateParams & { [extra: string]: unknown }
}

const optionalId = z
  .string()
  .nullish()
  .transform((id) => (id ? id : undefined))
const unixSeconds = z.number().nullish()

/** A token usage block of a batch (`batch.usage`, only on batches created after 2025-09-07). */
export const batchUsageSchema = z.object({
  input_tokens: z.number(),
  input_tokens_details: z.object({ cached_tokens: z.number().nullish() }).nullish(),
  output_tokens: z.number(),
  output_tokens_details: z.object({ reasoning_tokens: z.number().nullish() }).nullish(),
  total_tokens: z.number().nullish(),
})

export const batchErrorSchema = z.object({
  code: z.string().nullish(),
  line: z.number().nullish(),
  message: z.string().nullish(),
  param: z.string().nullish(),
})
export type WireBatchError = z.infer<typeof batchErrorSchema>

/** A batch object. `status` stays a free string: an unknown one means "not finished". Empty file ids become undefined. */
export const batchSchema = z.object({
  id: z.string(),
  endpoint: z.string(),
  input_file_id: z.string(),
  status: z.string(),
  created_at: z.number(),
  in_progress_at: unixSeconds,
  finalizing_at: unixSeconds,
  completed_at: unixSeconds,
  failed_at: unixSeconds,
  expired_at: unixSeconds,
  cancelling_at: unixSeconds,
  cancelled_at: unixSeconds,
  expires_at: unixSeconds,
  output_file_id: optionalId,
  error_file_id: optionalId,
  errors: z.object({ data: z.array(batchErrorSchema).nullish() }).nullish(),
  request_counts: z.object({ total: z.number(), completed: z.number(), failed: z.number() }).nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  usage: batchUsageSchema.nullish(),
})
/** `raw`: the object as the server gave it, as JSON text; where it comes from a server. */
export type WireBatch = z.infer<typeof batchSchema> & { readonly raw?: string }

export const fileSchema = z.object({
  id: z.string(),
  filename: z.string().nullish(),
  bytes: z.number().nullish(),
  created_at: z.number().nullish(),
  purpose: z.string().nullish(),
})
export type WireFile = z.infer<typeof fileSchema>

/** One line of a batch input file. */
export const inputLineSchema = z.object({
  custom_id: z.string(),
  method: z.literal('POST'),
  url: z.string(),
  body: z.record(z.string(), z.unknown()),
})
export type WireInputLine = z.infer<typeof inputLineSchema>

/** The error block of an HTTP answer or of a result line. Codes are strings or numbers in the wild. */
export const apiErrorSchema = z.object({
  code: z.union([z.string(), z.number()]).nullish(),
  type: z.string().nullish(),
  message: z.string().nullish(),
  param: z.string().nullish(),
})
export type WireApiError = z.infer<typeof apiErrorSchema>

/** One line of an output or error file, and of a `_replies` segment. */
export const resultLineSchema = z.object({
  custom_id: z.string(),
  response: z
    .object({
      status_code: z.number().nullish(),
      request_id: z.string().nullish(),
      body: z.unknown(),
    })
    .nullish(),
  error: z.unknown(),
})
export type WireResultLine = z.infer<typeof resultLineSchema>

const count = z.number().nullish()

/** `usage` of all three endpoints: chat and embeddings say prompt/completion, responses says input/output. */
export const usageSchema = z.object({
  prompt_tokens: count,
  completion_tokens: count,
  input_tokens: count,
  output_tokens: count,
  total_tokens: count,
  prompt_tokens_details: z.object({ cached_tokens: count, cache_write_tokens: count }).nullish(),
  input_tokens_details: z.object({ cached_tokens: count, cache_write_tokens: count }).nullish(),
  completion_tokens_details: z.object({ reasoning_tokens: count }).nullish(),
  output_tokens_details: z.object({ reasoning_tokens: count }).nullish(),
})
export type WireUsage = z.infer<typeof usageSchema>

const toolCallSchema = z.object({
  id: z.string().nullish(),
  type: z.string().nullish(),
  function: z.object({ name: z.string(), arguments: z.string() }).nullish(),
})

/** The parts of a chat completion that Nightshift reads. */
export const chatReplySchema = z.object({
  object: z.string().nullish(),
  model: z.string().nullish(),
  choices: z.array(
    z.object({
      index: z.number().nullish(),
      finish_reason: z.string().nullish(),
      message: z
        .object({
          content: z.string().nullish(),
          refusal: z.string().nullish(),
          tool_calls: z.array(toolCallSchema).nullish(),
        })
        .nullish(),
    }),
  ),
})
export type WireChatReply = z.infer<typeof chatReplySchema>

/** The parts of a response object (`/v1/responses`) that Nightshift reads. */
export const responsesReplySchema = z.object({
  object: z.string().nullish(),
  model: z.string().nullish(),
  status: z.string().nullish(),
  incomplete_details: z.object({ reason: z.string().nullish() }).nullish(),
  error: apiErrorSchema.nullish(),
  output: z.array(
    z.object({
      type: z.string(),
      id: z.string().nullish(),
      call_id: z.string().nullish(),
      name: z.string().nullish(),
      arguments: z.string().nullish(),
      content: z
        .array(z.object({ type: z.string(), text: z.string().nullish(), refusal: z.string().nullish() }))
        .nullish(),
    }),
  ),
})
export type WireResponsesReply = z.infer<typeof responsesReplySchema>

/** The parts of an embeddings list that Nightshift reads. */
export const embeddingsReplySchema = z.object({
  object: z.string().nullish(),
  model: z.string().nullish(),
  data: z.array(
    z.object({ index: z.number().nullish(), embedding: z.union([z.array(z.number()), z.string()]) }),
  ),
})
export type WireEmbeddingsReply = z.infer<typeof embeddingsReplySchema>
