import type { Endpoint } from '../openai/wire.ts'

/** Most inputs that all requests of one embeddings batch may have together. */
export const MAX_EMBEDDING_INPUTS = 50_000

/** How many inputs an embeddings body holds: each text of a list, each list of tokens; a lone one is one. */
export function inputsOfBody(body: unknown): number {
  const input = typeof body === 'object' && body !== null && 'input' in body ? body.input : undefined
  if (!Array.isArray(input)) return input === undefined || input === null ? 0 : 1
  return typeof input[0] === 'number' ? 1 : input.length
}

/** What a request counts for in the limit of its batch; undefined for endpoints that have no such limit. */
export const inputsOf = (endpoint: Endpoint, bodyText: string): number | undefined =>
  endpoint === '/v1/embeddings' ? inputsOfBody(JSON.parse(bodyText)) : undefined
