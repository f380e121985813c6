import { openaiErrorText } from '../../body/openai-error.ts'
import type { Outcome, Route, StoredRequest } from '../../domain/request.ts'
import type { Tier } from './call-knowledge.ts'
import { chooseRung, type LadderFacts } from './ladder.ts'

export interface BeforeFacts {
  /** By the store's clock, in milliseconds since 1970. */
  readonly nowMs: number
  readonly maxAttempts: number
  readonly ladder: LadderFacts
  /** Milliseconds for which flex is not to be tried. */
  readonly flexPauseMs: number
  readonly fits: (route: Route) => boolean
}

export type BeforeCall =
  | { readonly kind: 'call'; readonly tier: Tier }
  /** It is not called now: nothing of it went out. */
  | { readonly kind: 'settle'; readonly outcome: Outcome }

/**
 * What to do with a request that was taken to be called. Time may have passed since its route was chosen, an earlier
 * try may have used up what it may cost, and whoever sent it this way may not have known all that is known here.
 */
export function beforeCall(request: StoredRequest, facts: BeforeFacts): BeforeCall {
  if (request.attempts >= facts.maxAttempts) return settle(interrupted(request))
  if (!facts.fits(request.route))
    return settle(facts.fits('batch') ? goes(request, 'batch', facts.nowMs) : tooDear(request))
  const route = wayOf(request, facts)
  if (route === 'batch') return settle(goes(request, 'batch', facts.nowMs))
  if (route === 'direct') return { kind: 'call', tier: 'direct' }
  return facts.flexPauseMs > 0
    ? settle(goes(request, 'flex', facts.nowMs + facts.flexPauseMs))
    : { kind: 'call', tier: 'flex' }
}

/**
 * Where flex does not work it was the wrong way to send it: it goes back to the queue while there is time for a batch.
 * Without a deadline there always is.
 */
export function wayOf(request: StoredRequest, { ladder, fits }: Pick<BeforeFacts, 'ladder' | 'fits'>): Route {
  const { route } = request
  const from = route === 'flex' && !ladder.flexWorks ? 'batch' : route
  return chooseRung({ ...request, route: from }, ladder, fits).route
}

const settle = (outcome: Outcome): BeforeCall => ({ kind: 'settle', outcome })

/** It goes another way, or later. */
export const goes = ({ id }: StoredRequest, route: Route, readyAt: number): Outcome => ({
  kind: 'again',
  id,
  uses: 'nothing',
  readyAt,
  route,
})

const failed = (
  { id, route }: StoredRequest,
  { status, code, message }: { readonly status: number; readonly code: string; readonly message: string },
): Outcome => ({
  kind: 'ended',
  id,
  ending: 'failed',
  status,
  body: openaiErrorText({ status, code, message }),
  costNanoUsd: 0,
  route,
})

const interrupted = (request: StoredRequest): Outcome =>
  failed(request, {
    status: 502,
    code: 'outcome_unknown',
    message: `The request was called ${request.attempts} times, and no answer was received: the gateway was interrupted, or lost its connection, while it was on the wire. Whether it was carried out is unknown.`,
  })

const tooDear = (request: StoredRequest): Outcome =>
  failed(request, {
    status: 429,
    code: 'max_cost_reached',
    message: `The request was tried, which may have been charged ${(request.costNanoUsd ?? 0) / 1e9} USD. Another try could pass the ${(request.maxNanoUsd ?? 0) / 1e9} USD that X-Nightshift-Max-Cost allows.`,
  })
