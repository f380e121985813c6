import type { Endpoint } from '../../openai/wire.ts'

/** Models that the server refused to batch, with its words, by `refusedModelKey`. */
export type RefusedModels = ReadonlyMap<string, string>

export const refusedModelKey = (endpoint: Endpoint, model: string): string => `${endpoint} ${model}`

/**
 * OpenAI's models that no batch of the endpoints served here can have, as of November 2026: each speaks another
 * endpoint only (https://developers.openai.com/api/docs/models says so on its page), but for the search previews, which
 * have no batch price (https://openai.com/api/pricing). Names of other servers' models are not guessed at: those, and
 * what is missing here, the server refuses itself, once.
 */
const ELSEWHERE: readonly (readonly [RegExp, string])[] = [
  [/^gpt-(4o-|4o-mini-)?realtime/, 'it speaks the realtime API only'],
  [/^(whisper-\d|gpt-4o(-mini)?-transcribe)/, 'it transcribes audio, at /v1/audio/transcriptions only'],
  [/^(tts-\d|gpt-4o-mini-tts)/, 'it speaks, at /v1/audio/speech only'],
  [/^(dall-e-\d|gpt-image-\d|chatgpt-image-)/, 'it draws, at /v1/images only'],
  [/^sora-\d/, 'it makes videos, at /v1/videos only'],
  [/^(omni|text)-moderation-/, 'it judges texts, at /v1/moderations only'],
  [/^gpt-4o(-mini)?-search-preview/, 'it searches while it answers, and is not offered by batch'],
]
const EMBEDDING = /^text-embedding-/

/** Why a request with this model cannot be batched, for people; undefined when nothing is known against it. */
export function whyUnbatchable(
  endpoint: Endpoint,
  model: string,
  refused: RefusedModels = new Map(),
): string | undefined {
  const said = refused.get(refusedModelKey(endpoint, model))
  if (said !== undefined) return `the server refused it: ${said}`
  if (EMBEDDING.test(model) && endpoint !== '/v1/embeddings') return 'it embeds, at /v1/embeddings only'
  return ELSEWHERE.find(([names]) => names.test(model))?.[1]
}
