import { amount } from '../../util/amount.ts'
import { formatDuration } from '../../util/format.ts'
import { median } from '../../util/median.ts'
import type { BatchRecord } from './batch-log.ts'
import { durationOf } from './batch-state.ts'
import { type Bins, binOf, numberBins } from './bins.ts'
import type { BarChart, ChartSeries } from './chart.ts'

const MOST_BARS = 24
const UNITS = [
  { axis: 'hours', ms: 3_600_000 },
  { axis: 'minutes', ms: 60_000 },
  { axis: 'seconds', ms: 1_000 },
] as const

interface Ended {
  readonly ms: number
  readonly isCompleted: boolean
}

/** How many batches took how long; undefined before one has ended. */
export function durationsChart(batches: readonly BatchRecord[]): BarChart | undefined {
  const ended = batches.flatMap((batch): Ended[] => {
    const ms = durationOf(batch)
    return ms === undefined ? [] : [{ ms, isCompleted: batch.status === 'completed' }]
  })
  const all = ended.map(({ ms }) => ms)
  const middle = median(all)
  if (middle === undefined) return undefined
  const longest = all.reduce((a, b) => Math.max(a, b))
  const shortest = all.reduce((a, b) => Math.min(a, b))
  const unit = UNITS.find(({ ms }) => longest >= 2 * ms) ?? UNITS[2]
  const bins = numberBins(longest / unit.ms, MOST_BARS)
  const series: readonly ChartSeries[] = [
    { name: 'completed', color: 'green', values: countsOf(ended, true, bins, unit.ms) },
    { name: 'expired, cancelled or failed', color: 'red', values: countsOf(ended, false, bins, unit.ms) },
  ]
  return {
    id: 'durations',
    kind: 'bars',
    title: 'How long batches took',
    about: `${amount(all.length, 'batch', 'batches')} ended: half of them within ${formatDuration(middle)}, the quickest took ${formatDuration(shortest)}, the slowest ${formatDuration(longest)}`,
    unit: 'count',
    counts: 'batches',
    axis: unit.axis,
    width: bins.width,
    starts: bins.starts,
    series: series.filter(({ values }) => values.some((value) => value > 0)),
  }
}

function countsOf(
  ended: readonly Ended[],
  completed: boolean,
  bins: Bins,
  unitMs: number,
): readonly number[] {
  const counts = bins.starts.map(() => 0)
  for (const { ms, isCompleted } of ended) {
    const bin = binOf(bins, ms / unitMs)
    if (isCompleted === completed) counts[bin] = (counts[bin] ?? 0) + 1
  }
  return counts
}
