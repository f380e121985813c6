import { amount } from '../util/amount.ts'
import { displayWidth } from '../util/display-width.ts'
import { formatCount, formatDuration } from '../util/format.ts'
import { labelled, type Room, shortCount } from './live-room.ts'
import { bar, listed, type Row } from './live-row.ts'
import type { LiveBatch, LiveView } from './live-view.ts'
import type { Style } from './terminal-style.ts'

/** States that ask for a look. */
const TROUBLED: ReadonlySet<string> = new Set(['refused', 'failed', 'expired', 'cancelling', 'cancelled'])

const statusStyle = (status: string): Style =>
  TROUBLED.has(status) ? 'error' : status === 'completed' ? 'good' : 'busy'

/** The states of a batch in their order; others come after these. */
const STATES = ['sealed', 'uploading', 'validating', 'in_progress', 'finalizing', 'completed']

const UNPUSHED: ReadonlySet<string> = new Set(['sealed', 'uploading', 'refused'])

function placeOf(status: string): number {
  const at = STATES.indexOf(status)
  return at < 0 ? STATES.length : at
}

export function batchesRow({ batches, batchesOver, metrics }: LiveView, room: Room): Row {
  const known = batches.filter(({ status }) => UNPUSHED.has(status)).length
  // To the server also those are unknown that are shown as being sent, or held back.
  const unsent = Math.max(0, Number(metrics['Batch/num_unpushed'] ?? 0) - known)
  if (batches.length === 0 && batchesOver === 0 && unsent === 0) return []
  const row = listed([
    { text: room.isWide || batches.length === 0 ? '' : amount(batches.length, 'batch', 'batches') },
    ...statusPieces(batches, room),
    { text: batchesOver > 0 ? `${formatCount(batchesOver)} done` : '' },
    { text: unsent > 0 ? `${formatCount(unsent)} to be sent` : '', spare: 1 },
  ])
  return labelled('batches', row, room)
}

/** How many batches are in which state, those in trouble first; where it is narrow, only these. */
function statusPieces(batches: readonly LiveBatch[], { isWide }: Room): Row {
  const tallies = new Map<string, number>()
  for (const { status } of batches) tallies.set(status, (tallies.get(status) ?? 0) + 1)
  const isTroubled = ([status]: readonly [string, number]): boolean => TROUBLED.has(status)
  const inOrder = [...tallies].toSorted(([one], [other]) => placeOf(one) - placeOf(other))
  const others = isWide ? inOrder.filter((one) => !isTroubled(one)) : []
  return [...inOrder.filter(isTroubled), ...others].map(([status, count]) => ({
    text: `${formatCount(count)} ${status}`,
    style: statusStyle(status),
  }))
}

/** Those in trouble first, then those that are longest in their state. */
export function byInterest(one: LiveBatch, other: LiveBatch): number {
  const troubled = Number(TROUBLED.has(other.status)) - Number(TROUBLED.has(one.status))
  return troubled || other.statusMs - one.statusMs || one.file - other.file
}

const CELLS = 12

/** One row for each batch, with its columns below each other. */
export function batchRows(batches: readonly LiveBatch[], room: Room): readonly Row[] {
  const ids = aligned(batches.map(({ file }) => `#${file}`))
  const statuses = aligned(
    batches.map(({ status }) => status),
    'left',
  )
  const times = aligned(batches.map(({ statusMs }) => formatDuration(statusMs)))
  const amounts = aligned(batches.map(amountText))
  const hasBar = room.isWide && batches.some(({ answered }) => answered !== undefined)
  return batches.map((batch, at) =>
    labelled(
      '',
      [
        { text: `${room.isWide ? '' : ' '}${ids[at]} `, style: 'dim' },
        { text: `${statuses[at]}`, style: statusStyle(batch.status) },
        { text: ` ${times[at]}` },
        ...(hasBar ? answeredBar(batch) : []),
        { text: `  ${amounts[at]}`, spare: 1 },
        { text: `  ${batch.model}`, style: 'dim', spare: 3 },
      ],
      room,
    ),
  )
}

const amountText = ({ answered, requests }: LiveBatch): string =>
  answered === undefined ? shortCount(requests) : `${shortCount(answered)}/${shortCount(requests)}`

function answeredBar({ answered, requests }: LiveBatch): Row {
  const space = { text: '  ', spare: 2 }
  if (answered === undefined) return [space, { text: ' '.repeat(CELLS), spare: 2 }]
  const left = { amount: requests - answered, glyph: '░', style: 'dim' } as const
  const cells = bar([{ amount: answered, glyph: '█', style: 'good' }, left], requests, CELLS)
  return [space, ...cells.map((piece) => ({ ...piece, spare: 2 }))]
}

/** The texts of a column, all as wide as the widest. */
function aligned(texts: readonly string[], side: 'left' | 'right' = 'right'): readonly string[] {
  const width = Math.max(...texts.map(displayWidth))
  return texts.map((text) => {
    const space = ' '.repeat(width - displayWidth(text))
    return side === 'left' ? text + space : space + text
  })
}
