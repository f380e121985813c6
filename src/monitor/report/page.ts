import type { TaskStatus } from '../../requester/status.ts'
import { assertNever } from '../../util/exhaustive.ts'
import { VERSION } from '../../util/version.ts'
import type { Chart, ColorName } from './chart.ts'
import { chartsOf, type ReportCharts } from './charts.ts'
import { Html, html, jsonForScript, policyHash } from './html.ts'
import type { Outcome } from './outcome.ts'
import { batchSection } from './page-batches.ts'
import { chartSection } from './page-charts.ts'
import { failureSection } from './page-failures.ts'
import { figures, tiles } from './page-figures.ts'
import { PAGE_SCRIPT } from './page-script.ts'
import { runSection, settingSection } from './page-setting.ts'
import { PAGE_STYLE } from './page-style.ts'
import type { PlotLibrary } from './plot-library.ts'
import type { TaskReport } from './task-report.ts'
import { timeText } from './words.ts'

/**
 * A report as one HTML page that needs nothing beside itself: no network, and no script but its own, which its content
 * security policy makes sure of. Everything that comes from the task is escaped.
 */
export function reportPage(report: TaskReport, library: PlotLibrary): string {
  const charts = chartsOf(report)
  const scripts = charts.charts.length === 0 ? [] : [library.script, PAGE_SCRIPT]
  const style = library.style + PAGE_STYLE
  const { text } = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policyOf(scripts, style)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="Nightshift ${VERSION}">
<link rel="icon" href="data:,">
<title>${report.task}: ${labelOf(report.outcome)} – Nightshift report</title>
<style>${new Html(style)}</style>
</head>
<body>
${header(report)}
<main>${body(report, charts)}</main>
<footer>Made by Nightshift ${VERSION} at ${timeText(report.madeAt)}. All times are UTC.</footer>
${scripts.length > 0 && html`<script type="application/json" id="report-data">${jsonForScript(scriptData(charts))}</script>`}
${scripts.map((script) => html`<script>${new Html(script)}</script>`)}
</body>
</html>
`
  return text
}

/** Only these scripts and this style, and no network for anything. */
const policyOf = (scripts: readonly string[], style: string): string =>
  [
    "default-src 'none'",
    `script-src ${scripts.length === 0 ? "'none'" : scripts.map(policyHash).join(' ')}`,
    `style-src ${policyHash(style)}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')

function header({ task, outcome, status, madeAt }: TaskReport): Html {
  const what = [status.className, status.endpoint].filter((text) => text !== null).join(' · ')
  const since =
    status.createdAt === null
      ? ''
      : `Begun ${timeText(status.createdAt)}, last change ${timeText(status.changedAt)}. `
  return html`<header><div class="kicker">Nightshift report</div><div class="title"><h1><bdi>${task}</bdi></h1><span class="badge tone-${toneOf(outcome, status)}">${labelOf(outcome)}</span></div><p class="lead">${outcome.text}</p><p class="soft small">${since}Report made ${timeText(madeAt)}.</p>${what !== '' && html`<p class="soft small"><bdi>${what}</bdi></p>`}</header>`
}

function body(report: TaskReport, charts: ReportCharts): Html {
  if (report.status.requests.total === 0 && report.batches.length === 0)
    return html`<br><div class="card"><h3>Nothing to show yet</h3><p class="soft">Charts and figures appear here once the task has requests. Run it, and make the report again.</p></div>${runSection(report)}${settingSection(report)}`
  return html`${tiles(report)}${chartSection(charts)}${figures(report)}${failureSection(report)}${batchSection(report)}${runSection(report)}${settingSection(report)}`
}

function labelOf({ kind }: Outcome): string {
  switch (kind) {
    case 'running':
      return 'Running'
    case 'complete':
      return 'Complete'
    case 'stopped':
      return 'Stopped'
    case 'failed':
      return 'Failed'
    case 'crashed':
      return 'Crashed'
    case 'waiting':
      return 'Not finished'
    case 'empty':
      return 'Empty'
    default:
      return assertNever(kind)
  }
}

function toneOf({ kind }: Outcome, { requests: { succeeded } }: TaskStatus): ColorName {
  switch (kind) {
    case 'running':
      return 'blue'
    case 'complete':
      return succeeded > 0 ? 'green' : 'red'
    case 'stopped':
    case 'waiting':
      return 'amber'
    case 'failed':
    case 'crashed':
      return 'red'
    case 'empty':
      return 'grey'
    default:
      return assertNever(kind)
  }
}

/** What the script draws from: what was last known holds on to the end of the frame. */
const scriptData = ({ frame, charts }: ReportCharts) => ({
  frame,
  charts: charts.map((chart) => upTo(chart, frame.to)),
})

function upTo(chart: Chart, end: number): Chart {
  if (chart.kind === 'spans') return chart
  const series = chart.series.map((one) => ({ ...one, values: one.values.map(tenDigits) }))
  if (chart.kind === 'bars') return { ...chart, series }
  const held = series.map((one) => ({ ...one, values: [...one.values, ...one.values.slice(-1)] }))
  return { ...chart, at: [...chart.at, end], series: held }
}

const tenDigits = (value: number): number => Number(value.toPrecision(10))
