import type { WireBatchError } from '../openai/wire.ts'
import { assertNever } from '../util/exhaustive.ts'
import { plannedEnd } from './batch-faults.ts'
import type { Verdict } from './batch-validation.ts'
import type { EmulatorLatency } from './options.ts'
import type { BatchRecord, BatchStatus, Totals } from './records.ts'
import { NO_TOTALS } from './tally.ts'

/** The completion window: all of a batch that is not answered by then is not answered at all. */
export const WINDOW_MS = 24 * 60 * 60 * 1000

export const TERMINAL: ReadonlySet<BatchStatus> = new Set(['failed', 'completed', 'expired', 'cancelled'])

/** What is known about the work on a batch. */
export interface Facts {
  readonly now: number
  /** Absent while the input file is being read. */
  readonly verdict: Verdict | undefined
  /** Lines answered so far. */
  readonly done: number
  /** Nothing is being worked on any more, and nothing will be. */
  readonly stopped: boolean
  /** When the last line was answered, where that took time outside the emulator. */
  readonly finishedMs: number | undefined
  /** Totals of the first `count` answered lines. */
  readonly totalsAt: (count: number) => Totals
  /** Answers came from outside: all are kept, whatever the simulated pace says. */
  readonly outside: boolean
}

export type Ending = 'completed' | 'expired' | 'cancelled' | 'failed'

/** The next thing that happens to a batch, and when. `kept` absent: decided when all work has stopped. */
export type Step =
  | { readonly kind: 'fail'; readonly at: number; readonly errors: readonly WireBatchError[] | null }
  | {
      readonly kind: 'run'
      readonly at: number
      readonly total: number
      readonly model: string
      readonly tokens: number
    }
  | { readonly kind: 'finalize'; readonly at: number; readonly ending: Ending; readonly kept?: Totals }
  | { readonly kind: 'end'; readonly at: number; readonly ending: Ending; readonly kept: Totals }

/**
 * The chart: validating -> failed | in_progress -> finalizing -> completed | expired, and from validating and
 * in_progress -> cancelling -> cancelled on request. A scenario may end it otherwise. `undefined`: nothing happens before something changes.
 */
export function nextStep(
  batch: BatchRecord,
  facts: Facts,
  latency: Required<EmulatorLatency>,
): Step | undefined {
  switch (batch.status) {
    case 'validating':
      return afterValidating(batch, facts, latency)
    case 'in_progress':
      return afterRunning(batch, facts, latency)
    case 'finalizing':
      return end(batch, facts, { after: latency.finalizeMs, ending: batch.ending ?? 'completed' })
    case 'cancelling':
      return end(batch, facts, { after: latency.cancelMs, ending: 'cancelled' })
    case 'failed':
    case 'completed':
    case 'expired':
    case 'cancelled':
      return undefined
    default:
      return assertNever(batch.status)
  }
}

/** How many lines are answered at `now` at the simulated pace, which is even. */
export function dueLines(
  batch: BatchRecord,
  total: number,
  now: number,
  latency: Required<EmulatorLatency>,
): number {
  const start = batch.since.in_progress ?? batch.createdMs + latency.validateMs
  const duration = runningMs(total, latency)
  const share = duration === 0 ? Number(now >= start) : (now - start) / duration
  return Math.floor(total * Math.min(1, Math.max(0, share)))
}

/** How many answered lines a caller is told about. */
export function visibleLines(batch: BatchRecord, facts: Facts, latency: Required<EmulatorLatency>): number {
  return facts.outside
    ? facts.done
    : Math.min(facts.done, dueLines(batch, batch.total ?? 0, facts.now, latency))
}

const runningMs = (total: number, { runMs, perRequestMs }: Required<EmulatorLatency>): number =>
  runMs + perRequestMs * total

function afterValidating(
  batch: BatchRecord,
  facts: Facts,
  latency: Required<EmulatorLatency>,
): Step | undefined {
  const at = batch.createdMs + latency.validateMs
  const { verdict } = facts
  if (facts.now < at || verdict === undefined) return undefined
  const plan = plannedEnd(batch)
  if (plan?.as === 'failed' && plan.answered === 0) return { kind: 'fail', at, errors: plan.errors }
  if (verdict.kind === 'invalid') return { kind: 'fail', at, errors: verdict.errors }
  return { kind: 'run', at, total: verdict.total, model: verdict.model, tokens: verdict.tokens }
}

function afterRunning(
  batch: BatchRecord,
  facts: Facts,
  latency: Required<EmulatorLatency>,
): Step | undefined {
  const { now, done, finishedMs = 0, totalsAt } = facts
  const total = batch.total ?? 0
  const planned = plannedFinish(batch, facts, latency)
  if (planned) return planned.now
  const deadline = batch.createdMs + WINDOW_MS
  const paceEnd = (batch.since.in_progress ?? batch.createdMs) + runningMs(total, latency)
  const at = Math.max(paceEnd, finishedMs)
  if (done >= total && at <= Math.min(now, deadline)) {
    return { kind: 'finalize', at, ending: 'completed', kept: totalsAt(total) }
  }
  if (now < deadline) return undefined
  return {
    kind: 'finalize',
    at: deadline,
    ending: 'expired',
    ...keptAt(batch, { ...facts, now: deadline }, latency),
  }
}

/** The early end that a scenario has in mind for a batch: its step, once it is time for it. */
function plannedFinish(
  batch: BatchRecord,
  { now, done, totalsAt }: Facts,
  latency: Required<EmulatorLatency>,
): { readonly now: Step | undefined } | undefined {
  const plan = plannedEnd(batch)
  if (!plan) return undefined
  const { total = 0, createdMs, since } = batch
  const lines = Math.floor(total * plan.answered)
  const at = (since.in_progress ?? createdMs) + runningMs(total, latency) * plan.answered
  if (now < at || done < lines) return { now: undefined }
  return { now: { kind: 'finalize', at, ending: plan.as, kept: totalsAt(lines) } }
}

/** What is kept of a batch that is stopped at `facts.now`. */
export function keptAt(
  batch: BatchRecord,
  facts: Facts,
  latency: Required<EmulatorLatency>,
): { readonly kept?: Totals } {
  if (batch.status === 'validating') return { kept: NO_TOTALS }
  return facts.outside ? {} : { kept: facts.totalsAt(visibleLines(batch, facts, latency)) }
}

interface Close {
  readonly after: number
  readonly ending: Ending
}

function end(batch: BatchRecord, facts: Facts, { after, ending }: Close): Step | undefined {
  const at = (batch.since[batch.status] ?? facts.now) + after
  if (facts.now < at || !facts.stopped) return undefined
  return { kind: 'end', at, ending, kept: batch.kept ?? facts.totalsAt(facts.done) }
}
