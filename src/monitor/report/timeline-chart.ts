import { amount } from '../../util/amount.ts'
import { formatCount, formatDuration } from '../../util/format.ts'
import { oneLine } from '../../util/text.ts'
import type { BatchRecord } from './batch-log.ts'
import { setsText, stateText, toneOf } from './batch-state.ts'
import type { ColorName, Span, SpanChart, TimeFrame } from './chart.ts'
import { inLanes } from './lanes.ts'
import { MOST_POINTS } from './thinned-rows.ts'

const KINDS = [
  { name: 'batch, completed', color: 'green' },
  { name: 'batch, under way', color: 'blue' },
  { name: 'batch, expired or cancelled', color: 'amber' },
  { name: 'batch, failed', color: 'red' },
  { name: 'batch, wiped', color: 'grey' },
  { name: 'direct calls', color: 'purple' },
] as const satisfies readonly { name: string; color: ColorName }[]

/** A record is of the kind that has its colour. */
const kindOf = (record: BatchRecord): number => KINDS.findIndex(({ color }) => color === toneOf(record))

interface Stretch {
  readonly from: number
  readonly to: number
  readonly record: BatchRecord
}

/** When each batch and each set of direct calls was under way; undefined before any was. */
export function timelineChart(batches: readonly BatchRecord[], frame: TimeFrame): SpanChart | undefined {
  const laned = inLanes(batches.flatMap((record) => stretchOf(record, frame) ?? []))
  if (laned.length === 0) return undefined
  const lanes = laned.reduce((most, { lane }) => Math.max(most, lane + 1), 0)
  const spans = laned.map(({ item, lane }) => spanOf(item, lane))
  const kinds = KINDS.filter((_, kind) => spans.some((span) => span.kind === kind))
  const places = KINDS.map((kind) => kinds.findIndex(({ name }) => name === kind.name))
  return {
    id: 'timeline',
    kind: 'spans',
    title: 'Batches over time',
    about: `${setsText(laned.map(({ item }) => item.record))}, from being sent to the end; at most ${formatCount(lanes)} at one time`,
    lanes,
    kinds,
    spans: merged(spans, MOST_POINTS).map((span) => ({ ...span, kind: places[span.kind] ?? 0 })),
  }
}

function stretchOf(record: BatchRecord, { to: end }: TimeFrame): Stretch | undefined {
  const { as, sentAt, endedAt, phase } = record
  if (sentAt === undefined || (as !== 'batch' && as !== 'direct')) return undefined
  // What a wipe ended without a word of the server is shown as long as it is known to have run.
  const to = endedAt ?? (phase === 'wiped' ? sentAt : end)
  return { from: sentAt, to: Math.max(to, sentAt), record }
}

const spanOf = ({ from, to, record }: Stretch, lane: number): Span => ({
  from,
  to,
  lane,
  kind: kindOf(record),
  label: labelOf(record, to - from),
})

function labelOf(record: BatchRecord, ms: number): string {
  const { as, file, model, requests } = record
  const what = as === 'direct' ? `direct calls ${file}` : `batch ${file}: ${stateText(record)}`
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
