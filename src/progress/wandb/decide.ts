import type { ServerRun } from './api.ts'
import type { DeliveryState } from './delivery-state.ts'

/** Times of a sender, in milliseconds. */
export interface SenderTiming {
  /** Between two posts, as long as they are not full. */
  readonly paceMs: number
  /** Without anything to send: W&B takes a run for crashed that it has not heard of for minutes. */
  readonly heartbeatMs: number
  /** For one call. */
  readonly timeoutMs: number
  /** After a first failure; doubled with each further one. */
  readonly backoffMs: number
  readonly maxBackoffMs: number
  /** After an answer that trying again will hardly change, such as a wrong key. */
  readonly refusedMs: number
  /** For what is left when the runner ended without a word. */
  readonly graceMs: number
}

/** The pace and the longest backoff are those of W&B's own client. */
export const DEFAULT_TIMING: SenderTiming = {
  paceMs: 15_000,
  heartbeatMs: 30_000,
  timeoutMs: 60_000,
  backoffMs: 2_000,
  maxBackoffMs: 60_000,
  refusedMs: 10 * 60_000,
  graceMs: 5_000,
}

/** W&B takes 10 MiB at a time. */
export const MAX_POST_LINES = 500
export const MAX_POST_BYTES = 1 << 20
/** Of one line. W&B's own clients leave out what is longer, too. */
export const MAX_LINE_BYTES = (10 << 20) - (100 << 10)

/** How a run is to be ended: with its exit code, or, when nobody knows how it went, without a word. */
export type Ending = { readonly kind: 'exit'; readonly exitCode: number } | { readonly kind: 'silent' }

/** Where a sender stands. */
export interface SenderView {
  readonly nowMs: number
  /** Whether the server's side of the run is known. */
  readonly isAttached: boolean
  readonly ackedLines: number
  readonly ackedBytes: number
  /** How much of the history file may be sent. */
  readonly durableBytes: number
  /** Time of the last call that succeeded. */
  readonly heardMs: number
  /** Nothing is sent before this time. */
  readonly retryAtMs: number
  /** The last call was refused in a way that trying again will hardly change. */
  readonly isRefused: boolean
  /** Calls that failed since one succeeded, and how many are too many once the rest is all there is. */
  readonly failures: number
  readonly maxFailures: number
  /** The last post was full: there is a backlog. */
  readonly isBehind: boolean
  readonly ending: Ending | undefined
  /** What the server was told of the end of the run. */
  readonly ended: DeliveryState['ended']
  /** When to stop, whatever is left. */
  readonly deadlineMs: number
}

export type Step =
  | { readonly do: 'attach' | 'post' | 'heartbeat' }
  | { readonly do: 'complete'; readonly exitCode: number }
  | { readonly do: 'wait'; readonly untilMs: number }
  | { readonly do: 'stop'; readonly why: 'delivered' | 'refused' | 'unreachable' | 'out-of-time' }

/** What a sender does next. Whenever something changes, it is asked anew. */
export function nextStep(view: SenderView, timing: Pick<SenderTiming, 'paceMs' | 'heartbeatMs'>): Step {
  const { nowMs, deadlineMs, ending, isRefused, retryAtMs, isAttached } = view
  if (isDelivered(view)) return { do: 'stop', why: 'delivered' }
  if (nowMs >= deadlineMs) return { do: 'stop', why: 'out-of-time' }
  if (ending && isRefused) return { do: 'stop', why: 'refused' }
  if (ending && view.failures >= view.maxFailures) return { do: 'stop', why: 'unreachable' }
  const wait = (untilMs: number): Step => ({ do: 'wait', untilMs: Math.min(untilMs, deadlineMs) })
  if (nowMs < retryAtMs) return wait(retryAtMs)
  if (!isAttached) return { do: 'attach' }
  const left = view.durableBytes - view.ackedBytes
  if (left > 0) {
    const dueMs = ending || view.isBehind || left >= MAX_POST_BYTES ? nowMs : view.heardMs + timing.paceMs
    return nowMs >= dueMs ? { do: 'post' } : wait(dueMs)
  }
  if (ending?.kind === 'exit') return { do: 'complete', exitCode: ending.exitCode }
  const beatMs = view.heardMs + timing.heartbeatMs
  return nowMs >= beatMs ? { do: 'heartbeat' } : wait(beatMs)
}

function isDelivered({ ending, ended, ackedLines, ackedBytes, durableBytes }: SenderView): boolean {
  if (!ending || ackedBytes < durableBytes) return false
  if (ending.kind === 'silent') return true
  return ended?.lines === ackedLines && ended.exitCode === ending.exitCode
}

/** How long to wait after so many failures in a row (1 or more). `random`: from 0 to below 1. */
export function backoffMs(
  failures: number,
  { backoffMs: first, maxBackoffMs }: Pick<SenderTiming, 'backoffMs' | 'maxBackoffMs'>,
  random: number,
): number {
  const full = Math.min(maxBackoffMs, first * 2 ** Math.min(failures - 1, 30))
  return full * (0.5 + random / 2)
}

/** What of the history file bears on going on with a run. */
export interface FileFacts {
  /** Whole lines. */
  readonly lines: number
  /** It is the file that was sent from: not shorter than what was, and with the same first line. */
  readonly isSame: boolean
}

export type StartPlan =
  /** With the run of the state, from this line of the file on. */
  | {
      readonly do: 'continue'
      readonly fromLine: number
      readonly baseLine: number
      readonly baseStep: number
    }
  /** With a run of another id, from the first line on. */
  | { readonly do: 'renew'; readonly why: string }

/**
 * Where to go on. No line that the server has of somebody else, or that the file does not have any more, is ever
 * replaced; none of ours is left out: after a loss at the server it is sent again, over what is there.
 */
export function planStart(
  state: DeliveryState,
  server: Pick<ServerRun, 'lines' | 'lastStep'> | undefined,
  { lines: fileLines, isSame }: FileFacts,
): StartPlan {
  const { ackedLines, baseLine, baseStep, entity, runId, wantedRunId } = state
  if (!isSame)
    return { do: 'renew', why: 'the history file is another one, or shorter, than what was sent of it' }
  const there = server?.lines ?? 0
  const isOurs = entity !== undefined
  if (there === 0) return { do: 'continue', fromLine: 0, baseLine: 0, baseStep: 0 }
  if (!isOurs && runId !== wantedRunId) return { do: 'renew', why: 'another run has its id' }
  if (!isOurs || there < baseLine)
    return { do: 'continue', fromLine: 0, baseLine: there, baseStep: (server?.lastStep ?? there - 1) + 1 }
  if (there > baseLine + fileLines)
    return { do: 'renew', why: `it has ${there - baseLine} lines where the history file has ${fileLines}` }
  return { do: 'continue', fromLine: Math.min(ackedLines, there - baseLine), baseLine, baseStep }
}
