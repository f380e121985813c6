import { type NewRequest, type PrepareOptions, prepareRequest } from './prepare.ts'
import type { PreparedRequest } from './queue.ts'
import { twoBodies } from './request-window.ts'

export type AnyRequests = Iterable<NewRequest> | AsyncIterable<NewRequest>

export interface SurveyOptions {
  readonly requests: AnyRequests
  readonly prepare: PrepareOptions
  /** Whether a key need not be looked at. */
  readonly isCommitted: (key: string) => boolean
}

export interface SurveyedRequest {
  /** As it was given, and as it would be queued. */
  readonly request: NewRequest
  readonly prepared: PreparedRequest
}

/**
 * The requests of a pass that are new, each key once, checked and prepared as they are when they are added. Adds none.
 * Throws TaskError as `GPTRequester.add` does.
 */
export async function* newRequests({
  requests,
  prepare,
  isCommitted,
}: SurveyOptions): AsyncGenerator<SurveyedRequest> {
  const hashes = new Map<string, string>()
  for await (const request of requests) {
    const prepared = prepareRequest(request, prepare)
    const { key, hash } = prepared
    if (isCommitted(key)) continue
    const known = hashes.get(key)
    if (known !== undefined && known !== hash) throw twoBodies(key)
    if (known !== undefined) continue
    hashes.set(key, hash)
    yield { request, prepared }
  }
}
