import { inPhase } from './queue-file.ts'
import type { TaskState } from './task-state.ts'

/** Where the money of a task is, in nano-USD (10^-9 USD). */
export interface Budget {
  /** By real usage of every answer received, over all runs. */
  readonly spentNanoUsd: number
  /** The most that calls can have cost whose answers were lost. */
  readonly uncertainNanoUsd: number
  /** The most that what is at the server, or on its way there, can still cost. */
  readonly reservedNanoUsd: number
}

/** Phases in which a queue file may still lead to a charge. */
const mayCharge = inPhase('intended', 'uploaded', 'doubtful', 'fenced', 'remote', 'ended', 'direct')

/**
 * Attempts at large are not among it: they were given up by the rule that lets their lines be sent again, so a batch of
 * one is as little expected as a second payment. One that turns up all the same is counted from then on, and what was
 * set aside for it with it; held until then, one lost answer would keep its money from the task for ever.
 */
export function budgetOf({ spending, files, strays }: TaskState): Budget {
  let reservedNanoUsd = 0
  for (const file of files.values()) if (mayCharge(file)) reservedNanoUsd += file.reserved ?? 0
  for (const stray of strays.values()) {
    if (stray.phase === 'live' || stray.phase === 'ended') reservedNanoUsd += stray.reserved ?? 0
  }
  const { costNanoUsd: spentNanoUsd, uncertainNanoUsd } = spending
  return { spentNanoUsd, uncertainNanoUsd, reservedNanoUsd }
}

/** What may still be set aside without the worst case passing `maxNanoUsd`; infinite without a cap, never below 0. */
export function roomNanoUsd(state: TaskState, maxNanoUsd: number | undefined): number {
  if (maxNanoUsd === undefined) return Number.POSITIVE_INFINITY
  const { spentNanoUsd, uncertainNanoUsd, reservedNanoUsd } = budgetOf(state)
  return Math.max(0, maxNanoUsd - spentNanoUsd - uncertainNanoUsd - reservedNanoUsd)
}
