import { applyStep, ImpossibleStep } from '../batch/apply-step.ts'
import type { RequestTable } from '../batch/request-table.ts'
import type { TaskState } from '../batch/task-state.ts'
import { NightshiftError } from '../errors.ts'
import type { LedgerLine } from '../state/ledger.ts'
import { invalidLine, placeOf, stepsIn } from './ledger-steps.ts'

/**
 * The state after one more ledger line. Throws StateError `newer_version` for a line of a newer format, or with a kind
 * of step that this version does not know, and `ledger_invalid` for a line that cannot be.
 */
export function replay(state: TaskState, table: RequestTable, line: LedgerLine, ledger: string): TaskState {
  const steps = stepsIn(line, ledger)
  try {
    let next = state
    for (const step of steps) next = applyStep(next, table, step, line.offset)
    return next
  } catch (error) {
    if (NightshiftError.is(error)) throw error
    const why = error instanceof ImpossibleStep ? error.message : 'it does not have the expected form'
    throw invalidLine(placeOf(line, ledger), why, error)
  }
}
