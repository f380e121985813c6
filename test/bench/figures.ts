import { loadavg } from 'node:os'
import type { Measured } from './measured.ts'

/** A figure with what it may be at most. */
export interface Verdict {
  readonly what: string
  readonly value: number
  readonly budget: number
  readonly unit: string
}

/** What one path of the benchmark found. */
export interface Findings {
  readonly title: string
  /** What the figures depend on. */
  readonly notes?: readonly string[]
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
  readonly verdicts: readonly Verdict[]
  /** Everything measured, for `--json`. */
  readonly measured: Readonly<Record<string, readonly object[]>>
}

export const isWithin = ({ value, budget }: Verdict): boolean => value <= budget

/** Of an even number, the lower of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN
}

export const cpuOf = (runs: readonly Measured[]): number => median(runs.map(({ cpuSeconds }) => cpuSeconds))
export const wallOf = (runs: readonly Measured[]): number =>
  median(runs.map(({ wallSeconds }) => wallSeconds))
/** The largest of all runs: a bound must hold in every one. */
export const peakOf = (runs: readonly Measured[]): number => Math.max(...runs.map(({ peakMb }) => peakMb))

/** How cost grows with size: 1 when it doubles with it, 2 when it is quadratic. */
export const growth = (cpu: number, cpuBefore: number, size: number, sizeBefore: number): number =>
  Math.log(cpu / cpuBefore) / Math.log(size / sizeBefore)

export const seconds = (value: number): string => `${value.toFixed(2)} s`
export const microseconds = (value: number): string => `${(value * 1e6).toFixed(0)} us`
export const times = (value: number): string => `${value.toFixed(2)}x`
export const megabytes = (value: number): string => `${value.toFixed(0)} MB`
export const count = (value: number): string => value.toLocaleString('en')

/** How busy the machine is, with all that others do on it. */
export const noteOnLoad = (): string => `load of the machine at the end: ${loadavg()[0]?.toFixed(1)}`
