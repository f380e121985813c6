import { amount } from '../../util/amount.ts'
import { formatCount, formatDuration } from '../../util/format.ts'
import { oneLine } from '../../util/text.ts'
import type { BatchRecord } from './batch-log.ts'
import { binOf, numberBins } from './bins.ts'
import type { BarChart, Chart, ColorName, Span, SpanChart, TimeFrame } from './chart.ts'
import { inLanes } from './lanes.ts'
import type { TaskReport } from './task-report.ts'
import { MOST_POINTS } from './thinned-rows.ts'

export const batchCharts = ({ batches }: TaskReport, frame: TimeFrame): readonly (Chart | undefined)[] => [
  durationsChart(batches),
  timelineChart(batches, frame),
]

/** How long a batch was at the server, in milliseconds; undefined for one that is not over. */
export function durationOf({ as, tookMs, sentAt, endedAt }: BatchRecord): number | undefined {
  if (as !== 'batch' || sentAt === undefined || endedAt === undefined) return undefined
  return tookMs ?? Math.max(0, endedAt - sentAt)
}

/** The value in the middle; undefined without any. */
export function medianOf(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)]
}

const MOST_BARS = 24
const UNITS = [
  { axis: 'hours', ms: 3_600_000 },
  { axis: 'minutes', ms: 60_000 },
  { axis: 'seconds', ms: 1_000 },
] as const

function durationsChart(batches: readonly BatchRecord[]): BarChart | undefined {
  const durations = batches.flatMap((batch) => {
    const ms = durationOf(batch)
    return ms === undefined ? [] : [{ ms, isCompleted: batch.status === 'completed' }]
  })
  const all = durations.map(({ ms }) => ms)
  const median = medianOf(all)
  if (median === undefined) return undefined
  const longest = all.reduce((a, b) => Math.max(a, b), 0)
  const shortest = all.reduce((a, b) => Math.min(a, b), longest)
  const unit = UNITS.find(({ ms }) => longest >= 2 * ms) ?? UNITS[2]
  const bins = numberBins(longest / unit.ms, MOST_BARS)
  const counts = (completed: boolean) => {
    const values = bins.starts.map(() => 0)
    for (const { ms, isCompleted } of durations) {
      const bin = binOf(bins, ms / unit.ms)
      if (isCompleted === completed) values[bin] = (values[bin] ?? 0) + 1
    }
    return values
  }
  const series = [
    { name: 'completed', color: 'green' as const, values: counts(true) },
    { name: 'expired, cancelled or failed', color: 'red' as const, values: counts(false) },
  ].filter(({ values }) => values.some((value) => value > 0))
  return {
    id: 'durations',
    kind: 'bars',
    title: 'How long batches took',
    about: `${amount(all.length, 'batch', 'batches')} ended: half of them within ${formatDuration(median)}, the quickest took ${formatDuration(shortest)}, the slowest ${formatDuration(longest)}`,
    unit: 'count',
    axis: unit.axis,
    width: bins.width,
    starts: bins.starts,
    series,
  }
}

const KINDS = [
  { name: 'batch, completed', color: 'green' },
  { name: 'batch, under way', color: 'blue' },
  { name: 'batch, expired or cancelled', color: 'amber' },
  { name: 'batch, failed', color: 'red' },
  { name: 'direct calls', color: 'purple' },
] as const satisfies readonly { name: string; color: ColorName }[]

function kindOf({ as, status, endedAt }: BatchRecord): number {
  if (as === 'direct') return 4
  if (endedAt === undefined) return 1
  if (status === 'completed') return 0
  return status === 'failed' ? 3 : 2
}

interface Stretch {
  readonly from: number
  readonly to: number
  readonly record: BatchRecord
}

function timelineChart(batches: readonly BatchRecord[], { to: end }: TimeFrame): SpanChart | undefined {
  const stretches = batches.flatMap((record): Stretch[] => {
    const { as, sentAt, endedAt } = record
    if (sentAt === undefined || (as !== 'batch' && as !== 'direct')) return []
    // What a wipe ended without a word of the server is shown as long as it is known to have run.
    const to = endedAt ?? (record.phase === 'wiped' ? sentAt : end)
    return [{ from: sentAt, to: Math.max(to, sentAt), record }]
  })
  if (stretches.length === 0) return undefined
  const laned = inLanes(stretches)
  const lanes = laned.reduce((most, { lane }) => Math.max(most, lane + 1), 0)
  const sent = stretches.filter(({ record }) => record.as === 'batch').length
  const calls = stretches.length - sent
  const spans = laned.map(({ item, lane }) => spanOf(item, lane))
  const kinds = KINDS.filter((_, kind) => spans.some((span) => span.kind === kind))
  const places = KINDS.map((kind) => kinds.findIndex(({ name }) => name === kind.name))
  const what = [
    ...(sent > 0 ? [amount(sent, 'batch', 'batches')] : []),
    ...(calls > 0 ? [amount(calls, 'set of direct calls', 'sets of direct calls')] : []),
  ]
  return {
    id: 'timeline',
    kind: 'spans',
    title: 'Batches over time',
    about: `${what.join(' and ')}, from being sent to the end; at most ${formatCount(lanes)} at one time`,
    lanes,
    kinds,
    spans: merged(spans, MOST_POINTS).map((span) => ({ ...span, kind: places[span.kind] ?? 0 })),
  }
}

const spanOf = ({ from, to, record }: Stretch, lane: number): Span => ({
  from,
  to,
  lane,
  kind: kindOf(record),
  label: labelOf(record, to - from),
})

function labelOf({ as, file, model, requests, status }: BatchRecord, ms: number): string {
  const what = as === 'direct' ? `direct calls ${file}` : `batch ${file}: ${status ?? 'created'}`
  return oneLine(`${what}, ${formatDuration(ms)}, ${amount(requests, 'request')}, ${model}`)
}

/** At most `most` spans: in each lane, neighbours of one kind become one where they are too short to tell apart. */
export function merged(spans: readonly Span[], most: number): readonly Span[] {
  const range = Math.max(1, spanOfTime(spans))
  let joined = spans
  for (let gap = range / most; joined.length > most && gap <= 2 * range; gap *= 2)
    joined = joinNear(joined, gap)
  // There are more lanes than can be told apart: a part of them shows what goes on as well.
  const step = Math.ceil(joined.length / most)
  return joined.filter((_, index) => index % step === 0)
}

function spanOfTime(spans: readonly Span[]): number {
  const from = spans.reduce((least, span) => Math.min(least, span.from), Number.POSITIVE_INFINITY)
  return spans.reduce((last, span) => Math.max(last, span.to), from) - from
}

function joinNear(spans: readonly Span[], gap: number): readonly Span[] {
  const last = new Map<string, Span[]>()
  for (const span of spans.toSorted((a, b) => a.from - b.from)) {
    const place = `${span.lane} ${span.kind}`
    const row = last.get(place) ?? []
    last.set(place, row)
    const before = row.at(-1)
    const isNear = before && span.from - before.to <= gap && span.to - before.from <= 4 * gap
    if (isNear) row[row.length - 1] = joinedSpan(before, span)
    else row.push(span)
  }
  return [...last.values()].flat()
}

const SEVERAL = 'several, the first is '

const joinedSpan = (first: Span, second: Span): Span => ({
  ...first,
  to: Math.max(first.to, second.to),
  label: first.label.startsWith(SEVERAL) ? first.label : SEVERAL + first.label,
})
