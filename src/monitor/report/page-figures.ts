import type { Account, Estimate } from '../../requester/receipt.ts'
import type { TaskStatus } from '../../requester/status.ts'
import { amount } from '../../util/amount.ts'
import { formatCount, formatDuration, formatUsd } from '../../util/format.ts'
import { median } from '../../util/median.ts'
import { durationOf } from './batch-state.ts'
import type { ColorName } from './chart.ts'
import { type Html, html, type Piece } from './html.ts'
import type { RunHistory } from './run-history.ts'
import type { TaskReport } from './task-report.ts'
import { shareText, shortCount } from './words.ts'

/** The figures that matter most, large. */
export function tiles(report: TaskReport): Html {
  const { status, batches } = report
  const { requests, tally, receipt } = status
  const { cost, direct, tokens } = receipt.task
  const middle = median(batches.flatMap((batch) => durationOf(batch) ?? []))
  return html`<div class="tiles">${[
    tile('Requests', formatCount(requests.total), outcomeBar(status), requestsText(requests)),
    tile('Cost', formatUsd(cost.nanoUsd), costNote(receipt.task)),
    direct.saved.nanoUsd > 0 &&
      tile(
        'Saved',
        formatUsd(direct.saved.nanoUsd),
        `${(direct.percentSaved ?? 0).toFixed(1)}% of the price of direct calls`,
      ),
    tile(
      'Tokens',
      shortCount(tokens.input + tokens.output),
      `${shortCount(tokens.input)} prompt, ${shortCount(tokens.output)} output`,
    ),
    tile('Batches', formatCount(tally.batches), batchesText(tally.directSets, middle)),
    tile('Time', formatDuration(elapsedMs(report)), timeNote(report)),
  ]}</div>`
}

const tile = (label: string, value: string, ...notes: readonly Piece[]): Html =>
  html`<div class="card tile"><span class="soft small">${label}</span><b>${value}</b><div class="soft small">${notes}</div></div>`

const requestsText = ({ succeeded, failed, pending }: TaskStatus['requests']): string =>
  [
    `${formatCount(succeeded)} succeeded`,
    ...(failed > 0 ? [`${formatCount(failed)} failed`] : []),
    ...(pending > 0 ? [`${formatCount(pending)} pending`] : []),
  ].join(', ')

/** Shares of a bar, as a picture: no style may stand in an attribute. */
function outcomeBar({
  requests: { total, succeeded, failed, received, inFlight },
}: TaskStatus): Html | undefined {
  if (total === 0) return undefined
  const parts: readonly (readonly [number, ColorName])[] = [
    [succeeded, 'green'],
    [failed, 'red'],
    [received, 'purple'],
    [inFlight, 'blue'],
  ]
  let before = 0
  const rects = parts.map(([count, color]) => {
    const x = (100 * before) / total
    before += count
    return html`<rect class="tone-${color}" x="${x}%" width="${(100 * count) / total}%" height="8"/>`
  })
  return html`<svg class="bar" aria-hidden="true">${rects}</svg>`
}

function costNote({ estimates: { cost }, unpricedReplies, requests }: Account): string {
  if (unpricedReplies > 0) return 'a lower bound: some models have no known price'
  if (cost.percentOff === null) return requests.sent > 0 ? 'no answer is paid for yet' : 'nothing was sent'
  return `estimated ${formatUsd(cost.expected)} for the same (${offText(cost)})`
}

/** `-8.9%`, `+12.0%`, `37.6 times`. */
function offText({ expected, reported, percentOff }: Estimate): string {
  if (percentOff === null) return '–'
  if (percentOff > 100) return `${(expected / reported).toFixed(1)} times`
  return `${percentOff >= 0.05 ? '+' : ''}${percentOff.toFixed(1)}%`
}

function batchesText(directSets: number, middle: number | undefined): string {
  const half = middle === undefined ? [] : [`half of them within ${formatDuration(middle)}`]
  const direct = directSets > 0 ? [amount(directSets, 'set of direct calls', 'sets of direct calls')] : []
  return [...half, ...direct].join('; ') || 'none so far'
}

/** From the first run, or the first commit, to the last that is known. */
function elapsedMs({ series, history: { runs, earlierRuns } }: TaskReport): number {
  const committed = series.requests[0]?.at ?? 0
  const from = earlierRuns > 0 ? committed : Math.min(committed, runs[0]?.startedAt ?? committed)
  return Math.max(series.requests.at(-1)?.at ?? 0, runs.at(-1)?.lastAt ?? 0) - from
}

const timeNote = ({ history }: TaskReport): string =>
  history.runs.length === 0
    ? 'from the first commit to the last'
    : `${formatDuration(history.workSeconds * 1000)} of work in ${runsText(history)}`

const runsText = ({ runs, earlierRuns }: RunHistory): string => amount(runs.length + earlierRuns, 'run')

/** The receipt: all figures of the task. */
export function figures({ status, history }: TaskReport): Html {
  const { receipt } = status
  return html`<h2 id="figures">Figures</h2><div class="grid">${[
    requestsTable(status),
    tokensTable(receipt.task),
    costTable(status, history),
    estimatesTable(receipt.task),
  ]}</div>`
}

interface FigureRow {
  readonly label: string
  readonly cells: readonly string[]
  readonly kind?: 'part' | 'sum'
}

const figureTable = (title: string, columns: readonly string[], rows: readonly (FigureRow | false)[]): Html =>
  html`<div class="card"><table><caption>${title}</caption>${columns.length > 0 && html`<thead><tr><td></td>${columns.map((column) => html`<th class="n" scope="col">${column}</th>`)}</tr></thead>`}<tbody>${rows.map((row) => row && figureRow(row))}</tbody></table></div>`

const figureRow = ({ label, cells, kind = 'sum' }: FigureRow): Html =>
  html`<tr class="${kind}"><th scope="row">${label}</th>${cells.map((cell) => html`<td class="n">${cell}</td>`)}</tr>`

const sum = (label: string, ...cells: string[]): FigureRow => ({ label, cells })
const part = (label: string, ...cells: string[]): FigureRow => ({ label, cells, kind: 'part' })

function requestsTable({ requests, receipt, tally }: TaskStatus): Html {
  const { total, succeeded, failed, pending, queued, waiting, inFlight, received } = requests
  const row = (label: string, count: number) => part(label, formatCount(count), shareText(count, total))
  const sent = receipt.task.requests
  const rest = (label: string, count: number) => count > 0 && sum(label, formatCount(count), '')
  return figureTable(
    'Requests by outcome',
    [],
    [
      sum('all', formatCount(total), ''),
      row('succeeded', succeeded),
      row('failed for good', failed),
      row('pending', pending),
      pending > 0 && row('– queued', queued),
      waiting > 0 && row('– waiting for an identical one', waiting),
      pending > 0 && row('– in flight', inFlight),
      pending > 0 && row('– answered, no verdict yet', received),
      sum('sent, repeats included', formatCount(sent.sent), ''),
      rest('tried again', sent.retries),
      rest('came back expired or cancelled', sent.expired),
      rest('given an answer that was there', receipt.task.reused.replies),
      rest('calls whose answer was lost', tally.uncertain),
    ],
  )
}

function tokensTable({ tokens, requests }: Account): Html {
  const { input, cachedInput, cacheWrite, output, reasoning } = tokens
  const answered = requests.succeeded + requests.failed
  const mean = (count: number) => (answered > 0 ? formatCount(Math.round(count / answered)) : '–')
  return figureTable(
    'Tokens',
    ['all', 'a request'],
    [
      sum('prompt', formatCount(input), mean(input)),
      part('from the cache', formatCount(cachedInput), mean(cachedInput)),
      cacheWrite > 0 && part('written to the cache', formatCount(cacheWrite), mean(cacheWrite)),
      sum('output', formatCount(output), mean(output)),
      part('of it reasoning', formatCount(reasoning), mean(reasoning)),
      sum('together', formatCount(input + output), mean(input + output)),
    ],
  )
}

function costTable({ receipt }: TaskStatus, { capUsd }: RunHistory): Html {
  const { task, reserved, awaitingVerdict } = receipt
  const { cost, costBy, withoutVerdict, uncertain, direct, reused } = task
  const row = (label: string, { nanoUsd }: { readonly nanoUsd: number }) =>
    part(label, formatUsd(nanoUsd), shareText(nanoUsd, cost.nanoUsd))
  const rest = (label: string, nanoUsd: number, share = '') =>
    nanoUsd > 0 && sum(label, formatUsd(nanoUsd), share)
  return figureTable(
    'Cost',
    [],
    [
      sum('by real usage', formatUsd(cost.nanoUsd), ''),
      row('by batch', costBy.batch),
      row('by direct calls', costBy.direct),
      costBy.flex.nanoUsd > 0 && row('by flex', costBy.flex),
      task.untoldVerdicts === 0 &&
        withoutVerdict.nanoUsd > 0 &&
        row(awaitingVerdict > 0 ? 'of it not judged yet' : 'of it for answers not used', withoutVerdict),
      rest('lost answers, at most', uncertain.most.nanoUsd),
      rest('set aside for what is on the way', reserved.nanoUsd),
      sum('the same by direct calls', formatUsd(direct.cost.nanoUsd), ''),
      rest('saved', direct.saved.nanoUsd, `${(direct.percentSaved ?? 0).toFixed(1)}%`),
      rest('saved by answers used again', reused.saved.nanoUsd),
      capUsd !== undefined && sum('cap (--max-spend)', formatUsd(capUsd * 1e9), ''),
    ],
  )
}

function estimatesTable({ estimates, unpricedReplies, unmeteredReplies }: Account): Html {
  const row = (label: string, estimate: Estimate, format: (value: number) => string) =>
    sum(label, format(estimate.expected), format(estimate.reported), offText(estimate))
  return figureTable(
    'Estimate against real',
    ['estimated', 'real', 'off by'],
    [
      row('prompt tokens', estimates.input, formatCount),
      row('output tokens', estimates.output, formatCount),
      row('cost', estimates.cost, formatUsd),
      unpricedReplies > 0 && sum('replies without a known price', '', formatCount(unpricedReplies), ''),
      unmeteredReplies > 0 && sum('replies without token counts', '', formatCount(unmeteredReplies), ''),
    ],
  )
}
