import { amount } from '../util/amount.ts'
import { cutToWidth } from '../util/display-width.ts'
import { formatCount, formatDuration, formatUsd } from '../util/format.ts'
import type { RequestCounts } from './events.ts'
import { counted, LABEL_WIDTH, labelled, type Room, shortCount } from './live-room.ts'
import { bar, continued, listed, type Piece, type Row } from './live-row.ts'
import type { LiveView } from './live-view.ts'
import { aboutText } from './time-left.ts'

const SHORTEST_NAME = 10
const NANO = 1e9

export function titleRow({ task, elapsedMs, state, stateDetail, warnings }: LiveView, { width }: Room): Row {
  const name = cutToWidth(task, Math.max(SHORTEST_NAME, Math.floor(width / 2)))
  return [
    { text: name === '' ? '' : `${name}  `, style: 'bold' },
    { text: formatDuration(elapsedMs) },
    // What a run does when nothing is said of it need not be said.
    { text: `  ${state}`, style: 'busy', spare: state === 'running' ? 1 : undefined },
    { text: stateDetail, style: 'busy', spare: 2 },
    { text: warnings > 0 ? `  ${amount(warnings, 'warning')}` : '', style: 'warning', spare: 3 },
  ]
}

export function generationRow({ added, isProducing, metrics }: LiveView, room: Room): Row {
  if (added === 0 && !isProducing) return []
  const passes = Number(metrics['Generation/passes'] ?? 0)
  const state = isProducing === undefined ? '' : isProducing ? 'still producing' : 'done'
  const row = listed([
    { text: `${counted(added, 'added', room)}` },
    { text: state, style: isProducing ? 'busy' : undefined },
    { text: passes > 1 ? `pass ${formatCount(passes)}` : '', spare: 1 },
  ])
  return labelled('generation', row, room)
}

/** Cells with their own form each, so that they can be told apart without colours. */
const shares = ({ succeeded, failed, pending, inFlight }: RequestCounts) =>
  [
    { amount: succeeded, glyph: '█', style: 'good' },
    { amount: failed, glyph: '▓', style: 'error', isNotable: true },
    { amount: inFlight, glyph: '▒', style: 'busy' },
    { amount: pending - inFlight, glyph: '░', style: 'dim' },
  ] as const

/** Never 100 before the end, whatever the numbers. */
const percent = (done: number, total: number): string =>
  total > 0 ? `${Math.min(100, Math.floor((done / total) * 100))}%` : ''

export function progressRow({ counts, perMinute = 0 }: LiveView, room: Room): Row {
  if (!counts || counts.requests === 0) return []
  const { requests, succeeded, failed } = counts
  const done = succeeded + failed
  const cells = room.isWide ? (room.width - LABEL_WIDTH - 32) / 1.2 : room.width - 20
  const row: Row = [
    ...bar(shares(counts), requests, Math.max(4, Math.min(50, Math.floor(cells)))).map(spared),
    { text: ' ', spare: 1 },
    { text: percent(done, requests).padStart(4) },
    { text: `  ${shortCount(done)}/${shortCount(requests)}` },
    { text: perMinute >= 1 ? `  ${shortCount(perMinute)}/min` : '', style: 'dim', spare: 2 },
  ]
  return labelled('requests', row, room)
}

/** A number that is cut would be a wrong one: where both have no room, the bar goes. */
const spared = (piece: Piece): Piece => ({ ...piece, spare: 1 })

export function countsRow({ counts }: LiveView, room: Room): Row {
  if (!counts || counts.requests === 0) return []
  const { succeeded, failed, pending } = counts
  const row = listed([
    { text: counted(succeeded, room.isWide ? 'succeeded' : 'ok', room), style: 'good' },
    { text: failed > 0 ? counted(failed, 'failed', room) : '', style: 'error' },
    { text: pending > 0 ? counted(pending, 'pending', room) : '', spare: 1 },
  ])
  return labelled('', [...row, ...placesOf(counts, room)], room)
}

/** Where the pending requests are, in brackets. */
function placesOf({ pending, queued, inFlight }: RequestCounts, room: Room): Row {
  const places = [
    { count: inFlight, word: 'in flight', style: 'busy' },
    { count: queued, word: 'queued' },
    { count: pending - queued - inFlight, word: 'answered' },
  ] as const
  const known = places.filter(({ count }) => count > 0)
  if (known.length === 0) return []
  const pieces = known.map((place, at) => ({
    ...place,
    text: counted(place.count, place.word, room),
    spare: 2 + at,
  }))
  return [{ text: ' (', spare: 2 }, ...listed(pieces), { text: ')', spare: 2 }]
}

export function directRow({ direct, batches, counts }: LiveView, room: Room): Row {
  if (!direct) return []
  // Beside batches it is not told which of the requests in flight are whose.
  const onWire = batches.length === 0 ? (counts?.inFlight ?? 0) : 0
  const { sets, requests, ms } = direct
  const row = listed([
    { text: counted(requests, `${room.isWide ? '' : 'direct '}${requests === 1 ? 'call' : 'calls'}`, room) },
    { text: sets > 1 ? `in ${formatCount(sets)} sets` : '', spare: 2 },
    { text: onWire > 0 ? counted(onWire, 'on the wire', room) : '', style: 'busy' },
    { text: `for ${formatDuration(ms)}`, spare: 1 },
  ])
  return labelled('direct', row, room)
}

export function tokensRow({ metrics }: LiveView, room: Room): Row {
  const tokens = (name: string): number => Number(metrics[`Usage/${name}`] ?? 0) * 1000
  const [prompt, cached] = [tokens('prompt_ktok'), tokens('prompt_ktok_cached')]
  const [completion, reasoning] = [tokens('completion_ktok'), tokens('completion_ktok_reasoning')]
  if (prompt === 0 && completion === 0) return []
  const row: Row = [
    { text: `${shortCount(prompt)} ${room.isWide ? 'prompt' : 'tokens in'}` },
    { text: cached > 0 ? ` (${shortCount(cached)} cached)` : '', spare: 2 },
    { text: `, ${shortCount(completion)} ${room.isWide ? 'completion' : 'out'}` },
    { text: reasoning > 0 ? ` (${shortCount(reasoning)} reasoning)` : '', spare: 3 },
  ]
  return labelled('tokens', row, room)
}

/** From here on the cap is near. */
const NEAR = 0.9

export function costRow({ counts, metrics }: LiveView, room: Room): Row {
  if (!counts) return []
  const usd = (name: string): number => Number(metrics[`Cost/${name}_usd`] ?? 0) * NANO
  const { costNanoUsd } = counts
  const [cap, reserved, expected, saved] = [usd('cap'), usd('reserved'), usd('expected'), usd('saved')]
  const isNear = cap > 0 && (costNanoUsd ?? 0) + reserved >= NEAR * cap
  const style = isNear ? 'warning' : undefined
  const row: Row = [
    { text: spentText(costNanoUsd), style },
    { text: cap > 0 ? ` of ${formatUsd(cap)}` : '', style, spare: 1 },
    { text: room.isWide ? '' : ' spent', style, spare: 2 },
    ...continued([
      { text: expected > 0 ? `where ${formatUsd(expected)} was estimated` : '', spare: 5 },
      { text: reserved > 0 ? `${formatUsd(reserved)} set aside` : '', spare: 3 },
      { text: saved > 0 ? `${formatUsd(saved)} saved` : '', style: 'good', spare: 4 },
    ]),
  ]
  return labelled('cost', row, room)
}

const spentText = (nanoUsd: number | undefined): string =>
  nanoUsd === undefined ? 'an unknown amount (no price)' : formatUsd(nanoUsd)

export function leftRow({ left }: LiveView, room: Room): Row {
  if (!left) return []
  const row: Row = [
    { text: room.isWide ? aboutText(left.ms) : `${aboutText(left.ms)} left` },
    { text: `, ${left.basis}`, style: 'dim', spare: 1 },
  ]
  return labelled('time left', row, room)
}

/** Everything in one row, for a screen that has no room for more. */
export function onlyRow({ task, elapsedMs, counts }: LiveView): Row {
  const done = counts ? counts.succeeded + counts.failed : 0
  return [
    { text: counts ? `${percent(done, counts.requests)} ` : '' },
    { text: counts ? `${shortCount(done)}/${shortCount(counts.requests)} ` : '', spare: 1 },
    {
      text: counts && counts.failed > 0 ? `${shortCount(counts.failed)} failed ` : '',
      style: 'error',
      spare: 2,
    },
    { text: formatDuration(elapsedMs) },
    { text: ` ${task}`, style: 'dim', spare: 3 },
  ]
}
