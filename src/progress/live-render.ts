import { batchesRow, batchRows, byInterest } from './live-batch-rows.ts'
import type { Room } from './live-room.ts'
import { type Row, rowText } from './live-row.ts'
import {
  costRow,
  countsRow,
  directRow,
  generationRow,
  leftRow,
  onlyRow,
  progressRow,
  titleRow,
  tokensRow,
} from './live-rows.ts'
import type { LiveView } from './live-view.ts'

export interface ScreenSize {
  readonly columns: number
  readonly rows: number
}

/** Below this width labels are left out and words are shorter. */
const NARROW = 60
/** Below this width one row is all. */
const NARROWEST = 20
/** Rows of the log that stay in sight, where the screen is not very low. */
const LOG_ROWS = 2
const LOW = 6
/** One row in so many may be that of a single batch. */
const ROWS_PER_BATCH = 5
const MOST_BATCHES = 8

/** A row, and how soon it is left out on a low screen: the highest first. */
interface Ranked {
  readonly row: Row
  readonly rank: number
}

/**
 * The rows of the live display, from top to bottom: each narrower than the screen, and at least one fewer than it has.
 * What does not fit is left out, the least important first.
 */
export function renderLive(view: LiveView, { columns, rows }: ScreenSize, color = false): string[] {
  const width = columns - 1
  const most = rows < LOW ? rows - 1 : rows - 1 - LOG_ROWS
  if (most < 1 || width < 1) return []
  const shown = columns < NARROWEST || most === 1 ? [onlyRow(view)] : folded(allRows(view, width, rows), most)
  return shown.map((row) => rowText(row, width, color).trimEnd())
}

function allRows(view: LiveView, width: number, rows: number): readonly Ranked[] {
  const room: Room = { width, isWide: width + 1 >= NARROW }
  const few = Math.min(MOST_BATCHES, Math.max(1, Math.floor(rows / ROWS_PER_BATCH)))
  const batches = view.batches.toSorted(byInterest).slice(0, few)
  return [
    { row: titleRow(view, room), rank: 2 },
    { row: generationRow(view, room), rank: view.isProducing ? 8 : 10 },
    { row: progressRow(view, room), rank: 0 },
    { row: countsRow(view, room), rank: 1 },
    { row: batchesRow(view, room), rank: 5 },
    ...batchRows(batches, room).map((row, at) => ({ row, rank: at === 0 ? 7 : 11 + at })),
    { row: directRow(view, room), rank: 6 },
    { row: tokensRow(view, room), rank: 9 },
    { row: costRow(view, room), rank: 3 },
    { row: leftRow(view, room), rank: 4 },
  ].filter(({ row }) => row.length > 0)
}

/** The most important rows, still in their order. */
function folded(rows: readonly Ranked[], most: number): readonly Row[] {
  const kept = new Set(rows.toSorted((a, b) => a.rank - b.rank).slice(0, most))
  return rows.filter((row) => kept.has(row)).map(({ row }) => row)
}
