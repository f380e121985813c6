import { amount } from '../../util/amount.ts'
import { formatCount, formatDuration, formatUsd } from '../../util/format.ts'
import { type Bins, binOf, timeBins } from './bins.ts'
import type { BarChart, Chart, ChartSeries, ColorName, TimeChart, TimeFrame } from './chart.ts'
import { durationsChart } from './durations-chart.ts'
import type { RunHistory } from './run-history.ts'
import type { TaskReport } from './task-report.ts'
import type { Row } from './thinned-rows.ts'
import { timelineChart } from './timeline-chart.ts'

export interface ReportCharts {
  readonly frame: TimeFrame
  readonly charts: readonly Chart[]
}

/** The charts of a report: those that would show nothing are left out. */
export function chartsOf(report: TaskReport): ReportCharts {
  const frame = frameOf(report)
  const charts = [
    requestsChart(report),
    costChart(report),
    tokensChart(report),
    verdictsChart(report, frame),
    durationsChart(report.batches),
    timelineChart(report.batches, frame),
  ]
  return {
    frame,
    charts: charts.filter((chart) => chart !== undefined),
  }
}

/** How things stood at the end is to be seen, too. */
const AFTER_END = 0.015
/** No axis can tell shorter times. */
const LEAST_MS = 1000

function frameOf({ series, history }: TaskReport): TimeFrame {
  const from = series.requests[0]?.at ?? 0
  const end = Math.max(from, series.requests.at(-1)?.at ?? from)
  const to = Math.max(from + LEAST_MS, end + AFTER_END * (end - from))
  return { from, to, idle: idleTimes(history, from) }
}

/** Between two runs nothing was at work. */
function idleTimes({ runs, earlierRuns }: RunHistory, from: number): TimeFrame['idle'] {
  const gaps = runs.map((run, index): readonly [number, number] => [
    runs[index - 1]?.lastAt ?? (earlierRuns > 0 ? run.startedAt : from),
    run.startedAt,
  ])
  return gaps.filter(([start, end]) => end - start > 1000)
}

interface Column {
  readonly name: string
  readonly color: ColorName
  readonly dashed?: true
}

/** Series of the columns that hold anything. */
const seriesOf = (rows: readonly Row[], columns: readonly Column[], scale = 1): readonly ChartSeries[] =>
  columns
    .map((column, at) => ({ ...column, values: rows.map(({ values }) => (values[at] ?? 0) * scale) }))
    .filter(({ values }) => values.some((value) => value !== 0))

const timesOf = (rows: readonly Row[]): readonly number[] => rows.map(({ at }) => at)

function requestsChart({ series, status }: TaskReport): TimeChart | undefined {
  const rows = series.requests
  const shown = seriesOf(rows, [
    { name: 'succeeded', color: 'green' },
    { name: 'failed', color: 'red' },
    { name: 'answered, no verdict yet', color: 'purple' },
    { name: 'in flight', color: 'blue' },
    { name: 'queued', color: 'grey' },
  ])
  if (shown.length === 0) return undefined
  const { total, succeeded, failed, pending } = status.requests
  const parts = [
    `${formatCount(succeeded)} succeeded`,
    `${formatCount(failed)} failed`,
    `${formatCount(pending)} pending`,
  ]
  return {
    id: 'requests',
    kind: 'stacked',
    title: 'Requests over time',
    about: `${amount(total, 'request')}: ${parts.join(', ')}`,
    unit: 'count',
    counts: 'requests',
    at: timesOf(rows),
    series: shown,
  }
}

/** A cap that is so many times higher than all else would press that down to nothing. */
const NEAR_CAP = 4

const capLine = (capUsd: number, rows: readonly Row[]): ChartSeries => ({
  name: 'cap (--max-spend)',
  color: 'red',
  dashed: true,
  values: rows.map(() => capUsd),
})

function costChart({ series, status, history }: TaskReport): TimeChart | undefined {
  const rows = series.cost
  const measured = seriesOf(
    rows,
    [
      { name: 'cost', color: 'blue' },
      { name: 'estimated for the same answers', color: 'amber', dashed: true },
      { name: 'the same by direct calls', color: 'grey', dashed: true },
    ],
    1e-9,
  )
  if (measured.length === 0) return undefined
  const highest = Math.max(...measured.flatMap(({ values }) => values))
  const { capUsd } = history
  const isNear = capUsd !== undefined && capUsd <= NEAR_CAP * highest
  const { cost, direct } = status.receipt.task
  return {
    id: 'cost',
    kind: 'lines',
    title: 'Cost over time',
    about: [
      `${formatUsd(cost.nanoUsd)} by real usage`,
      `the same by direct calls is ${formatUsd(direct.cost.nanoUsd)}`,
      ...(capUsd !== undefined && !isNear ? [`the cap of ${formatUsd(capUsd * 1e9)} is far above`] : []),
    ].join('; '),
    unit: 'usd',
    counts: 'USD',
    at: timesOf(rows),
    series: isNear ? [...measured, capLine(capUsd, rows)] : measured,
  }
}

function tokensChart({ series, status }: TaskReport): TimeChart | undefined {
  const rows = series.tokens
  const shown = seriesOf(rows, [
    { name: 'prompt', color: 'blue' },
    { name: 'prompt, from the cache', color: 'purple' },
    { name: 'output', color: 'green' },
    { name: 'output, reasoning', color: 'amber' },
  ])
  if (shown.length === 0) return undefined
  const { input, output } = status.receipt.task.tokens
  return {
    id: 'tokens',
    kind: 'stacked',
    title: 'Tokens over time',
    about: `${formatCount(input)} prompt tokens and ${formatCount(output)} output tokens in all`,
    unit: 'count',
    counts: 'tokens',
    at: timesOf(rows),
    series: shown,
  }
}

const MOST_BARS = 80

/** Verdicts in steps of time, from sums: what came between two points is taken to have come at the second. */
function verdictsChart({ series }: TaskReport, { from, to }: TimeFrame): BarChart | undefined {
  const bins = timeBins(from, to, MOST_BARS)
  const shown = seriesOf(risesOf(series.verdicts, bins), [
    { name: 'succeeded', color: 'green' },
    { name: 'failed', color: 'red' },
    { name: 'to be tried again', color: 'amber' },
  ])
  if (shown.length === 0) return undefined
  const sums = bins.starts.map((_, bin) => shown.reduce((sum, { values }) => sum + (values[bin] ?? 0), 0))
  return {
    id: 'verdicts',
    kind: 'bars',
    title: 'Verdicts over time',
    about: `Answers judged in steps of ${formatDuration(bins.width)}: at most ${formatCount(Math.max(...sums))} in one`,
    unit: 'count',
    counts: 'verdicts',
    axis: 'time',
    width: bins.width,
    starts: bins.starts,
    series: shown,
  }
}

/** By how much each column rose in each bin. */
function risesOf(rows: readonly Row[], bins: Bins): readonly Row[] {
  const columns = rows[0]?.values.length ?? 0
  const bars = bins.starts.map((at) => ({ at, values: Array<number>(columns).fill(0) }))
  let before: readonly number[] = []
  for (const { at, values } of rows) {
    const bar = bars[binOf(bins, at)]?.values
    for (const [column, value] of values.entries())
      if (bar) bar[column] = (bar[column] ?? 0) + value - (before[column] ?? 0)
    before = values
  }
  return bars
}
