import { APIConnectionError, APIError, APIUserAbortError } from 'openai'
import { NightshiftError } from '../errors.ts'
import { retryAfterMs } from './ask.ts'

/** What went wrong may pass: the same request, sent again, may find its answer. */
export function mayPass(error: unknown): boolean {
  if (NightshiftError.is(error)) return error.retryable
  if (!(error instanceof APIError) || error instanceof APIUserAbortError) return false
  return error instanceof APIConnectionError || isPassingStatus(error)
}

/** The server's own word comes first: a failure that is given for good has any status. */
function isPassingStatus({ status = 0, headers }: APIError): boolean {
  const word = headers?.get('x-should-retry')
  if (word === 'true' || word === 'false') return word === 'true'
  return status === 408 || status === 409 || status === 429 || status >= 500
}

const MOST_PAUSE_MS = 60_000

/** How long to leave the gateway alone after so many troubles in a row, in milliseconds. */
export function pauseAfter(error: unknown, troubles: number): number {
  if (error instanceof APIError && error.headers?.has('retry-after')) return retryAfterMs(error.headers)
  return Math.min(MOST_PAUSE_MS, 1000 * 2 ** Math.min(troubles - 1, 10))
}
