/** Tokens of one reply, or a sum of many. Whole numbers, never negative. */
export interface TokenUsage {
  /** All prompt tokens; `cachedInput` and `cacheWrite` are parts of it. */
  readonly input: number
  /** Prompt tokens read from the server's prompt cache. */
  readonly cachedInput: number
  /** Prompt tokens written to the server's prompt cache. */
  readonly cacheWrite: number
  /** All completion tokens; `reasoning` is a part of it. */
  readonly output: number
  readonly reasoning: number
}

export const zeroUsage: TokenUsage = Object.freeze({
  input: 0,
  cachedInput: 0,
  cacheWrite: 0,
  output: 0,
  reasoning: 0,
})

export const addUsage = (a: TokenUsage, b: TokenUsage): TokenUsage => ({
  input: a.input + b.input,
  cachedInput: a.cachedInput + b.cachedInput,
  cacheWrite: a.cacheWrite + b.cacheWrite,
  output: a.output + b.output,
  reasoning: a.reasoning + b.reasoning,
})

/**
 * Reads the `usage` block of a reply: prompt/completion counts (chat, embeddings) or input/output counts
 * (responses, batches). Missing or null details count as zero. Undefined when the block says nothing:
 * no object, or no usable count in it.
 */
export function readUsage(block: unknown): TokenUsage | undefined {
  if (!isRecord(block)) return undefined
  const total = count(block.total_tokens)
  const saidOutput = count(block.completion_tokens ?? block.output_tokens)
  const saidInput = count(block.prompt_tokens ?? block.input_tokens)
  if (saidInput === undefined && saidOutput === undefined && total === undefined) return undefined
  const input = saidInput ?? Math.max(0, (total ?? 0) - (saidOutput ?? 0))
  const output = saidOutput ?? Math.max(0, (total ?? 0) - input)
  return { input, output, ...readDetails(block, input, output) }
}

type Details = Pick<TokenUsage, 'cachedInput' | 'cacheWrite' | 'reasoning'>

/** Parts larger than the whole are cut to it, so that no token is ever counted in two classes. */
function readDetails(block: Readonly<Record<string, unknown>>, input: number, output: number): Details {
  const prompt = block.prompt_tokens_details ?? block.input_tokens_details
  const completion = block.completion_tokens_details ?? block.output_tokens_details
  const cachedInput = Math.min(input, part(prompt, 'cached_tokens'))
  return {
    cachedInput,
    cacheWrite: Math.min(input - cachedInput, part(prompt, 'cache_write_tokens')),
    reasoning: Math.min(output, part(completion, 'reasoning_tokens')),
  }
}

const part = (details: unknown, field: string): number =>
  isRecord(details) ? (count(details[field]) ?? 0) : 0

const count = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.floor(value) : undefined

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
