import { inPhase } from './queue-file.ts'
import type { TaskState } from './task-state.ts'

export interface SweepFacts {
  readonly nowMs: number
  readonly graceMs: number
  /** Doubts whose grace this process has waited for, whatever the clock says: tag and moment. */
  readonly waited: ReadonlyMap<string, number>
  /** Tags that are left to the next run. */
  readonly givenUp: ReadonlySet<string>
}

/** What is to be done about uploads that nobody knows. */
export type SweepAction =
  | { readonly do: 'nothing' }
  | { readonly do: 'wait'; readonly untilMs: number; readonly doubts: ReadonlyMap<string, number> }
  | { readonly do: 'search'; readonly doubts: ReadonlyMap<string, number> }

const isIntended = inPhase('intended')

/**
 * Uploads in doubt are searched for once a grace has passed since they were last doubted, so that one that lands late
 * is there by then; not while their file may yet be uploaded again.
 */
export function nextSweep(state: TaskState, { nowMs, graceMs, waited, givenUp }: SweepFacts): SweepAction {
  const uploading = new Set([...state.files.values()].filter(isIntended).map(({ tag }) => tag))
  const owed = [...state.uploadDoubts].filter(([tag]) => !uploading.has(tag) && !givenUp.has(tag))
  if (owed.length === 0) return { do: 'nothing' }
  const isDue = ([tag, at]: readonly [string, number]) => waited.get(tag) === at || at + graceMs <= nowMs
  const due = owed.filter(isDue)
  if (due.length > 0) return { do: 'search', doubts: new Map(due) }
  // With a clock that was set back the grace is waited for once more, in whole, and then believed.
  const first = Math.min(...owed.map(([, at]) => Math.min(at, nowMs)))
  const doubts = new Map(owed.filter(([, at]) => Math.min(at, nowMs) === first))
  return { do: 'wait', untilMs: first + graceMs, doubts }
}
