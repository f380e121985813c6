import { LABELS } from './page-script-labels.ts'

/**
 * Draws the charts in the browser with uPlot, from the data in the page, in the colours of its style. Whatever comes
 * from the task is only ever text here: `textContent`, or drawn. It is plain JavaScript, as it is not compiled.
 */
export const PAGE_SCRIPT = `
(() => {
'use strict'
const root = document.documentElement
const { frame, charts } = JSON.parse(document.getElementById('report-data').textContent)
const PRINTED_WIDTH = 640
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif'
const measure = document.createElement('canvas').getContext('2d')
measure.font = FONT

const color = (name) => getComputedStyle(root).getPropertyValue('--' + name).trim()

${LABELS}
// --- what all charts have

const widest = (labels) => labels.reduce((most, label) => Math.max(most, measure.measureText(label).width), 0)

const xAxis = (isTime) => ({
  stroke: color('soft'),
  font: FONT,
  size: isTime ? 46 : 30,
  space: isTime ? 78 : 50,
  gap: 6,
  lineGap: 1.25,
  grid: { show: false },
  ticks: { stroke: color('line'), size: 5, width: 1 },
  ...(isTime && { values: timeLabels }),
})

const yAxis = (unit) => ({
  stroke: color('soft'),
  font: FONT,
  gap: 6,
  space: 36,
  size: (plot, labels) => (labels ? Math.ceil(widest(labels)) + 16 : 40),
  grid: { stroke: color('grid'), width: 1 },
  ticks: { show: false },
  values: (plot, splits, axis, space, step) => splits.map(axisText(unit, step)),
  ...(unit === 'count' && { incrs: WHOLE_STEPS }),
})

/** There is no half of a request. */
const WHOLE_STEPS = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((one) => one * 10 ** power)).flat()

const fromZero = (plot, least, most) => [0, most > 0 ? most * 1.06 : 1]

function shadeIdle(plot) {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.beginPath()
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
  ctx.clip()
  ctx.fillStyle = color('idle')
  for (const [from, to] of frame.idle) {
    const left = plot.valToPos(from / 1000, 'x', true)
    ctx.fillRect(left, bbox.top, plot.valToPos(to / 1000, 'x', true) - left, bbox.height)
  }
  ctx.restore()
}

/** Sums of the series, from the bottom up. */
function stacked(series) {
  let below
  return series.map(({ values }) => {
    below = values.map((value, at) => value + (below ? below[at] : 0))
    return below
  })
}

// --- the box under the pointer

function tipOf(place) {
  const tip = document.createElement('div')
  tip.className = 'tip'
  place.append(tip)
  return tip
}

function showTip(tip, plot, rows) {
  tip.replaceChildren(...rows.map(({ text, tone }) => {
    const row = document.createElement('div')
    if (tone) {
      const key = document.createElement('span')
      key.className = 'key tone-' + tone
      row.append(key)
    }
    row.append(document.createTextNode(text))
    return row
  }))
  tip.classList.add('shown')
  const { left, top } = plot.cursor
  const x = left + plot.over.offsetLeft
  const room = plot.root.clientWidth - tip.offsetWidth
  const beside = x + 14 > room ? x - tip.offsetWidth - 14 : x + 14
  tip.style.left = Math.max(0, Math.min(room, beside)) + 'px'
  tip.style.top = Math.max(0, Math.min(plot.root.clientHeight - tip.offsetHeight, top + 8)) + 'px'
}

const hideTip = (tip) => tip.classList.remove('shown')

/** Only the chart under the pointer tells: the others follow its line. */
const isPointedAt = (plot) => plot.over.matches(':hover')

// --- the kinds of charts

const sync = uPlot.sync('time')
const isOverTime = ({ kind, axis }) => kind !== 'bars' || axis === 'time'

function base(chart, place, tell) {
  const isTime = isOverTime(chart)
  const tip = tipOf(place)
  const onCursor = (plot) => {
    const rows = plot.cursor.left >= 0 && isPointedAt(plot) ? tell(plot) : []
    if (rows.length > 0) showTip(tip, plot, rows)
    else hideTip(tip)
  }
  return {
    width: widthOf(place),
    height: place.clientHeight,
    padding: [10, 36, 0, 0],
    legend: { show: false },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), 'Etc/UTC'),
    cursor: { y: false, points: { show: false }, drag: { x: true, y: false }, ...(isTime && { sync: { key: sync.key } }) },
    scales: { x: { time: isTime, range: xRange(chart) }, y: { range: fromZero } },
    axes: [xAxis(isTime), yAxis(chart.unit)],
    hooks: { drawClear: isTime ? [shadeIdle] : [], setCursor: [onCursor] },
  }
}

/** What is asked for is the data's own range at first, and after a double click: all is shown then, else the part that was drawn. */
function xRange(chart) {
  return (plot, from, to) => {
    const times = plot.data[0]
    return from === times[0] && to === times[times.length - 1] ? wholeRange(chart) : [from, to]
  }
}

/** All charts over time show the same stretch of it. */
const wholeRange = (chart) =>
  isOverTime(chart)
    ? [frame.from / 1000, frame.to / 1000]
    : [chart.starts[0], chart.starts[chart.starts.length - 1] + chart.width]

function timeChart(chart, place) {
  const isStacked = chart.kind === 'stacked'
  const columns = isStacked ? stacked(chart.series) : chart.series.map(({ values }) => values)
  const shown = chart.series.map((series, at) => ({ ...series, column: columns[at] }))
  const tell = (plot) => {
    const at = plot.cursor.idx
    if (at === null || at === undefined) return []
    const time = plot.posToVal(plot.cursor.left, 'x')
    const point = lastUpTo(chart.at, time * 1000)
    return [
      { text: timeText(time) },
      ...chart.series.toReversed().map(({ name, color: tone, values }) => ({ tone, text: valueText(chart.unit, values[point]) + ' ' + name })),
    ]
  }
  // The highest is drawn first, and those below it over it.
  const drawn = isStacked ? shown.toReversed() : shown
  const options = base(chart, place, tell)
  options.series = [{}, ...drawn.map((series) => ({
    label: series.name,
    paths: uPlot.paths.stepped({ align: 1 }),
    points: { show: false },
    ...(isStacked ? { fill: color(series.color), width: 0 } : { stroke: color(series.color), width: 2 }),
    ...(series.dashed && { dash: [6, 5] }),
  }))]
  return new uPlot(options, [chart.at.map((at) => at / 1000), ...drawn.map(({ column }) => column)], place)
}

/** Index of the last time that is not after one. */
function lastUpTo(times, time) {
  let [low, high] = [0, times.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (times[middle] <= time) low = middle + 1
    else high = middle
  }
  return Math.max(0, low - 1)
}

function barChart(chart, place) {
  const scale = chart.axis === 'time' ? 1000 : 1
  const columns = stacked(chart.series)
  const starts = chart.starts.map((start) => start / scale)
  // Where the last bar ends: what has one point has no range of its own.
  const edges = [...starts, starts[starts.length - 1] + chart.width / scale]
  const tell = (plot) => {
    const value = plot.posToVal(plot.cursor.left, 'x')
    const bar = lastUpTo(starts, value)
    const end = edges[bar + 1]
    const title = chart.axis === 'time' ? timeText(starts[bar]) : fine.format(starts[bar]) + ' to ' + fine.format(end) + ' ' + chart.axis
    return [
      { text: title },
      ...chart.series.toReversed().map(({ name, color: tone, values }) => ({ tone, text: valueText(chart.unit, values[bar]) + ' ' + name })),
    ]
  }
  const options = base(chart, place, tell)
  options.series = [{}, ...chart.series.toReversed().map((series) => ({
    label: series.name,
    paths: bars(chart.width / scale),
    points: { show: false },
    fill: color(series.color),
    width: 0,
  }))]
  if (chart.axis !== 'time') options.axes[0].values = (plot, splits) => splits.map((split) => fine.format(split) + ' ' + chart.axis[0])
  return new uPlot(options, [edges, ...columns.toReversed().map((column) => [...column, null])], place)
}

/** Bars that begin at their values, with a little room between them. */
const bars = (width) => (plot, series, first, last) => {
  const fill = new Path2D()
  const [times, values] = [plot.data[0], plot.data[series]]
  const bottom = plot.valToPos(0, 'y', true)
  for (let at = first; at <= last; at++) {
    if (!(values[at] > 0)) continue
    const left = plot.valToPos(times[at], 'x', true)
    const right = plot.valToPos(times[at] + width, 'x', true)
    const gap = Math.min(2 * devicePixelRatio, (right - left) * 0.15)
    const top = plot.valToPos(values[at], 'y', true)
    fill.rect(left + gap / 2, top, Math.max(1, right - left - gap), bottom - top)
  }
  return { stroke: null, fill, clip: null, flags: 1 }
}

function spanChart(chart, place) {
  const tell = (plot) => {
    const time = plot.posToVal(plot.cursor.left, 'x') * 1000
    const lane = Math.floor(plot.posToVal(plot.cursor.top, 'y'))
    const slack = (frame.to - frame.from) * 2 / plot.over.clientWidth
    const found = chart.spans.find((span) => span.lane === lane && span.from - slack <= time && time <= span.to + slack)
    if (!found) return []
    return [{ text: timeText(found.from / 1000) }, { text: found.label, tone: chart.kinds[found.kind].color }]
  }
  const options = base(chart, place, tell)
  options.scales.y = { range: () => [0, chart.lanes] }
  options.axes[1].show = false
  options.padding[3] = 36
  options.series = [{}, { points: { show: false } }]
  options.hooks.draw = [(plot) => drawSpans(plot, chart)]
  return new uPlot(options, [[frame.from / 1000, frame.to / 1000], [null, null]], place)
}

function drawSpans(plot, chart) {
  const { ctx, bbox } = plot
  const height = bbox.height / chart.lanes
  const gap = height > 4 * devicePixelRatio ? Math.min(3 * devicePixelRatio, height * 0.25) : 0
  const thick = Math.min(height - gap, 34 * devicePixelRatio)
  const tones = chart.kinds.map((kind) => color(kind.color))
  ctx.save()
  ctx.beginPath()
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
  ctx.clip()
  for (const span of chart.spans) {
    const left = plot.valToPos(span.from / 1000, 'x', true)
    const width = Math.max(2 * devicePixelRatio, plot.valToPos(span.to / 1000, 'x', true) - left - 1)
    const middle = bbox.top + bbox.height - (span.lane + 0.5) * height
    ctx.fillStyle = tones[span.kind]
    ctx.fillRect(left, middle - thick / 2, width, thick)
  }
  ctx.restore()
}

// --- drawing, and drawing again

const MAKERS = { stacked: timeChart, lines: timeChart, bars: barChart, spans: spanChart }
const placeOf = ({ id }) => document.getElementById('plot-' + id)
const widthOf = (place) => (root.classList.contains('printing') ? PRINTED_WIDTH : place.clientWidth)
let plots = []

function drawAll() {
  for (const plot of plots) plot.destroy()
  plots = charts.map((chart) => {
    const place = placeOf(chart)
    place.replaceChildren()
    return MAKERS[chart.kind](chart, place)
  })
}

function fit() {
  for (const [at, plot] of plots.entries()) {
    const place = placeOf(charts[at])
    const width = widthOf(place)
    if (width > 0 && (plot.width !== width || plot.height !== place.clientHeight)) plot.setSize({ width, height: place.clientHeight })
  }
}

function printing(isPrinted) {
  if (root.classList.contains('printing') === isPrinted) return
  root.classList.toggle('printing', isPrinted)
  drawAll()
}

root.classList.add('scripted')
drawAll()
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll)
matchMedia('print').addEventListener('change', ({ matches }) => printing(matches))
addEventListener('beforeprint', () => printing(true))
addEventListener('afterprint', () => printing(false))
let waiting = 0
const watch = new ResizeObserver(() => {
  cancelAnimationFrame(waiting)
  waiting = requestAnimationFrame(fit)
})
for (const chart of charts) watch.observe(placeOf(chart))
})()
`
