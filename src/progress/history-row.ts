import { z } from 'zod'
import { parsedJson } from '../util/parsed-json.ts'
import type { Metrics } from './events.ts'

/**
 * One line of `<name>_progress.jsonl`, and of the history at W&B: flat, and sparse. It has what changed since the line
 * before; the first line of each run (`Event/kind` is `run-started`) has everything.
 */
export const historyRowSchema = z
  .object({
    /** Index of the line in the file, from 0. */
    _step: z.int().nonnegative(),
    /** Seconds since 1970. */
    _timestamp: z.number(),
    /** Seconds of work, summed over all runs: the time between two of them does not count. */
    _runtime: z.number().nonnegative(),
  })
  .catchall(z.union([z.number(), z.string()]))

export type HistoryRow = z.infer<typeof historyRowSchema>

/** Reads one line, without its line break. Undefined for a line that is no row, such as one that was torn off. */
export function readRow(line: string): HistoryRow | undefined {
  const parsed = historyRowSchema.safeParse(parsedJson(line))
  return parsed.success ? parsed.data : undefined
}

/** A row, and all figures as they were then. */
export interface FoldedRow {
  readonly row: HistoryRow
  /** Without `_step`, `_timestamp`, `_runtime`, and what belongs to single rows: `Event/...` and `Result/...`. */
  readonly metrics: Metrics
}

/** Adds to each row what it does not repeat. Rows must come in the order of the file. */
export function* foldRows(rows: Iterable<HistoryRow>): Generator<FoldedRow> {
  let metrics: Metrics = {}
  for (const row of rows) {
    metrics = foldRow(metrics, row)
    yield { row, metrics }
  }
}

/** One step of `foldRows`: all figures after a row, given those before it. */
export function foldRow(before: Metrics, row: HistoryRow): Metrics {
  const changed = Object.entries(row).filter(([name]) => isFigure(name))
  const known = row[EVENT_KIND] === 'run-started' ? {} : before
  return changed.length === 0 && known === before ? before : { ...known, ...Object.fromEntries(changed) }
}

export const EVENT_KIND = 'Event/kind'

const isFigure = (name: string): boolean =>
  !name.startsWith('_') && !name.startsWith('Event/') && !name.startsWith('Result/')
