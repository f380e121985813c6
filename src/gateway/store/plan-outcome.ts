import { assertNever } from '../../util/exhaustive.ts'
import type { Ending, Outcome, RequestState, Route, StoredAnswer } from '../domain/request.ts'
import type { Purses } from './purses.ts'
import { type Ceilings, reserveFor } from './reserve.ts'

/** A request whose line or call is out, as it was read under a lock. */
export interface OpenRequest extends Ceilings {
  readonly seq: number
  readonly id: string
  readonly tenant: string
  readonly state: RequestState
  readonly route: Route
  readonly batch: number | undefined
  readonly reservedNanoUsd: number
  readonly attempts: number
  readonly expiries: number
  readonly deadlineAt: number | undefined
  readonly webhook: string | undefined
  readonly ending: Ending | undefined
  readonly finishedAt: number | undefined
  readonly costNanoUsd: number | undefined
}

/** What a request is from then on. */
export interface RequestChange {
  readonly request: OpenRequest
  readonly state: RequestState
  readonly route: Route
  readonly reservedNanoUsd: number
  readonly attempts: number
  readonly expiries: number
  readonly readyAt: number | undefined
  readonly costNanoUsd: number | undefined
  /** Undefined: it does not end now. */
  readonly answer: Pick<StoredAnswer, 'ending' | 'status' | 'body' | 'requestId'> | undefined
  /** Its line or call is still out, and may be charged: what is set aside for it stays. */
  readonly isOut: boolean
}

/**
 * What an outcome makes of a request, and of its tenant's purse. One that its caller has cancelled meanwhile stays as it
 * is, but for what it cost.
 */
export function planOutcome(request: OpenRequest, outcome: Outcome, purses: Purses): RequestChange {
  if (request.state === 'done') return charged(request, outcome, purses)
  switch (outcome.kind) {
    case 'ended':
      return ended(request, outcome, purses)
    case 'again':
      return again(request, outcome, purses)
    default:
      return assertNever(outcome)
  }
}

type EndedOutcome = Extract<Outcome, { kind: 'ended' }>
type AgainOutcome = Extract<Outcome, { kind: 'again' }>

function ended(request: OpenRequest, outcome: EndedOutcome, purses: Purses): RequestChange {
  const spent = chargeOf(request, outcome)
  purses.change(request.tenant, { spent, reserved: -request.reservedNanoUsd, waiting: -1 })
  const { ending, status, body, requestId, route } = outcome
  return {
    ...unchanged(request),
    state: 'done',
    route,
    reservedNanoUsd: 0,
    costNanoUsd: (request.costNanoUsd ?? 0) + spent,
    answer: { ending, status, body, requestId },
    isOut: false,
  }
}

function charged(request: OpenRequest, outcome: Outcome, purses: Purses): RequestChange {
  const spent = chargeOf(request, outcome)
  purses.change(request.tenant, { spent, reserved: -request.reservedNanoUsd })
  const costNanoUsd = (request.costNanoUsd ?? 0) + spent
  return { ...unchanged(request), reservedNanoUsd: 0, costNanoUsd, isOut: false }
}

/**
 * What is sent once more is paid for once more: for a try that was charged, as much has to be set aside anew. A dearer
 * route than its tenant can pay for is not taken; without any that it can pay for the request ends.
 */
function again(request: OpenRequest, outcome: AgainOutcome, purses: Purses): RequestChange {
  const spent = outcome.costNanoUsd ?? 0
  const routes = [outcome.route, request.route]
  const fits = (route: Route) =>
    purses.hasRoom(request.tenant, spent + reserveFor(route, request) - request.reservedNanoUsd)
  const route = routes.find(fits)
  if (route === undefined) return outOfMoney(request, spent, purses)
  const reservedNanoUsd = reserveFor(route, request)
  purses.change(request.tenant, { spent, reserved: reservedNanoUsd - request.reservedNanoUsd })
  return {
    ...unchanged(request),
    state: 'queued',
    route,
    reservedNanoUsd,
    attempts: request.attempts + (outcome.uses === 'attempt' ? 1 : 0),
    expiries: request.expiries + (outcome.uses === 'expiry' ? 1 : 0),
    readyAt: outcome.readyAt,
    costNanoUsd: spentOn(request, spent),
    isOut: false,
  }
}

function outOfMoney(request: OpenRequest, costNanoUsd: number, purses: Purses): RequestChange {
  const limit = purses.of(request.tenant).maxNanoUsd ?? 0
  const message =
    `The request was tried and has to be sent again, but the spend limit of this key's owner, ${limit / 1e9} USD, ` +
    'leaves no room for that.'
  const error = { message, type: 'insufficient_quota', param: null, code: 'spend_limit_reached' }
  const body = JSON.stringify({ error })
  const outcome = {
    kind: 'ended',
    id: request.id,
    ending: 'failed',
    status: 429,
    body,
    costNanoUsd,
    route: request.route,
  } as const
  return ended(request, outcome, purses)
}

const unchanged = (request: OpenRequest): RequestChange => ({
  request,
  state: request.state,
  route: request.route,
  reservedNanoUsd: request.reservedNanoUsd,
  attempts: request.attempts,
  expiries: request.expiries,
  readyAt: undefined,
  costNanoUsd: request.costNanoUsd,
  answer: undefined,
  isOut: true,
})

const spentOn = ({ costNanoUsd }: OpenRequest, spent: number): number | undefined =>
  spent === 0 ? costNanoUsd : (costNanoUsd ?? 0) + spent

/** A good answer whose cost nobody can tell is taken for the dearest it can be, and so is any whose tokens were counted. */
function chargeOf({ reservedNanoUsd }: OpenRequest, outcome: Outcome): number {
  if (outcome.costNanoUsd !== undefined) return outcome.costNanoUsd
  if (outcome.kind === 'again') return 0
  return outcome.ending === 'succeeded' || outcome.usage !== undefined ? reservedNanoUsd : 0
}
