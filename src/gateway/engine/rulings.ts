import { ruleOnRetry } from '../../batch/retry-rules.ts'
import { failureAnswer, type ResultSlice } from '../answers/result-slice.ts'
import type { Outcome, Route, StoredRequest } from '../domain/request.ts'
import type { GatewaySettings } from '../settings.ts'

/** What is to become of a request that came back without an answer: the one it gets if it is given up, and what it used up. */
export interface Failed {
  readonly status: number
  /** JSON text. */
  readonly body: string
  readonly requestId?: string | undefined
  readonly costNanoUsd?: number | undefined
  /** `nothing`: it may go round for ever, so only what ends by itself may be that. */
  readonly uses: 'attempt' | 'expiry' | 'nothing'
  /** It may go better another time. */
  readonly mayPass: boolean
  /** The account or the key was refused: the next try had better wait. */
  readonly isRefusal?: boolean
}

export interface RulingFacts {
  readonly limits: Pick<GatewaySettings, 'maxAttempts' | 'maxExpiries'>
  readonly nowMs: number
  /** Which way it is to go on, if it does. */
  readonly route: Route
}

const FIRST_PAUSE_MS = 5_000
const LONGEST_PAUSE_MS = 5 * 60_000
/** An account that was found exhausted is left alone for longer. */
const REFUSED_PAUSE_MS = 60_000
const LONGEST_REFUSED_MS = 30 * 60_000

/** Whether a request is sent again or gets its failure, within the bounds of attempts and expiries. */
export function ruleOnFailed(request: StoredRequest, failed: Failed, facts: RulingFacts): Outcome {
  const { id, attempts, expiries } = request
  const { status, body, requestId, costNanoUsd, uses } = failed
  const { limits, nowMs, route } = facts
  const isGivenUp = !failed.mayPass || isExhausted(request, uses, limits)
  if (isGivenUp)
    return { kind: 'ended', id, ending: 'failed', status, body, requestId, costNanoUsd, route: request.route }
  const pause = failed.isRefusal
    ? growing(REFUSED_PAUSE_MS, LONGEST_REFUSED_MS, expiries)
    : growing(FIRST_PAUSE_MS, LONGEST_PAUSE_MS, attempts)
  // What was never tried has waited for long enough.
  const waitMs = uses === 'attempt' || failed.isRefusal ? pause : 0
  return { kind: 'again', id, uses, readyAt: nowMs + waitMs, route, costNanoUsd }
}

function isExhausted(
  { attempts, expiries }: StoredRequest,
  uses: Failed['uses'],
  { maxAttempts, maxExpiries }: RulingFacts['limits'],
): boolean {
  if (uses === 'nothing') return false
  const lapsed = uses === 'expiry'
  const facts = { attempt: attempts, maxRetries: maxAttempts - 1, expiries, maxExpiries, lapsed }
  return ruleOnRetry(facts).kind === 'exhausted'
}

const growing = (firstMs: number, mostMs: number, times: number): number =>
  Math.min(mostMs, firstMs * 2 ** Math.min(times, 20))

/** A line that says that its request failed. `keyWorks`: other lines of the batch were answered. */
export function failedLine(slice: ResultSlice, costNanoUsd: number, keyWorks: boolean): Failed {
  const { status, body, requestId, failure } = slice
  const isOwn = failure?.refusal === 'key' && keyWorks
  const isRefusal = failure?.refusal !== undefined && !isOwn
  const wasTried = isOwn || (failure?.countsAsAttempt ?? true)
  return {
    status,
    body,
    requestId,
    costNanoUsd,
    uses: wasTried ? 'attempt' : 'expiry',
    mayPass: !isOwn && (failure?.retryable ?? true),
    isRefusal,
  }
}

/** A request about which a batch that is over says nothing. `wasTried`: it should have an answer, and may have cost something. */
export function unanswered(status: string, wasTried: boolean): Failed {
  const code = wasTried ? 'missing_line' : status === 'cancelled' ? 'batch_cancelled' : 'batch_expired'
  const message = wasTried
    ? 'the batch ended without a line for this request'
    : `the batch that held this request ended (${status}) before it was tried`
  const answer = failureAnswer({ code, message, retryable: true, countsAsAttempt: wasTried })
  return { ...answer, uses: wasTried ? 'attempt' : 'expiry', mayPass: true, costNanoUsd: 0 }
}
