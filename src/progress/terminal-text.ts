import { inspect } from 'node:util'
import { amount } from '../util/amount.ts'
import { formatCount, formatDuration, formatUsd } from '../util/format.ts'
import { oneLine } from '../util/text.ts'
import type { ProgressEvent, RequestCounts } from './events.ts'

/** An event of one kind. */
export type EventOf<Kind extends ProgressEvent['kind']> = Extract<ProgressEvent, { readonly kind: Kind }>

/** The time of day where the program runs, as `HH:MM:SS`. */
export function timeOfDay(ms: number): string {
  const date = new Date(ms)
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':')
}

/** `1,200 requests: 1,000 succeeded, 3 failed, 197 pending, 150 in flight, $0.0123`; `no requests` without any. */
export function countsText(counts: RequestCounts): string {
  if (counts.requests === 0 && !counts.costNanoUsd) return 'no requests'
  const parts = [
    `${formatCount(counts.succeeded)} succeeded`,
    `${formatCount(counts.failed)} failed`,
    `${formatCount(counts.pending)} pending`,
    ...(counts.inFlight > 0 ? [`${formatCount(counts.inFlight)} in flight`] : []),
    ...(counts.costNanoUsd === undefined ? [] : [formatUsd(counts.costNanoUsd)]),
  ]
  return `${requestsText(counts.requests)}: ${parts.join(', ')}`
}

export const requestsText = (count: number): string => amount(count, 'request')

/** One line for a batch whose state changed; its long id only where that is new. */
export function batchText(event: EventOf<'batch-changed'>, before?: EventOf<'batch-changed'>): string {
  const { completed = 0, failed = 0 } = event
  const parts = [
    requestsText(event.requests),
    ...(completed > 0 ? [`${formatCount(completed)} completed`] : []),
    ...(failed > 0 ? [`${formatCount(failed)} failed`] : []),
    ...(event.remoteId === undefined || event.remoteId === before?.remoteId ? [] : [event.remoteId]),
  ]
  return oneLine(`batch ${event.file} is ${event.status}: ${event.model}, ${parts.join(', ')}`)
}

/** `batch 3 is done: 1,000 requests, 998 succeeded, 2 failed, $0.0012, after 2h5m`. */
export function resultText({ file, metrics }: EventOf<'batch-result'>): string {
  const figure = (name: string): number => Number(metrics[`Result/${name}`] ?? 0)
  const [requests, hours] = [figure('num_requests'), figure('duration_hours')]
  const others = [
    { count: figure('num_retry'), word: 'asked again' },
    { count: figure('num_expired'), word: 'expired' },
    { count: figure('num_untried'), word: 'queued again' },
  ]
  const parts = [
    ...(requests > 0 ? [requestsText(requests)] : []),
    `${formatCount(figure('num_succeeded'))} succeeded`,
    `${formatCount(figure('num_failed'))} failed`,
    ...others.flatMap(({ count, word }) => (count > 0 ? [`${formatCount(count)} ${word}`] : [])),
    ...('Result/cost_usd' in metrics ? [formatUsd(figure('cost_usd') * 1e9)] : []),
    ...(hours > 0 ? [`after ${formatDuration(hours * HOUR_MS)}`] : []),
  ]
  return `batch ${file} is done: ${parts.join(', ')}`
}

const HOUR_MS = 3_600_000

export const directText = ({ file, model, requests }: EventOf<'direct-started'>): string =>
  oneLine(`direct calls ${file}: ${model}, ${requestsText(requests)}`)

export function waitingText({ reason, untilMs }: EventOf<'waiting'>, nowMs: number): string {
  const until = untilMs > nowMs ? `, until ${timeOfDay(untilMs)} (${formatDuration(untilMs - nowMs)})` : ''
  return oneLine(`waiting: ${reason}${until}`)
}

/** `wiped the whole task, 1,200 paid answers among it`, `wiped 30 pending and 2 failed requests`. */
export function wipedText({ scope, pending, failed, thrownAway }: EventOf<'wiped'>): string {
  if (scope === 'task') return `wiped the whole task, ${amount(thrownAway, 'paid answer')} among it`
  return `wiped ${formatCount(pending)} pending and ${formatCount(failed)} failed requests`
}

export const failureText = ({ key, reason, final }: EventOf<'request-failed'>): string =>
  oneLine(`request ${key} failed ${final ? 'for good' : 'and is tried again'}: ${reason}`)

/** How far the batches of one state are. */
interface Tally {
  batches: number
  requests: number
  done: number
}

/** `3 in_progress (120/600), 1 sealed`: batches by state, with answered requests where the server tells them. */
export function batchesText(batches: Iterable<EventOf<'batch-changed'>>): string {
  const tallies = new Map<string, Tally>()
  for (const { status, requests, completed = 0, failed = 0 } of batches) {
    const tally = tallies.get(status) ?? { batches: 0, requests: 0, done: 0 }
    tally.batches++
    tally.requests += requests
    tally.done += completed + failed
    tallies.set(status, tally)
  }
  const parts = [...tallies].map(([status, { batches: count, done, requests }]) => {
    const share = done > 0 ? ` (${formatCount(done)}/${formatCount(requests)})` : ''
    return `${formatCount(count)} ${status}${share}`
  })
  return oneLine(parts.join(', '))
}

export type DirectVerbose = 'never' | 'error' | 'warn' | 'always'

/** Whether request and reply of a direct call are shown. */
export function isToldWhole({ ok, warned }: EventOf<'direct-call'>, directVerbose: DirectVerbose): boolean {
  return { never: false, error: !ok, warn: !ok || warned, always: true }[directVerbose]
}

const DATA_URL_SHOWN = 35
const LINES_OF_TEXT = 4

/** A direct call for people: request and reply over several lines, cut where they are long. */
export function directCallText({ key, ok, request, reply }: EventOf<'direct-call'>, columns: number): string {
  return [
    oneLine(`direct call ${key} ${ok ? 'succeeded' : 'failed'}`),
    `request: ${prettyText(request, columns)}`,
    `reply: ${prettyText(reply, columns)}`,
  ].join('\n')
}

/** JSON text spread over lines; anything else as one quoted text. Data URLs and long texts are cut. */
export function prettyText(text: string, columns: number): string {
  return inspect(cutDataUrls(jsonOrText(text)), {
    depth: 8,
    breakLength: columns,
    maxArrayLength: 20,
    maxStringLength: columns * LINES_OF_TEXT,
  })
}

function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Replies of broken servers and proxies are no JSON; they are worth showing all the more.
    return text
  }
}

function cutDataUrls(value: unknown): unknown {
  if (typeof value === 'string') return cutDataUrl(value)
  if (Array.isArray(value)) return value.map(cutDataUrls)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, cutDataUrls(field)]))
}

const cutDataUrl = (text: string): string =>
  text.startsWith('data:') && text.length > DATA_URL_SHOWN ? `${text.slice(0, DATA_URL_SHOWN)}…` : text
