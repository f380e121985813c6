import { formatCount, formatUsd } from '../../util/format.ts'
import type { BarChart, Chart, ChartSeries, SpanChart, TimeChart, Unit } from './chart.ts'
import type { ReportCharts } from './charts.ts'
import { type Html, html } from './html.ts'
import { timeText } from './words.ts'

/** The charts: each with its legend, a place for the script to draw in, and a table of what it shows. */
export function chartSection({ charts }: ReportCharts): Html | undefined {
  if (charts.length === 0) return undefined
  return html`<h2 id="charts">Over time</h2><p class="soft small unscripted">Charts need JavaScript; the tables below them do not.</p><div class="charts">${charts.map(figure)}</div>`
}

const figure = (chart: Chart): Html =>
  html`<figure class="card"><figcaption><h3>${chart.title}</h3><p class="soft small">${chart.about}.</p></figcaption><ul class="legend">${legend(chart)}</ul><p class="soft small scale">${scaleText(chart)}</p><div class="plot" id="plot-${chart.id}" role="img" aria-label="${chart.title}: ${chart.about}. The table after it has the figures."></div><details><summary>As a table</summary>${tableOf(chart)}</details></figure>`

/** What stands for the labels of both axes. */
function scaleText(chart: Chart): string {
  const across = chart.kind === 'bars' && chart.axis !== 'time' ? chart.axis : 'time in UTC'
  return chart.kind === 'spans' ? across : `${chart.counts}; ${across}`
}

function legend(chart: Chart): readonly Html[] {
  const keys: readonly Pick<ChartSeries, 'name' | 'color' | 'dashed'>[] =
    chart.kind === 'spans' ? chart.kinds : chart.series
  return keys.map(
    ({ name, color, dashed }) =>
      html`<li><span class="key tone-${color} ${dashed && 'dashed'}"></span>${name}</li>`,
  )
}

function tableOf(chart: Chart): Html {
  switch (chart.kind) {
    case 'stacked':
    case 'lines':
      return timeTable(chart)
    case 'bars':
      return barTable(chart)
    case 'spans':
      return spanTable(chart)
  }
}

const MOST_ROWS = 24

/** So many of them at even distances, the first and the last included. */
export function evenly<Item>(items: readonly Item[], most: number): readonly Item[] {
  if (items.length <= most) return items
  const step = (items.length - 1) / (most - 1)
  const chosen = new Set(Array.from({ length: most }, (_, at) => Math.round(at * step)))
  return items.filter((_, index) => chosen.has(index))
}

function timeTable({ title, at, series, unit }: TimeChart): Html {
  const rows = evenly([...at.keys()], MOST_ROWS).map((index) => [
    timeText(at[index]),
    ...series.map(({ values }) => valueText(unit, values[index] ?? 0)),
  ])
  return dataTable(title, ['time', ...series.map(({ name }) => name)], rows)
}

function barTable({ title, starts, width, axis, series, unit }: BarChart): Html {
  const filled = [...starts.keys()].filter((bar) => series.some(({ values }) => (values[bar] ?? 0) !== 0))
  const label = (bar: number) => {
    const start = starts[bar] ?? 0
    return axis === 'time' ? timeText(start) : `${short(start)} to ${short(start + width)} ${axis}`
  }
  const rows = evenly(filled, MOST_ROWS).map((bar) => [
    label(bar),
    ...series.map(({ values }) => valueText(unit, values[bar] ?? 0)),
  ])
  return dataTable(title, [axis === 'time' ? 'from' : 'took', ...series.map(({ name }) => name)], rows)
}

function spanTable({ title, spans }: SpanChart): Html {
  const rows = evenly(spans, MOST_ROWS).map(({ from, to, label }) => [
    `${timeText(from)} to ${timeText(to)}`,
    label,
  ])
  return dataTable(title, ['when', 'what'], rows, 'text')
}

const short = (value: number): string => String(Number(value.toPrecision(4)))

function valueText(unit: Unit, value: number): string {
  switch (unit) {
    case 'usd':
      return formatUsd(value * 1e9)
    case 'count':
      return formatCount(value)
  }
}

/** The first column says when; what follows are numbers, or `text`. */
function dataTable(
  title: string,
  columns: readonly string[],
  rows: readonly (readonly string[])[],
  rest = 'n',
): Html {
  const kindOf = (at: number) => at > 0 && rest
  const heads = columns.map((column, at) => html`<th scope="col" class="${kindOf(at)}">${column}</th>`)
  const cells = (row: readonly string[]) =>
    row.map((cell, at) => html`<td class="${kindOf(at)}">${cell}</td>`)
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${title}, as a table"><table class="wide"><thead><tr>${heads}</tr></thead><tbody>${rows.map((row) => html`<tr>${cells(row)}</tr>`)}</tbody></table></div>`
}
