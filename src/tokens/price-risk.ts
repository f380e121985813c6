import { type JsonObject, listOf } from './json-value.ts'
import type { Endpoint } from './prompt.ts'

/** Tiers that cost the listed price or less; `auto` is what the project is set to. */
const PLAIN_TIERS: ReadonlySet<unknown> = new Set(['auto', 'default', 'flex'])

/** Models that search or run tools of themselves, or speak, and charge for that beside the tokens of the text. */
const OTHERWISE_PRICED = /-search-|-search$|deep-research|-audio|-realtime/

/**
 * Why a request may cost more than its tokens at the listed prices, in words that name the field; undefined when nothing
 * in the body says so. What the prompt's parts hold (files, tools of the server) is told by the parts.
 */
export function priceRisk(endpoint: Endpoint, body: JsonObject, model: string): string | undefined {
  const tier = body.service_tier
  if (tier !== undefined && tier !== null && !PLAIN_TIERS.has(tier))
    return `service_tier is ${JSON.stringify(tier)}, whose prices are not known`
  if (endpoint === '/v1/chat/completions') {
    if (listOf(body.modalities).includes('audio'))
      return 'modalities asks for audio, which has prices of its own'
    if (body.prediction !== undefined && body.prediction !== null)
      return 'prediction is set, and its rejected tokens are charged beside the maximum of output tokens'
  }
  return OTHERWISE_PRICED.test(model)
    ? `model ${model} also charges for what it does beside reading and writing text`
    : undefined
}
