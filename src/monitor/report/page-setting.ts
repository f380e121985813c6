import { amount } from '../../util/amount.ts'
import { formatBytes, formatCount, formatDuration, formatUsd } from '../../util/format.ts'
import { cutText } from '../../util/text.ts'
import type { ColorName } from './chart.ts'
import { type Html, html, type Piece } from './html.ts'
import type { RunRecord } from './run-history.ts'
import type { TaskReport } from './task-report.ts'
import { timeText } from './words.ts'

const RUNS_SHOWN = 50

/** The runs there were, and what they warned of. */
export function runSection({ history, outcome }: TaskReport): Html | undefined {
  const { runs, earlierRuns, warnings } = history
  if (runs.length === 0) return undefined
  const shown = runs.slice(-RUNS_SHOWN)
  const before = runs.length - shown.length + earlierRuns
  const rows = shown.map((run, at) =>
    runRow(run, before + at + 1, outcome.kind === 'running' && run === runs.at(-1)),
  )
  return html`<h2 id="runs">Runs and warnings</h2><div class="grid"><div class="card">${before > 0 && html`<p class="soft small">${amount(before, 'earlier run')} not shown.</p>`}<div class="scroll" tabindex="0" role="region" aria-label="Runs"><table class="wide"><thead><tr><th scope="col" class="n">Run</th><th scope="col">Started</th><th scope="col" class="n">Took</th><th scope="col">End</th></tr></thead><tbody>${rows}</tbody></table></div></div><div class="card">${warnings.length === 0 ? 'No warnings.' : warnings.map(warningBlock)}</div></div>`
}

function runRow({ startedAt, lastAt, end }: RunRecord, number: number, isRunning: boolean): Html {
  const [text, tone] = endOf(end, isRunning)
  return html`<tr><td class="n">${number}</td><td>${timeText(startedAt)}</td><td class="n">${formatDuration(lastAt - startedAt)}</td><td class="text"><span class="badge small tone-${tone}">${text}</span>${end?.kind === 'failed' && html` <bdi>${end.text}</bdi>`}</td></tr>`
}

function endOf(end: RunRecord['end'], isRunning: boolean): readonly [text: string, tone: ColorName] {
  if (isRunning) return ['running', 'blue']
  if (!end) return ['ended without a word', 'red']
  if (end.kind === 'failed') return ['failed', 'red']
  return [end.text, end.text === 'complete' ? 'green' : 'amber']
}

const warningBlock = ({
  code,
  count,
  firstAt,
  lastAt,
  message,
}: TaskReport['history']['warnings'][number]): Html =>
  html`<p class="warning"><span class="badge small tone-amber">${code}</span> <span class="soft small">${count > 1 ? `${formatCount(count)} times, ${timeText(firstAt)} to ${timeText(lastAt)}, the last:` : timeText(lastAt)}</span><br><bdi>${message}</bdi></p>`

const MOST_PARAMS = 5_000

/** How it was run, and where its files are. What is not known is left out. */
export function settingSection(report: TaskReport): Html {
  const known = settingFacts(report).flatMap(([name, text]) =>
    text === undefined ? [] : [html`<dt>${name}</dt><dd>${text}</dd>`],
  )
  return html`<h2 id="setting">How it was run</h2><div class="card"><dl class="facts">${known}</dl></div>`
}

function settingFacts(report: TaskReport): readonly (readonly [name: string, text: Piece])[] {
  const { task, status, history, params } = report
  const { className, endpoint, paramsVersions, failedFile, ledger } = status
  const { options } = history.runs.at(-1) ?? {}
  const models = [...new Set(report.batches.map(({ model }) => model))]
  return [
    ['Task', bdi(task)],
    ['Class', className === null ? undefined : bdi(className)],
    ['Endpoint', endpoint ?? undefined],
    [
      models.length === 1 ? 'Model' : 'Models',
      models.length === 0 ? undefined : bdi(cutText(models.join(', '), MOST_NAMES)),
    ],
    [
      'Options of the last run',
      options === '' ? 'all as by default' : options && html`<bdi class="mono">${options}</bdi>`,
    ],
    ['Hard cap (--max-spend)', history.capUsd === undefined ? undefined : formatUsd(history.capUsd * 1e9)],
    ['Output', outputText(status.output)],
    ['Failed requests', failedFile ? `${failedFile.file} (${formatBytes(failedFile.bytes)})` : undefined],
    [
      'Read from',
      `${amount(ledger.lines, 'commit')} in the ledger (${formatBytes(ledger.bytes)})${historyText(history)}`,
    ],
    [
      paramsVersions > 1 ? `Parameters (version ${paramsVersions})` : 'Parameters',
      isEmpty(params)
        ? undefined
        : html`<pre tabindex="0">${cutText(JSON.stringify(params, null, 2), MOST_PARAMS)}</pre>`,
    ],
  ]
}

const bdi = (text: string): Html => html`<bdi>${text}</bdi>`

const outputText = ({ lines, files }: TaskReport['status']['output']): string =>
  files.length === 0 ? 'none yet' : `${amount(lines, 'line')} in ${filesText(files.map(({ file }) => file))}`

const isEmpty = (params: unknown): boolean => ['{}', 'null', undefined].includes(JSON.stringify(params))

const MOST_NAMES = 500

const filesText = (files: readonly string[]): string =>
  files.length === 1 ? `${files[0]}` : `${files[0]} to ${files.at(-1)} (${files.length} parts)`

function historyText({ rows, unreadable }: TaskReport['history']): string {
  if (rows === 0)
    return '; there is no history of its runs, so warnings, the cap and pauses between runs are not known'
  const odd = unreadable > 0 ? `, ${formatCount(unreadable)} of which could not be read` : ''
  return `, ${amount(rows, 'line')} of history${odd}`
}
