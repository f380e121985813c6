import { foldRow, type HistoryRow, readRow } from '../history-row.ts'
import type { ServerRun } from './api.ts'
import type { DeliveryState } from './delivery-state.ts'
import type { HistoryFile } from './history-file.ts'

/** What a history file and a run at the server have in common. */
type Sent = Pick<DeliveryState, 'baseLine' | 'baseStep' | 'ackedLines' | 'ackedBytes' | 'summary'>

/**
 * How much of the file the run has already, told by the run's last line: for a state that was lost. Undefined when that
 * line is surely none of the file, and when it may be one of several. `toBytes`: how much of the file is looked at.
 */
export async function sentBefore(
  history: HistoryFile,
  { lines, lastLine }: Pick<ServerRun, 'lines' | 'lastLine'>,
  toBytes: number,
): Promise<Sent | undefined> {
  const last = lastLine === undefined ? undefined : readRow(lastLine)
  if (!last) return undefined
  let found: Sent | undefined
  let summary: Sent['summary'] = {}
  for await (const { row, index, endBytes } of history.rows(toBytes)) {
    summary = foldRow(summary, row)
    const [baseLine, baseStep] = [lines - index - 1, last._step - row._step]
    if (!fits(baseLine, baseStep) || !isSameRow(row, last)) continue
    if (found) return undefined
    found = { baseLine, baseStep, ackedLines: index + 1, ackedBytes: endBytes, summary }
  }
  return found
}

/** Steps are shifted when, and only when, lines of others come before. */
const fits = (baseLine: number, baseStep: number): boolean =>
  baseLine >= 0 && baseStep >= 0 && baseLine > 0 === baseStep > 0

/** The step may be a shifted one, and a line that was refused is there without its figures. */
const isSameRow = (row: HistoryRow, there: HistoryRow): boolean =>
  row._timestamp === there._timestamp &&
  row._runtime === there._runtime &&
  Object.entries(there).every(([name, value]) => name === '_step' || row[name] === value)
