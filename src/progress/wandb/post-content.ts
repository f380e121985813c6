import { type HistoryRow, readRow } from '../history-row.ts'
import type { DeliveryState } from './delivery-state.ts'
import type { HistoryPiece } from './history-file.ts'

/** The rows in lines; what is no row is left out. */
export const rowsOf = ({ lines }: HistoryPiece): HistoryRow[] => lines.flatMap((line) => readRow(line) ?? [])

const STEP = /^\{"_step":(\d+)/

/** The lines as they are, unless the run had others before: then with higher steps. */
export const shifted = (lines: readonly string[], baseStep: number): readonly string[] =>
  baseStep === 0
    ? lines
    : lines.map((line) => line.replace(STEP, (_, step: string) => `{"_step":${Number(step) + baseStep}`))

/** Last values, and what W&B shows as the duration of the run. */
export function summaryOf({ summary, baseStep }: DeliveryState, piece: HistoryPiece): object {
  const last = rowsOf(piece).at(-1)
  if (!last) return summary
  const { _step, _timestamp, _runtime } = last
  const runtime = Math.round(_runtime)
  return { ...summary, _step: _step + baseStep, _timestamp, _runtime, _wandb: { runtime } }
}
