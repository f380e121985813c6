import { planForDeadline } from '../../../batch/deadline.ts'
import {
  type DeadlineFacts,
  neededMs,
  outlookOfWaiting,
  type RunningBatch,
  usualBatchMs,
} from '../../../batch/deadline-outlook.ts'
import { type Priority, ROUTES, type Route } from '../../domain/request.ts'

/** Of a request, what its way depends on. */
export interface Climber {
  readonly priority: Priority
  readonly deadlineAt: number | undefined
  /** Where it is at present. */
  readonly route: Route
}

/** What is known of the ways. Times are in milliseconds. */
export interface LadderFacts {
  /** Since 1970, by the store's clock. */
  readonly nowMs: number
  /** From cut to done, of batches of late that were carried out. */
  readonly batchDurationsMs: readonly number[]
  /** What a direct call, and a flex call, takes of a place on the wire; undefined while nothing is known. */
  readonly callMs: number | undefined
  readonly flexCallMs: number | undefined
  /** Calls at once. */
  readonly concurrency: number
  /** False where flex is known not to work: embeddings, models that do not have it. */
  readonly flexWorks: boolean
  /** Calls on the wire, or that go before this request. */
  readonly ahead: number
}

/** What is thought of a request's way. */
export interface Rung {
  readonly route: Route
  /** It had better go by this way, and cannot pay for it: it stays. Absent: it goes as it should. */
  readonly unaffordable?: Route
  /** Milliseconds until it is to be thought over again, at the latest; infinite when nothing will change by itself. */
  readonly nextLookMs: number
}

/** What a deadline leaves, once calls cannot keep it either: a place on the wire. */
const NEVER_AGAIN = Number.POSITIVE_INFINITY

/**
 * The way that a request goes now: at least cost, and in time if that can be.
 *
 *     high     directly, at once: flex may be slow
 *     normal   by batch; with a deadline by flex as soon as batches will be late, and directly at the last moment
 *     low      by batch, whatever its deadline
 *
 * `fits` says whether the worst case on a route is within its budget: without that it stays where it is. Nothing goes
 * back to a cheaper way, and after its deadline nothing gets dearer.
 */
export function chooseRung(climber: Climber, facts: LadderFacts, fits: (route: Route) => boolean): Rung {
  const { route: wanted, nextLookMs } = wantedRung(climber, facts)
  const steps = ROUTES.slice(ROUTES.indexOf(climber.route) + 1, ROUTES.indexOf(wanted) + 1)
  const next = steps.filter((step) => step !== 'flex' || mayUseFlex(climber, facts)).findLast(fits)
  const route = next ?? (wanted === 'batch' ? 'batch' : climber.route)
  return route === wanted ? { route, nextLookMs } : { route, unaffordable: wanted, nextLookMs }
}

const mayUseFlex = ({ priority }: Climber, { flexWorks }: LadderFacts): boolean =>
  flexWorks && priority !== 'high'

function wantedRung({ priority, deadlineAt, route }: Climber, facts: LadderFacts): Rung {
  if (priority === 'low') return { route: 'batch', nextLookMs: NEVER_AGAIN }
  if (priority === 'high') return { route: 'direct', nextLookMs: NEVER_AGAIN }
  if (deadlineAt === undefined || deadlineAt <= facts.nowMs) return { route, nextLookMs: NEVER_AGAIN }
  const known = { ...deadlineFacts(deadlineAt, facts), waiting: facts.ahead + 1, current: route }
  const { mode, nextLookMs } = planForDeadline(known)
  return { route: mode === 'batch' && isTooLate(known) ? 'direct' : mode, nextLookMs }
}

/**
 * Not even a call can be expected to be in time. A whole task had better stay in its batches then; a single request
 * that has a place on the wire is done soonest by that.
 */
function isTooLate(facts: DeadlineFacts): boolean {
  const { deadlineMs, nowMs, waiting, concurrency } = facts
  const isClose = deadlineMs - nowMs <= neededMs(facts, 'direct', 1)
  return isClose && waiting <= concurrency && outlookOfWaiting(facts, 'batch') !== 'in time'
}

const deadlineFacts = (deadlineMs: number, facts: LadderFacts): DeadlineFacts => ({
  nowMs: facts.nowMs,
  deadlineMs,
  current: 'batch',
  batchDurationsMs: facts.batchDurationsMs,
  running: [],
  waiting: facts.ahead,
  callMs: facts.callMs,
  flexCallMs: facts.flexCallMs,
  concurrency: facts.concurrency,
  flexWorks: facts.flexWorks,
})

/** A batch at the server, or on its way there, that has requests with deadlines. */
export interface PressedBatch extends RunningBatch {
  /** The earliest one. */
  readonly deadlineAt: number
}

export interface BatchRung {
  /** What it has not answered is to be called by itself. */
  readonly isToBeCancelled: boolean
  readonly nextLookMs: number
}

/** Whether a batch is to be called back, so that what it has not answered can still be in time. */
export function batchRung(batch: PressedBatch, facts: LadderFacts): BatchRung {
  if (batch.deadlineAt <= facts.nowMs) return { isToBeCancelled: false, nextLookMs: NEVER_AGAIN }
  const known = { ...deadlineFacts(batch.deadlineAt, facts), running: [batch] }
  const { cancel, nextLookMs } = planForDeadline(known)
  return { isToBeCancelled: cancel.length > 0, nextLookMs }
}

/** A cancelled batch goes on for up to this long (OpenAI's word); a request for a batch may end up in one. */
const CANCEL_MS = 10 * 60_000

/** Requests whose deadlines are farther away than this need not be thought over. `calls`: all that may have to be made. */
export function horizonMs(facts: LadderFacts, calls: number): number {
  const known = deadlineFacts(facts.nowMs, facts)
  const byCalls = (['flex', 'direct'] as const).map((mode) => CANCEL_MS + neededMs(known, mode, calls))
  return Math.max((usualBatchMs(known) ?? 0) + neededMs(known, 'direct', 1), ...byCalls)
}

/** Before anything is known of calls and batches. */
export const UNTRIED: Omit<LadderFacts, 'nowMs'> = {
  batchDurationsMs: [],
  callMs: undefined,
  flexCallMs: undefined,
  concurrency: 1,
  flexWorks: false,
  ahead: 0,
}

/**
 * The way of a request that just came in: what has no time for anything else is called at once. All others are thought
 * over when they are on record.
 */
export function firstRoute(wishes: Omit<Climber, 'route'> & { readonly nowMs: number }): Route {
  const { deadlineAt, nowMs } = wishes
  const facts = { ...UNTRIED, nowMs }
  const isClose = deadlineAt !== undefined && isTooLate({ ...deadlineFacts(deadlineAt, facts), waiting: 1 })
  const mayClimb = wishes.priority === 'high' || isClose
  return mayClimb ? wantedRung({ ...wishes, route: 'batch' }, facts).route : 'batch'
}
