import { formatCount, formatDuration, formatUsd } from '../../util/format.ts'
import type { BatchRecord } from './batch-log.ts'
import { durationOf, setsText, stateText, toneOf } from './batch-state.ts'
import { type Html, html, type Piece } from './html.ts'
import type { TaskReport } from './task-report.ts'
import { timeText } from './words.ts'

const MOST_ROWS = 200
/** More are folded away. */
const OPEN_ROWS = 15

/** The batches and sets of direct calls, or those of them that say most. */
export function batchSection({ batches }: TaskReport): Html | undefined {
  const sent = batches.filter(({ as }) => as === 'batch' || as === 'direct')
  if (sent.length === 0) return undefined
  const shown = tellingBatches(sent, MOST_ROWS)
  const note =
    shown.length < sent.length
      ? `${formatCount(shown.length)} of ${formatCount(sent.length)}: those with faults or without an end, the slowest, the first and the last.`
      : `All ${formatCount(sent.length)}, in the order they were begun.`
  const table = html`<p class="soft small">${note}</p><div class="scroll" tabindex="0" role="region" aria-label="Batches">${tableOf(shown)}</div>`
  return html`<h2 id="batches">Batches</h2><div class="card">${shown.length <= OPEN_ROWS ? table : html`<details><summary>Show ${setsText(sent)}</summary>${table}</details>`}</div>`
}

/** At most `most` records in their order: unusual ones first, then the slowest, then from both ends. */
export function tellingBatches(records: readonly BatchRecord[], most: number): readonly BatchRecord[] {
  if (records.length <= most) return records
  const chosen = new Set<BatchRecord>()
  const choose = (some: readonly BatchRecord[], count: number) => {
    for (const record of some.slice(0, count)) chosen.add(record)
  }
  const batches = records.filter(({ as }) => as === 'batch')
  choose(batches.filter(isUnusual).toReversed(), Math.floor(most / 2))
  choose(
    batches.toSorted((a, b) => (durationOf(b) ?? 0) - (durationOf(a) ?? 0)),
    Math.floor(most / 10),
  )
  const candidates = batches.length > 0 ? batches : records
  choose(candidates, Math.floor(most / 10))
  for (const record of candidates.toReversed()) if (chosen.size < most) chosen.add(record)
  return records.filter((record) => chosen.has(record))
}

const isUnusual = ({ fault, status, phase, endedAt }: BatchRecord): boolean =>
  fault !== undefined || phase === 'wiped' || (endedAt !== undefined ? status !== 'completed' : true)

/** A heading, and what stands under it. */
interface Column {
  readonly name: string
  readonly isNumber?: true
  readonly cell: (record: BatchRecord) => Piece
}

const COLUMNS: readonly Column[] = [
  { name: 'No.', isNumber: true, cell: ({ file }) => file },
  {
    name: 'State',
    cell: (record) => html`<span class="badge small tone-${toneOf(record)}">${stateText(record)}</span>`,
  },
  { name: 'Requests', isNumber: true, cell: ({ requests }) => formatCount(requests) },
  { name: 'Succeeded', isNumber: true, cell: ({ results }) => countText(results?.succeeded) },
  { name: 'Failed', isNumber: true, cell: ({ results }) => countText(results?.failed) },
  {
    name: 'Again',
    isNumber: true,
    cell: ({ results }) => countText(results && results.retried + results.expired + results.untried),
  },
  { name: 'Sent', cell: ({ sentAt }) => timeText(sentAt) },
  { name: 'Took', isNumber: true, cell: (record) => optional(tookMs(record), formatDuration) },
  { name: 'Cost', isNumber: true, cell: ({ results }) => optional(results?.costNanoUsd, formatUsd) },
  { name: 'Estimated', isNumber: true, cell: ({ expectedNanoUsd }) => optional(expectedNanoUsd, formatUsd) },
  { name: 'Model', cell: ({ model }) => html`<bdi>${model}</bdi>` },
  { name: 'Batch id', cell: ({ batchId }) => html`<bdi class="mono">${batchId ?? '–'}</bdi>` },
]

const optional = (value: number | undefined, format: (value: number) => string): string =>
  value === undefined ? '–' : format(value)

const countText = (count: number | undefined): string => optional(count, formatCount)

const tableOf = (records: readonly BatchRecord[]): Html =>
  html`<table class="wide"><thead><tr>${COLUMNS.map(({ name, isNumber }) => html`<th scope="col" class="${isNumber && 'n'}">${name}</th>`)}</tr></thead><tbody>${records.map(row)}</tbody></table>`

function row(record: BatchRecord): Html {
  const cells = COLUMNS.map(({ isNumber, cell }) => html`<td class="${isNumber && 'n'}">${cell(record)}</td>`)
  const { fault } = record
  const why =
    fault &&
    html`<tr><td></td><td colspan="${COLUMNS.length - 1}" class="text">${fault.code}: <bdi>${fault.message}</bdi></td></tr>`
  return html`<tr>${cells}</tr>${why}`
}

function tookMs(record: BatchRecord): number | undefined {
  const { as, sentAt, endedAt } = record
  if (as !== 'direct') return durationOf(record)
  return sentAt === undefined || endedAt === undefined ? undefined : endedAt - sentAt
}
