import { type HistoryRow, readRow } from '../history-row.ts'
import type { DeliveryState } from './delivery-state.ts'

/** The rows in lines; what is no row is left out. */
export const rowsOf = (lines: readonly string[]): HistoryRow[] => lines.flatMap((line) => readRow(line) ?? [])

const STEP = /^\{"_step":(\d+)/

/** The lines as they are, unless the run had others before: then with higher steps. */
export const shifted = (lines: readonly string[], baseStep: number): readonly string[] =>
  baseStep === 0
    ? lines
    : lines.map((line) => line.replace(STEP, (_, step: string) => `{"_step":${Number(step) + baseStep}`))

/** Stands in for a line that the server does not take: places and steps must have no gaps. `index`: of the line. */
export function placeholder(line: string, index: number): string {
  const row = readRow(line)
  if (!row) return JSON.stringify({ _step: index })
  const { _step, _timestamp, _runtime } = row
  return JSON.stringify({ _step, _timestamp, _runtime })
}

/** Last values, and what W&B shows as the duration of the run. `rows`: those that were added last. */
export function summaryOf({ summary, baseStep }: DeliveryState, rows: readonly HistoryRow[]): object {
  const last = rows.at(-1)
  if (!last) return summary
  const { _step, _timestamp, _runtime } = last
  const runtime = Math.round(_runtime)
  return { ...summary, _step: _step + baseStep, _timestamp, _runtime, _wandb: { runtime } }
}
