import { mayHaveActed, planAfterCall } from '../../../batch/direct-answer.ts'
import type { FlexRefusal } from '../../../batch/flex.ts'
import type { Outcome, Route, StoredRequest } from '../../domain/request.ts'
import type { Valuer } from '../money/valuer.ts'
import { type BeforeFacts, goes, wayOf } from './before-call.ts'
import { type CallAnswer, endOf, failureOf, lastWord, retryAfterMsOf } from './call-answer.ts'
import type { Tier } from './call-knowledge.ts'

export interface AfterFacts {
  /** By the store's clock, in milliseconds since 1970. */
  readonly nowMs: number
  /** How it was sent. */
  readonly tier: Tier
  /** When it was sent: its price is that of then. */
  readonly sentAtMs: number
  readonly maxAttempts: number
  /** Different requests in trouble on end, this one included. */
  readonly failing: number
  readonly keyWorks: boolean
  /** Milliseconds for which the server wants nothing to be sent. */
  readonly pauseMs: number
  readonly valuer: Valuer
}

const FIRST_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 60_000

/**
 * What a call comes to for its request.
 *
 *     an answer, or the request's own error      it ends, with the server's status and words
 *     the account, the key or the way            it is sent again when that has passed, and uses up nothing
 *     a failure that may pass                    it is sent again while it has attempts left
 *     no answer, though it may have been done    charged at the most, and sent again while it has attempts left
 */
export function afterCall(request: StoredRequest, answer: CallAnswer, facts: AfterFacts): Outcome {
  const { nowMs, maxAttempts, failing, keyWorks, pauseMs, tier } = facts
  const end = endOf(answer)
  if (end.kind === 'answered' && !end.failure) return ended(request, answer, facts)
  const isUncertain = mayHaveActed(end)
  const plan = planAfterCall(end, { losses: 1, failing, keyWorks })
  const readyAt = nowMs + Math.max(pauseMs, retryAfterMsOf(answer) ?? 0)
  if (plan !== 'record' && !isUncertain) return goes(request, tier, readyAt)
  const mayGoAgain = mayPass(answer) && request.attempts + 1 < maxAttempts
  if (!mayGoAgain || !isPaidFor(request, isUncertain)) return ended(request, answer, facts)
  return {
    kind: 'again',
    id: request.id,
    uses: 'attempt',
    readyAt: Math.max(readyAt, nowMs + backoffMs(request.attempts)),
    route: tier,
    ...(isUncertain && { costNanoUsd: request.reservedNanoUsd }),
  }
}

/** A flex call that was refused for being one: nothing was done, and nothing was charged. */
export function afterFlexRefusal(
  request: StoredRequest,
  refusal: FlexRefusal,
  facts: Pick<BeforeFacts, 'nowMs' | 'ladder' | 'fits' | 'flexPauseMs'>,
): Outcome {
  const { nowMs, flexPauseMs } = facts
  // Who has all the time in the world need not wait for room.
  const route = request.deadlineAt === undefined ? 'batch' : wayOf(request, facts)
  const waits = refusal === 'full' && route === 'flex'
  return goes(request, route, nowMs + (waits ? flexPauseMs : 0))
}

function ended(request: StoredRequest, answer: CallAnswer, { sentAtMs, valuer, tier }: AfterFacts): Outcome {
  const { ending, status, body, requestId } = lastWord(answer)
  const usage = answer.kind === 'answered' ? answer.outcome.usage : undefined
  const base = { kind: 'ended', id: request.id, ending, status, body, requestId, usage, route: tier } as const
  if (usage) {
    const costNanoUsd = valuer.costNanoUsd(request.model, servedTier(answer), usage, sentAtMs)
    return { ...base, costNanoUsd }
  }
  // An answer that does not say what it took is charged at the most, by the store.
  if (ending === 'succeeded') return base
  return { ...base, costNanoUsd: mayHaveActed(endOf(answer)) ? request.reservedNanoUsd : 0 }
}

/** The tier that the server says it answered at; a server that says nothing is taken at its full price. */
export function servedTier(answer: CallAnswer): Route {
  const isFlex =
    answer.kind === 'answered' &&
    answer.outcome.kind === 'reply' &&
    answer.outcome.body.service_tier === 'flex'
  return isFlex ? 'flex' : 'direct'
}

/** A 403 while the key works is about the request. */
function mayPass(answer: CallAnswer): boolean {
  if (answer.kind === 'none') return true
  const { retryable = false, refusal } = failureOf(answer) ?? {}
  return retryable && refusal !== 'key'
}

/** Its caller's limit bears another try. */
function isPaidFor(
  { maxNanoUsd, costNanoUsd = 0, reservedNanoUsd }: StoredRequest,
  isUncertain: boolean,
): boolean {
  if (maxNanoUsd === undefined) return true
  return costNanoUsd + (isUncertain ? 2 : 1) * reservedNanoUsd <= maxNanoUsd
}

const backoffMs = (attempts: number): number => Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempts)
