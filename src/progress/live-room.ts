import { formatCount } from '../util/format.ts'
import type { Row } from './live-row.ts'

/** How much room there is: `wide` has labels at the left. */
export interface Room {
  readonly width: number
  readonly isWide: boolean
}

export const LABEL_WIDTH = 12
const ROOMY = 100

/** A number for a glance: `9,876`, `98.8k`, `1.23M`. */
export function shortCount(count: number): string {
  if (Math.abs(count) < 10_000) return formatCount(Math.round(count))
  const unit = UNITS.find(({ size }) => Math.abs(count) >= size * 0.9995) ?? { size: 1000, letter: 'k' }
  return `${Number((count / unit.size).toPrecision(3))}${unit.letter}`
}

const UNITS = [
  { size: 1e12, letter: 'T' },
  { size: 1e9, letter: 'G' },
  { size: 1e6, letter: 'M' },
  { size: 1e3, letter: 'k' },
] as const

/** Full numbers where there is room for them. */
export const counted = (count: number, word: string, { width }: Room): string =>
  `${width < ROOMY ? shortCount(count) : formatCount(count)} ${word}`

export const labelled = (label: string, row: Row, { isWide }: Room): Row =>
  isWide ? [{ text: label.padEnd(LABEL_WIDTH), style: 'dim' }, ...row] : row
