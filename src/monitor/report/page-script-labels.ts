/** Part of the page's script: how numbers, money and times are written on axes and under the pointer. */
export const LABELS = String.raw`const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ')
const DAY = 86400
const two = (number) => String(number).padStart(2, '0')

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })
const fine = new Intl.NumberFormat('en-US', { maximumSignificantDigits: 3 })

function shortCount(value) {
  const size = Math.abs(value)
  if (size >= 1e9) return fine.format(value / 1e9) + 'G'
  if (size >= 1e6) return fine.format(value / 1e6) + 'M'
  if (size >= 1e4) return fine.format(value / 1e3) + 'k'
  return fine.format(value)
}

/** Digits after the point that tell multiples of a step apart without rounding any: 3 for 0.025. */
function digitsOf(step) {
  let digits = 0
  for (let scaled = step; digits < 9; digits++, scaled = step * 10 ** digits)
    if (scaled >= 1 && Math.abs(scaled - Math.round(scaled)) < 1e-6) break
  return digits
}

const dollars = (value, least, most) =>
  '$' + value.toLocaleString('en-US', { minimumFractionDigits: least, maximumFractionDigits: most })

function dollarText(value) {
  if (value > 0 && value < 0.0001) return '<$0.0001'
  const digits = value === 0 || value >= 0.99995 ? 2 : 4
  return dollars(value, digits, digits)
}

const axisText = (unit, step) => (value) =>
  unit === 'usd' ? dollars(value, 2, Math.max(2, digitsOf(step))) : shortCount(value)
const valueText = (unit, value) => (unit === 'usd' ? dollarText(value) : whole.format(value))

function timeText(seconds) {
  const date = new Date(seconds * 1000)
  return date.getUTCDate() + ' ' + MONTHS[date.getUTCMonth()] + ' ' + clock(date) + ':' + two(date.getUTCSeconds()) + ' UTC'
}

const clock = (date) => two(date.getUTCHours()) + ':' + two(date.getUTCMinutes())

/** Labels of a time axis: the day stands under the first of its labels. */
function timeLabels(plot, splits, axis, space, step) {
  let day = ''
  return splits.map((seconds) => {
    const date = new Date(seconds * 1000)
    const today = date.getUTCDate() + ' ' + MONTHS[date.getUTCMonth()]
    if (step >= DAY) {
      const year = String(date.getUTCFullYear())
      const label = today + (year === day ? '' : '\n' + year)
      day = year
      return label
    }
    const subSecond = step < 1 ? (date.getUTCMilliseconds() / 1000).toFixed(Math.min(3, digitsOf(step))).slice(1) : ''
    const time = clock(date) + (step < 60 ? ':' + two(date.getUTCSeconds()) + subSecond : '')
    const label = time + (today === day ? '' : '\n' + today)
    day = today
    return label
  })
}
`
