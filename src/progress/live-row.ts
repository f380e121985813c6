import { cutToWidth, displayWidth } from '../util/display-width.ts'
import { paint, type Style } from './terminal-style.ts'

/** A stretch of a row. */
export interface Piece {
  readonly text: string
  readonly style?: Style | undefined
  /** Where a row is too long, its pieces with the highest number are left out first; those without one never are. */
  readonly spare?: number | undefined
}

export type Row = readonly Piece[]

/** A row as text of at most `width` columns: without what can be spared, and cut if that is not enough. */
export function rowText(row: Row, width: number, color: boolean): string {
  let left = width
  return fitted(row, width)
    .map(({ text, style }) => {
      const shown = cutToWidth(text, left)
      left -= displayWidth(shown)
      return color ? paint(shown, style) : shown
    })
    .join('')
}

function fitted(row: Row, width: number): Row {
  const total = row.reduce((sum, { text }) => sum + displayWidth(text), 0)
  const most = row.reduce((found, { spare = 0 }) => Math.max(found, spare), 0)
  if (total <= width || most === 0) return row
  return fitted(
    row.filter(({ spare }) => spare !== most),
    width,
  )
}

/** Texts with commas between them; empty ones do not count. */
export const listed = (pieces: Row): Row => continued(pieces).slice(1)

/** The same, to go on after others: with a comma before the first one, too. */
export const continued = (pieces: Row): Row =>
  pieces.filter(({ text }) => text !== '').flatMap((piece) => [{ text: ', ', spare: piece.spare }, piece])

/** Part of a bar. */
export interface Share {
  readonly amount: number
  readonly glyph: string
  readonly style?: Style
  /** Shown by one cell at least, if there is any. */
  readonly isNotable?: boolean
}

/** A bar of exactly `width` cells; what the shares leave of `total` is shown by the last of them. */
export function bar(shares: readonly Share[], total: number, width: number): Row {
  let sum = 0
  let used = 0
  return shares.map(({ amount, glyph, style, isNotable }, at) => {
    sum += amount
    const end = at === shares.length - 1 || total <= 0 ? width : Math.floor((sum / total) * width)
    const least = isNotable && amount > 0 ? 1 : 0
    const cells = Math.min(width - used, Math.max(least, end - used))
    used += cells
    return { text: glyph.repeat(cells), style }
  })
}
