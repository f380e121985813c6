import type { Account, Estimate, Money, Receipt } from '../requester/receipt.ts'
import { amount } from '../util/amount.ts'
import { formatCount, formatUsd } from '../util/format.ts'
import { indented } from './layout.ts'

/** A line of the table; undefined where an account has nothing to say. */
interface Row {
  readonly label: string
  readonly cells: readonly (string | undefined)[]
}

const LABEL_WIDTH = 28
const CELL_WIDTH = 25

/**
 * A receipt for people: a table of what was used, cost and saved, then what there is to know about it. What is zero is
 * left out. No line is longer than `columns` or 80 characters; without room for a table it is a list.
 */
export function receiptLines(receipt: Receipt, columns = 80): string[] {
  const { task, run } = receipt
  const isWhole = run === null || isSame(run, task) || run.requests.sent === 0
  const accounts = isWhole ? [task] : [run, task]
  const rows = rowsOf(accounts, receipt)
  if (rows.length === 0) return []
  const heading = isWhole ? [] : [{ label: '', cells: ['this run', 'whole task'] }]
  const isWide = columns >= 2 + LABEL_WIDTH + accounts.length * CELL_WIDTH
  const table = [...heading, ...rows]
  return [
    ...(isWide ? table.map(line) : table.flatMap((row) => narrowLines(row, columns))),
    ...notesOf(receipt).flatMap((note) => indented(note, Math.min(80, columns), 2)),
  ]
}

const isSame = (a: Account, b: Account): boolean =>
  a.requests.sent === b.requests.sent && a.cost.nanoUsd === b.cost.nanoUsd

const line = ({ label, cells }: Row): string =>
  `  ${label.padEnd(LABEL_WIDTH)}${cells.map((cell) => ` ${(cell ?? '').padStart(CELL_WIDTH - 1)}`).join('')}`.trimEnd()

function narrowLines({ label, cells }: Row, columns: number): string[] {
  const indent = 2 + label.length - label.trimStart().length
  const text = cells.map((cell) => cell ?? '0').join(' / ')
  return indented(label === '' ? text : `${label.trim()}: ${text}`, columns, indent)
}

function rowsOf(accounts: readonly Account[], { awaitingVerdict, task }: Receipt): Row[] {
  const row = (label: string, cell: (account: Account) => string | undefined): Row => ({
    label,
    cells: accounts.map(cell),
  })
  // Release 0.1 did not note what its verdicts were about.
  const restLabel = awaitingVerdict > 0 ? '  of it not judged yet' : '  of it for answers not used'
  const rest = ({ withoutVerdict }: Account) => (task.untoldVerdicts > 0 ? undefined : usd(withoutVerdict))
  const rows = [
    row('requests sent', ({ requests }) => count(requests.sent)),
    row('prompt tokens', ({ tokens }) => count(tokens.input)),
    row('  from the cache', ({ tokens }) => count(tokens.cachedInput)),
    row('  written to the cache', ({ tokens }) => count(tokens.cacheWrite)),
    row('output tokens', ({ tokens }) => count(tokens.output)),
    row('  of them for reasoning', ({ tokens }) => count(tokens.reasoning)),
    row('cost', ({ cost }) => usd(cost)),
    row('  by batch', ({ costBy }) => usd(costBy.batch)),
    row('  by direct calls', ({ costBy }) => usd(costBy.direct)),
    row('  by flex', ({ costBy }) => usd(costBy.flex)),
    row(restLabel, rest),
    row('saved against direct calls', savedText),
    row('saved by answers used again', ({ reused }) => usd(reused.saved)),
    row('estimated: prompt tokens', ({ estimates }) => offText(estimates.input, formatCount)),
    row('  output tokens', ({ estimates }) => offText(estimates.output, formatCount)),
    row('  cost', ({ estimates }) => offText(estimates.cost, formatUsd)),
  ]
  return rows.filter(({ cells }) => cells.some((cell) => cell !== undefined))
}

const count = (number: number): string | undefined => (number === 0 ? undefined : formatCount(number))

/** A run may judge what an earlier one has paid for: that is not for its column. */
const usd = ({ nanoUsd }: Money): string | undefined => (nanoUsd <= 0 ? undefined : formatUsd(nanoUsd))

function savedText({ direct: { saved, percentSaved } }: Account): string | undefined {
  const text = usd(saved)
  return text && `${text} (${(percentSaved ?? 0).toFixed(1)}%)`
}

function offText(
  { expected, reported, percentOff }: Estimate,
  format: (amount: number) => string,
): string | undefined {
  if (percentOff === null || expected === 0) return undefined
  const sign = percentOff >= 0.05 ? '+' : ''
  const off =
    percentOff > 100 ? `${(expected / reported).toFixed(1)} times` : `${sign}${percentOff.toFixed(1)}%`
  return `${format(expected)} (${off})`
}

function notesOf({ task, maxSpend, reserved }: Receipt): string[] {
  const { uncertain, unpricedReplies: unpriced, unmeteredReplies: unmetered } = task
  return [
    ...when(
      uncertain.calls > 0 || uncertain.most.nanoUsd > 0,
      `at most ${formatUsd(uncertain.most.nanoUsd)} more, for ${lostText(uncertain.calls)}`,
    ),
    ...when(
      unpriced > 0,
      `the cost is a lower bound: ${amount(unpriced, 'reply', 'replies')} came from models without a known price`,
    ),
    ...when(
      unmetered > 0,
      `charged the most they can have cost: ${amount(unmetered, 'reply', 'replies')} without a word on tokens`,
    ),
    ...when(
      reserved.nanoUsd > 0 && maxSpend === null,
      `set aside for what is on the way: ${formatUsd(reserved.nanoUsd)}`,
    ),
    ...(maxSpend ? [capText(maxSpend, task, reserved)] : []),
  ]
}

const lostText = (calls: number): string =>
  calls > 0 ? `${amount(calls, 'call')} whose answers were lost` : 'answers that were lost'

const when = (condition: boolean, text: string): string[] => (condition ? [text] : [])

function capText(
  { cap, left }: NonNullable<Receipt['maxSpend']>,
  { cost, uncertain }: Account,
  reserved: Money,
): string {
  const parts = [
    `${formatUsd(cost.nanoUsd)} spent`,
    ...when(uncertain.most.nanoUsd > 0, `${formatUsd(uncertain.most.nanoUsd)} for lost answers`),
    ...when(reserved.nanoUsd > 0, `${formatUsd(reserved.nanoUsd)} set aside`),
    `${formatUsd(left.nanoUsd)} left`,
  ]
  return `of ${formatUsd(cap.nanoUsd)} (--max-spend): ${parts.join(', ')}`
}
