/** Bars of one width over a range: where each begins. */
export interface Bins {
  readonly width: number
  readonly starts: readonly number[]
}

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Widths of time that people count in, in milliseconds. */
const TIME_WIDTHS = [
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR),
  ...[1, 2, 7, 14, 28].map((days) => days * DAY),
]

/** Bins of a time range in milliseconds: as narrow as `most` allow, but no narrower than a second. */
export function timeBins(from: number, to: number, most: number): Bins {
  const span = Math.max(0, to - from)
  const fitting = TIME_WIDTHS.find((width) => span / width <= most - 1)
  return binsOf(from, to, fitting ?? Math.ceil(span / (most - 1) / DAY) * DAY)
}

/** Bins of numbers from 0 to `highest`, with a width of 1, 2 or 5 times a power of ten. */
export function numberBins(highest: number, most: number): Bins {
  const least = Math.max(highest, Number.MIN_VALUE * 1e20) / (most - 1)
  const power = 10 ** Math.floor(Math.log10(least))
  const width =
    [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= least * (1 - 1e-9)) ?? least
  return binsOf(0, highest, width)
}

function binsOf(from: number, to: number, width: number): Bins {
  const first = Math.floor(from / width)
  const count = Math.floor(to / width) - first + 1
  return { width, starts: Array.from({ length: count }, (_, index) => (first + index) * width) }
}

/** The bin a value falls into; what lies beside them falls into the nearest. */
export function binOf({ width, starts }: Bins, value: number): number {
  const index = Math.floor((value - (starts[0] ?? 0)) / width + 1e-9)
  return Math.min(Math.max(0, index), starts.length - 1)
}
