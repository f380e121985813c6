import { type ErrorBody, errorBody } from './api-error.ts'
import { requestId } from './ids.ts'
import { asNumber, asObject, isObject } from './json.ts'
import type { Mark } from './line-marks.ts'

/** Tokens of one answer, or of a whole batch. `cached` is part of `input`, `reasoning` of `output`. */
export interface Usage {
  readonly input: number
  readonly cached: number
  readonly output: number
  readonly reasoning: number
}

export const NO_USAGE: Usage = { input: 0, cached: 0, output: 0, reasoning: 0 }

/** What one request is answered with. `text` is compact JSON, ready to be put in a line of a file. */
export interface Reply {
  readonly status: number
  readonly text: string
  readonly usage: Usage
  readonly requestId: string
  /** How long the caller should wait, as the upstream said it in its `retry-after` header. */
  readonly retryAfter?: string
  /** What a direct call gets in place of `text`. */
  readonly direct?: { readonly text: string; readonly headers: Readonly<Record<string, string>> }
  /** In a batch: there was no answer, but this. */
  readonly lineError?: { readonly code: string; readonly message: string }
  /** In a batch: what is wrong with its line. */
  readonly marks?: readonly Mark[]
}

/** A reply of any body; usage is read from it, in either endpoint's form. */
export function replyOf(status: number, body: unknown): Reply {
  return {
    status,
    text: JSON.stringify(body) ?? 'null',
    usage: isObject(body) ? usageOf(body.usage) : NO_USAGE,
    requestId: requestId(),
  }
}

export const errorReply = (status: number, body: ErrorBody): Reply => replyOf(status, body)

export const serverErrorReply = (message: string, code?: string): Reply =>
  replyOf(500, errorBody(message, { type: 'server_error', ...(code !== undefined && { code }) }))

function usageOf(block: unknown): Usage {
  const usage = asObject(block)
  const input = asObject(usage.prompt_tokens_details ?? usage.input_tokens_details)
  const output = asObject(usage.completion_tokens_details ?? usage.output_tokens_details)
  return {
    input: asNumber(usage.prompt_tokens) ?? asNumber(usage.input_tokens) ?? 0,
    cached: asNumber(input.cached_tokens) ?? 0,
    output: asNumber(usage.completion_tokens) ?? asNumber(usage.output_tokens) ?? 0,
    reasoning: asNumber(output.reasoning_tokens) ?? 0,
  }
}
