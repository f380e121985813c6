/** Names of colours in the page's style: they differ between its light and its dark form. */
export type ColorName = 'green' | 'red' | 'blue' | 'purple' | 'amber' | 'grey' | 'ink'

/** What a value is, and so how it is written. */
export type Unit = 'count' | 'usd'

export interface ChartSeries {
  readonly name: string
  readonly color: ColorName
  readonly values: readonly number[]
  /** A line to compare with, not a measured one. */
  readonly dashed?: true
}

interface ChartBase {
  readonly id: string
  readonly title: string
  /** What is to be seen in it, in a sentence: also for those who do not see it. */
  readonly about: string
}

/** Values over time, which stay as they are until the next point. `stacked`: they add up; the first is at the bottom. */
export interface TimeChart extends ChartBase {
  readonly kind: 'stacked' | 'lines'
  readonly unit: Unit
  /** What its values are, as it stands at the axis: `requests`, `USD`. */
  readonly counts: string
  /** In milliseconds since 1970, rising. */
  readonly at: readonly number[]
  readonly series: readonly ChartSeries[]
}

/** Bars of one width. Series are stacked. */
export interface BarChart extends ChartBase {
  readonly kind: 'bars'
  readonly unit: Unit
  /** What its values are, as it stands at the axis: `requests`, `USD`. */
  readonly counts: string
  /** `time`: starts are milliseconds since 1970; else numbers of this unit. */
  readonly axis: 'time' | 'seconds' | 'minutes' | 'hours'
  readonly width: number
  /** Where each bar begins, rising. */
  readonly starts: readonly number[]
  readonly series: readonly ChartSeries[]
}

export interface Span {
  /** In milliseconds since 1970. */
  readonly from: number
  readonly to: number
  /** From 0, the lowest. */
  readonly lane: number
  /** Index of its kind. */
  readonly kind: number
  readonly label: string
}

/** What went on beside each other. */
export interface SpanChart extends ChartBase {
  readonly kind: 'spans'
  readonly lanes: number
  readonly kinds: readonly { readonly name: string; readonly color: ColorName }[]
  readonly spans: readonly Span[]
}

export type Chart = TimeChart | BarChart | SpanChart

/** The stretch of time that all charts over time show, in milliseconds since 1970, and when no run was at work in it. */
export interface TimeFrame {
  readonly from: number
  readonly to: number
  readonly idle: readonly (readonly [from: number, to: number])[]
}
