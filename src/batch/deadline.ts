import { assertNever } from '../util/exhaustive.ts'
import { formatCount, formatDuration } from '../util/format.ts'
import {
  type CallMode,
  type DeadlineFacts,
  neededMs,
  outlookOfBatch,
  outlookOfWaiting,
  type RunningBatch,
  type SendMode,
  shortestMs,
  timeLeftMs,
  usualBatchMs,
} from './deadline-outlook.ts'

export type { DeadlineFacts, RunningBatch, SendMode }

export interface DeadlinePlan {
  /** How what waits is sent from now on. */
  readonly mode: SendMode
  /** Ids of running batches to cancel: what they answered is kept, and the rest goes again. Empty while mode is batch. */
  readonly cancel: readonly number[]
  /** What changes and why, for people; empty when nothing does. */
  readonly why: string
  /** Milliseconds until the next look, at the latest. Never 0. */
  readonly nextLookMs: number
}

/** A cancelled batch goes on for up to this long before its answers can be had (OpenAI's word). */
const CANCEL_MS = 10 * 60_000
/** Progress is looked at this often while nothing is due. */
const LOOK_MS = 60_000
const SHORTEST_LOOK_MS = 1_000

/** Requests that calls can still do in time: all that waits, and of the batches that may be late as many as can be. */
interface Rescue {
  readonly batches: readonly RunningBatch[]
  /** With what waits. */
  readonly calls: number
  /** Time to set aside for it, and how much of that is for batches to be cancelled. */
  readonly needMs: number
  readonly cancelMs: number
}

/**
 * How to go on so that all is done by the deadline at the least cost.
 *
 *     batch -> flex      same price: as soon as the history or a batch's pace says that it will be late, and at the
 *                        last moment at which calls can still do what is not known to be done in time
 *     batch -> direct    twice the price, for want of flex: at that last moment only
 *     flex -> direct     at the last moment for direct calls, or when flex does not work
 *
 * What calls cannot do in time any more, or never could, stays in its batches: that is the better hope. Nothing ever
 * goes back. Budgets are not looked at, and after the deadline all stays as it is: stopping is for the caller.
 */
export function planForDeadline(facts: DeadlineFacts): DeadlinePlan {
  if (timeLeftMs(facts) <= 0) return { mode: facts.current, cancel: [], why: '', nextLookMs: LOOK_MS }
  const { mode, why } = climb(facts, facts.current, '')
  const cancel = batchesToCancel(facts, mode)
  return {
    mode,
    cancel: cancel.map(({ id }) => id),
    why: whyText(mode, cancel, why),
    nextLookMs: nextLookMs(facts, mode),
  }
}

interface Climbed {
  readonly mode: SendMode
  /** Why the way before it was left; empty when it was not. */
  readonly why: string
}

function climb(facts: DeadlineFacts, mode: SendMode, why: string): Climbed {
  switch (mode) {
    case 'batch': {
      const next = facts.flexWorks ? 'flex' : 'direct'
      const reason = batchesAreLate(facts, next) ?? batchesAreDue(facts)
      return reason === undefined ? { mode, why } : climb(facts, next, reason)
    }
    case 'flex': {
      const reason = flexIsLate(facts)
      return reason === undefined ? { mode, why } : { mode: 'direct', why: reason }
    }
    case 'direct':
      return { mode, why }
    default:
      return assertNever(mode)
  }
}

/** Ways of calling that are left to a task that is sent in this one, the cheaper first. */
const callsFrom = (mode: SendMode, { flexWorks }: DeadlineFacts): readonly CallMode[] =>
  mode === 'direct' || !flexWorks ? ['direct'] : ['flex', 'direct']

/** Why not to wait for the last moment. */
function batchesAreLate(facts: DeadlineFacts, next: CallMode): string | undefined {
  const left = `${formatDuration(timeLeftMs(facts))} left`
  // Direct calls that can do all of it can do so later; those that cannot lose what they wait.
  const hasToBeNow = next === 'flex' || !isPossible(facts, next, facts.waiting)
  if (hasToBeNow && outlookOfWaiting(facts, 'batch') === 'late')
    return `batches take up to ${formatDuration((usualBatchMs(facts) ?? 0) * (facts.batchRounds ?? 1))}, with ${left}`
  if (next === 'direct') return undefined
  const late = rescueBy(facts, next, 'batch')?.batches.find((batch) => isLate(facts, batch))
  return late && `batch ${late.id} will be late, with ${left}`
}

/** Why not to wait longer for batches. */
function batchesAreDue(facts: DeadlineFacts): string | undefined {
  const isSure = outlookOfWaiting(facts, 'batch') === 'in time'
  for (const mode of callsFrom('batch', facts)) {
    const rescue = rescueBy(facts, mode, 'batch')
    if (rescue && isDue(facts, rescue.needMs) && (!isSure || rescue.batches.length > 0))
      return dueText(facts, mode, rescue)
  }
  return undefined
}

/** Why not to stay with flex. What is in batches is no reason: it is cancelled in time for either way of calling. */
function flexIsLate(facts: DeadlineFacts): string | undefined {
  const { waiting, callMs, flexCallMs, flexWorks } = facts
  if (!flexWorks) return 'flex does not work'
  const outlook = outlookOfWaiting(facts, 'flex')
  const isFaster = callMs === undefined || flexCallMs === undefined || callMs < flexCallMs
  // Nothing is won by calls that cost more and are no faster.
  if (outlook === 'in time' || !isFaster) return undefined
  const needMs = directAfterFlexMs(facts)
  if (isPossible(facts, 'direct', waiting))
    return isDue(facts, needMs)
      ? dueText(facts, 'direct', { calls: waiting, needMs, cancelMs: 0 })
      : undefined
  return outlook === 'late' ? `flex is too slow, with ${formatDuration(timeLeftMs(facts))} left` : undefined
}

/** Time to set aside for direct calls once the flex calls on the wire have made room. */
const directAfterFlexMs = (facts: DeadlineFacts): number =>
  shortestMs(facts, 'flex', 1) + neededMs(facts, 'direct', facts.waiting)

function dueText(facts: DeadlineFacts, mode: CallMode, rescue: Omit<Rescue, 'batches'>): string {
  const { calls, needMs, cancelMs } = rescue
  const left = formatDuration(timeLeftMs(facts))
  const cancelling = cancelMs > 0 ? ` (${formatDuration(cancelMs)} of it to cancel batches)` : ''
  return `${formatCount(calls)} ${mode} calls may take ${formatDuration(needMs)}${cancelling}, with ${left} left`
}

const isDue = (facts: DeadlineFacts, needMs: number): boolean => timeLeftMs(facts) <= needMs

const isLate = (facts: DeadlineFacts, batch: RunningBatch): boolean => outlookOfBatch(facts, batch) === 'late'

const isPossible = (facts: DeadlineFacts, mode: CallMode, calls: number): boolean =>
  shortestMs(facts, mode, calls) <= timeLeftMs(facts)

/**
 * What calls can still do. Undefined when there is nothing to do, or when not even what waits can be done. `from` says
 * how that is sent meanwhile: in batches, it will have to be cancelled too.
 */
function rescueBy(facts: DeadlineFacts, mode: CallMode, from: SendMode): Rescue | undefined {
  if (!isPossible(facts, mode, facts.waiting)) return undefined
  const unsure = facts.running
    .filter((batch) => outlookOfBatch(facts, batch) !== 'in time')
    .toSorted(byHope(facts))
  const possible = unsure.filter((_, at) =>
    isPossible(facts, mode, facts.waiting + openIn(unsure.slice(0, at + 1))),
  )
  // As long as the task depends on some batch anyway, the double price buys little for those that may be in time.
  const isWorth = mode === 'flex' || possible.length === unsure.length
  const batches = isWorth ? possible : possible.filter((batch) => isLate(facts, batch))
  const calls = facts.waiting + openIn(batches)
  if (calls === 0) return undefined
  const cancelMs = from === 'batch' || batches.length > 0 ? CANCEL_MS : 0
  return { batches, calls, needMs: cancelMs + neededMs(facts, mode, calls), cancelMs }
}

/** Those that are known to be late before those that may be, then by what is left to do. */
const byHope =
  (facts: DeadlineFacts) =>
  (a: RunningBatch, b: RunningBatch): number =>
    Number(isLate(facts, b)) - Number(isLate(facts, a)) || openIn([a]) - openIn([b])

/** Requests without an answer. */
const openIn = (batches: readonly RunningBatch[]): number =>
  batches.reduce((sum, { total, completed }) => sum + Math.max(0, total - completed), 0)

/** Batches to take requests back from: those known to be late where that costs nothing, all that can be at the last moment. */
function batchesToCancel(facts: DeadlineFacts, mode: SendMode): readonly RunningBatch[] {
  if (mode === 'batch') return []
  const rescues = callsFrom(mode, facts).map((one) => rescueBy(facts, one, mode))
  const due = rescues.findLast((rescue) => rescue && isDue(facts, rescue.needMs))
  if (due) return due.batches
  if (mode === 'direct') return []
  const [byFlex] = rescues
  const late = byFlex?.batches.filter((batch) => isLate(facts, batch)) ?? []
  // A model may not know flex: then the batches were the cheapest way after all. One call shows it.
  if (facts.flexCallMs === undefined) return facts.waiting > 0 ? [] : late.slice(0, 1)
  return late
}

function whyText(mode: SendMode, cancel: readonly RunningBatch[], why: string): string {
  const ids = cancel.map(({ id }) => id).join(', ')
  const cancels = `${cancel.length === 1 ? 'batch' : 'batches'} ${ids} cancelled for the deadline, answers kept`
  if (why === '') return cancel.length === 0 ? '' : cancels
  const goes = `${why}: what is left goes by ${mode === 'direct' ? 'direct calls' : 'flex'}`
  return cancel.length === 0 ? goes : `${goes}; ${cancels}`
}

/** A moment that may be the last one must not be missed. */
function nextLookMs(facts: DeadlineFacts, mode: SendMode): number {
  const leftMs = timeLeftMs(facts)
  const moments = [
    ...callsFrom(mode, facts).map((one) => rescueBy(facts, one, mode)?.needMs ?? 0),
    directAfterFlexMs(facts),
  ]
  const dueIn = moments.map((needMs) => leftMs - needMs).filter((ms) => ms > 0)
  return Math.max(SHORTEST_LOOK_MS, Math.min(LOOK_MS, leftMs, ...dueIn))
}
