import type { Endpoint } from '../openai/wire.ts'
import { asNumber, asObject, type JsonObject } from './json.ts'

/** Tokens that an answer is to have used. What is left out stays as it was counted. Nothing is checked for sense. */
export interface GivenUsage {
  /** All prompt tokens; `cachedInput` and `cacheWrite` are parts of them. */
  readonly input?: number
  readonly cachedInput?: number
  readonly cacheWrite?: number
  /** All completion tokens; `reasoning` is a part of them. */
  readonly output?: number
  readonly reasoning?: number
}

/** The `usage` block of a reply with these numbers in place of its own, in the form of its endpoint. */
export function usageWith(endpoint: Endpoint, block: JsonObject, given: GivenUsage): JsonObject {
  const [input, output] =
    endpoint === '/v1/responses' ? ['input_tokens', 'output_tokens'] : ['prompt_tokens', 'completion_tokens']
  const inputTokens = given.input ?? asNumber(block[input]) ?? 0
  const outputTokens = given.output ?? asNumber(block[output]) ?? 0
  return {
    ...block,
    ...detailsWith(block, `${input}_details`, {
      cached_tokens: given.cachedInput,
      cache_write_tokens: given.cacheWrite,
    }),
    ...detailsWith(block, `${output}_details`, { reasoning_tokens: given.reasoning }),
    [input]: inputTokens,
    ...((output in block || given.output !== undefined) && { [output]: outputTokens }),
    total_tokens: inputTokens + outputTokens,
  }
}

function detailsWith(block: JsonObject, name: string, given: JsonObject): JsonObject {
  const said = Object.entries(given).filter(([, tokens]) => tokens !== undefined)
  return said.length === 0 ? {} : { [name]: { ...asObject(block[name]), ...Object.fromEntries(said) } }
}
