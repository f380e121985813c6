import { formatUsd } from '../util/format.ts'
import { cutText, oneLine, wrapText } from '../util/text.ts'

/** Below this width labels stand above their text. */
const NARROW = 60
const LABEL_WIDTH = 12
const NARROWEST = 20
const MARK = '- '

/** Text wrapped to a width, each line with that many spaces before it. Only a word longer than a line is broken. */
export function indented(text: string, columns: number, indent: number): string[] {
  const width = Math.max(NARROWEST, columns - indent)
  return wrapText(text, width)
    .flatMap((line) => pieces(line, width))
    .map((line) => ' '.repeat(indent) + line)
}

function pieces(line: string, width: number): string[] {
  if (line.length <= width) return [line]
  const characters = Array.from(line)
  const count = Math.ceil(characters.length / width)
  return Array.from({ length: count }, (_, at) => characters.slice(at * width, (at + 1) * width).join(''))
}

/** A label and its text, side by side where there is room. */
export const field = (label: string, text: string, columns: number): string[] =>
  labelled(label, indented(text, columns, fieldIndent(columns)), columns)

/** A label and several texts, each with a mark before it. */
export function listField(label: string, texts: readonly string[], columns: number): string[] {
  const indent = fieldIndent(columns)
  const lines = texts.flatMap((text) => {
    const [first = '', ...others] = indented(text, columns, indent + MARK.length)
    return [' '.repeat(indent) + MARK + first.trimStart(), ...others]
  })
  return labelled(label, lines, columns)
}

const fieldIndent = (columns: number): number => (columns < NARROW ? 4 : LABEL_WIDTH + 2)

function labelled(label: string, lines: readonly string[], columns: number): string[] {
  if (columns < NARROW) return [`  ${label}`, ...lines]
  const [first = '', ...others] = lines
  return [`  ${label.padEnd(LABEL_WIDTH)}${first.trimStart()}`, ...others]
}

/** An ISO time in UTC as people read it: `2026-01-01 09:30:00Z`. */
export const timeText = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 19)}Z`

/** A value as JSON that can be wrapped, cut to a length in characters. */
export const jsonText = (value: unknown, most: number): string =>
  cutText(oneLine(JSON.stringify(value, null, 1) ?? ''), most)

const CENT = 0.01

/** A cost in USD. What is less than a cent, as single requests mostly are, is given to two digits: `$0.000012`. */
export function costText(usd: number): string {
  if (usd === 0 || usd >= CENT) return formatUsd(Math.round(usd * 1e9))
  return `$${usd.toFixed(Math.min(9, 1 - Math.floor(Math.log10(usd))))}`
}
