import type { BatchRecord } from './batch-log.ts'
import type { RunRecord, WarningRecord } from './run-history.ts'
import type { FailureCluster, TaskReport } from './task-report.ts'
import { COLUMNS, type SeriesName } from './task-series.ts'
import type { Row } from './thinned-rows.ts'

const iso = (at: number): string => new Date(at).toISOString()

/** A report for programs: times as ISO 8601 in UTC, money in USD. */
export const reportJson = ({
  task,
  madeAt,
  outcome,
  status,
  history,
  series,
  batches,
  failures,
  params,
}: TaskReport) => ({
  task,
  madeAt: iso(madeAt),
  outcome,
  status,
  params: params ?? null,
  runs: history.runs.map(runJson),
  earlierRuns: history.earlierRuns,
  workSeconds: history.workSeconds,
  capUsd: history.capUsd ?? null,
  warnings: history.warnings.map(timedJson<WarningRecord>),
  failures: { clusters: failures.clusters.map(timedJson<FailureCluster>), others: failures.others },
  batches: batches.map(batchJson),
  series: {
    requests: seriesJson('requests', series.requests),
    verdicts: seriesJson('verdicts', series.verdicts),
    costUsd: seriesJson('cost', series.cost, 1e9),
    tokens: seriesJson('tokens', series.tokens),
  },
})

const runJson = ({ startedAt, lastAt, options, end }: RunRecord) => ({
  startedAt: iso(startedAt),
  lastAt: iso(lastAt),
  options: options ?? null,
  end: end ?? null,
})

const timedJson = <Timed extends { readonly firstAt: number; readonly lastAt: number }>({
  firstAt,
  lastAt,
  ...rest
}: Timed) => ({ ...rest, firstAt: iso(firstAt), lastAt: iso(lastAt) })

function batchJson({ sentAt, endedAt, expectedNanoUsd, results, ...batch }: BatchRecord) {
  const { costNanoUsd = 0, ...rest } = results ?? {}
  return {
    ...batch,
    sentAt: sentAt === undefined ? null : iso(sentAt),
    endedAt: endedAt === undefined ? null : iso(endedAt),
    expectedUsd: expectedNanoUsd === undefined ? null : expectedNanoUsd / 1e9,
    results: results ? { ...rest, costUsd: costNanoUsd / 1e9 } : null,
  }
}

/** A list for each column, beside that of the times. `parts`: how many of what is counted make one. */
function seriesJson(name: SeriesName, rows: readonly Row[], parts = 1) {
  const columns = COLUMNS[name].map((column, at) => [
    column,
    rows.map(({ values }) => (values[at] ?? 0) / parts),
  ])
  return { at: rows.map(({ at }) => iso(at)), ...Object.fromEntries(columns) }
}
