import type { RunSummary } from '../task/task-types.ts'
import { amount } from '../util/amount.ts'
import { formatCount, formatDuration } from '../util/format.ts'
import { indented } from './layout.ts'
import { quoteText } from './quote-text.ts'
import { receiptLines } from './receipt-text.ts'

const OUTCOMES: Readonly<Record<RunSummary['outcome'], string>> = {
  complete: 'complete',
  limits: 'stopped by a limit; raise it and run again to go on',
  'failed-batches': 'stopped by failed batches; the rest was done',
  'pass-ratio': 'stopped because too many answers were unusable; run again to go on',
  waited: 'stopped after waiting for as long as --max-wait allows; run again to go on',
  deadline: 'stopped at the deadline; what was on the wire was finished',
  'only-process': 'everything that came back was processed; run without --only-process to go on',
  interrupted: 'interrupted; run again to go on',
  'no-run': 'opened and closed without a run',
  'dry-run': 'dry run: nothing was written or sent',
  quote: 'quote; nothing was written or sent',
  pilot: 'the pilot is over; run again with --yes, or without --pilot, to go on with the rest',
}

/** Longer lines are hard to read, on whatever screen. */
const MOST_COLUMNS = 80

/**
 * The end of a run for people: how it stands, its receipt, and where its files are. No line is longer than `columns` or
 * 80 characters but for what is to be copied: paths, and the example of a dry run.
 */
export function summaryText(summary: RunSummary, columns: number): string {
  const width = Math.min(MOST_COLUMNS, columns)
  const { name, outcome, requests, succeeded, failed, pending, added, judged } = summary
  const idle = outcome === 'complete' && added === 0 && judged === 0
  const title = `${name}: ${idle ? 'complete; there was nothing left to do' : OUTCOMES[outcome]}`
  if (summary.quote) return [...hanging(title, width, 0), ...quoteText(summary.quote, width)].join('\n')
  const counts = `requests: ${formatCount(requests)} (${formatCount(succeeded)} succeeded, ${formatCount(failed)} failed, ${formatCount(pending)} pending)`
  const lines = [
    ...hanging(title, width, 0),
    ...summary.details.flatMap((detail) =>
      outcome === 'dry-run' ? [`  ${detail}`] : hanging(detail, width),
    ),
    ...hanging(counts, width),
  ]
  if (outcome !== 'dry-run')
    lines.push(...hanging(effort(summary), width), ...receiptLines(summary.receipt, width))
  if (summary.output.length > 0) lines.push(`  output: ${outputText(summary.output)}`)
  if (summary.failedFile) lines.push(`  failed requests: ${summary.failedFile}`)
  return lines.join('\n')
}

/** A text on lines of which all but the first are indented further. */
const hanging = (text: string, width: number, indent = 2): string[] =>
  indented(text, width, indent + 2).map((line, at) => (at === 0 ? line.slice(2) : line))

function effort({ batches, directSets, retries, elapsedMs }: RunSummary): string {
  const sent = [
    amount(batches, 'batch', 'batches'),
    amount(directSets, 'direct set'),
    amount(retries, 'retry', 'retries'),
  ].join(', ')
  return `${sent}; this run took ${formatDuration(elapsedMs)}`
}

function outputText(files: readonly string[]): string {
  const [first] = files
  return files.length === 1 ? `${first}` : `${first} and ${amount(files.length - 1, 'more part')}`
}
