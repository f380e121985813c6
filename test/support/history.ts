import { expect } from 'vitest'
import { METRICS, type Metrics, taskMetrics } from '../../src/batch/metrics.ts'
import { EVENT_KIND, foldRows, type HistoryRow, readRow } from '../../src/progress/history-row.ts'
import { readTask } from '../../src/requester/read-only-view.ts'
import type { FileSystem } from '../../src/state/file-system.ts'
import { metricFacts } from './metric-facts.ts'
import { NAME } from './task-harness.ts'

/** Figures that only a running process knows, and those that are unknown at times. */
const OF_THE_RUN = /^(Pushed\/session_|Rate\/|Generation\/|Queue\/pool_len|Metrics\/processed_failed)/
const NOT_ALWAYS = /^(Rate\/|Cost\/cap_usd|Queue\/pred_completion_ratio|Batch\/remote_requests_)/

/** The rows of a file, checked to be numbered from 0 without a gap, with a `_runtime` that never falls. */
export function soundNumbers(text: string): readonly HistoryRow[] {
  expect(text === '' || text.endsWith('\n'), 'the last line is whole').toBe(true)
  const rows = text
    .split('\n')
    .slice(0, -1)
    .map((line) => readRow(line) ?? expect.fail(`this is no row: ${line}`))
  expect(rows.map(({ _step }) => _step)).toEqual(rows.map((_, index) => index))
  const runtimes = rows.map(({ _runtime }) => _runtime)
  expect(runtimes).toEqual(runtimes.toSorted((a, b) => a - b))
  return rows
}

/**
 * The rows of a history, checked to be one: whole lines, all of them rows, numbered from 0 without a gap, with a
 * `_runtime` that never falls, and with all figures where a run begins.
 */
export function soundRows(text: string): readonly HistoryRow[] {
  const rows = soundNumbers(text)
  const names = METRICS.map(({ name }) => name).filter((name) => !NOT_ALWAYS.test(name))
  for (const row of rows)
    if (row[EVENT_KIND] === 'run-started') expect(Object.keys(row)).toEqual(expect.arrayContaining(names))
  if (rows.length > 0) expect(rows[0]?.[EVENT_KIND]).toBe('run-started')
  return rows
}

/** All figures after the last row. */
export const lastFigures = (rows: readonly HistoryRow[]): Metrics => [...foldRows(rows)].at(-1)?.metrics ?? {}

export const withoutLive = (metrics: Metrics): Metrics =>
  Object.fromEntries(Object.entries(metrics).filter(([name]) => !OF_THE_RUN.test(name)))

/** The figures of a task as its ledger tells them, but for those that only a run knows. */
export async function figuresOnDisk(fs: FileSystem, dir: string): Promise<Metrics> {
  const { state, requests } = await readTask(fs, dir, NAME)
  const outputBytes = (await fs.size(`${dir}/${NAME}_output.jsonl`)) ?? 0
  const [lastRequest, samples] = [requests.last, requests.sampleTally]
  return withoutLive(taskMetrics(metricFacts({ state, lastRequest, samples, outputBytes })))
}
