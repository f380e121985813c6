import { applyStep, ImpossibleStep } from '../batch/apply-step.ts'
import type { RequestTable } from '../batch/request-table.ts'
import { stepSchema } from '../batch/steps.ts'
import type { TaskState } from '../batch/task-state.ts'
import { NightshiftError, StateError } from '../errors.ts'
import type { LedgerLine } from '../state/ledger.ts'

/** The state after one more ledger line. Throws StateError `ledger_invalid` for a line that cannot be. */
export function replay(state: TaskState, table: RequestTable, line: LedgerLine, ledger: string): TaskState {
  try {
    let next = state
    for (const raw of line.steps) next = applyStep(next, table, stepSchema.parse(raw), line.offset)
    return next
  } catch (error) {
    if (NightshiftError.is(error)) throw error
    const why = error instanceof ImpossibleStep ? error.message : 'it does not have the expected form'
    throw new StateError(
      'ledger_invalid',
      `${ledger}, line ${line.seq}: ${why}. It was left unchanged; was it written by a newer version, or edited?`,
      { cause: error },
    )
  }
}
