import { isSpace, stringEnd } from './json-members.ts'

/** What a JSON text is apart from its meaning. */
export interface JsonShape {
  /** The text without the white space between its parts. */
  readonly compact: string
  /** How many objects and lists are open at once at most. */
  readonly depth: number
}

const SPACE = /[ \t\r\n]+/g

/** Takes any text; of one that is no JSON what it says means little. */
export function shapeOf(json: string): JsonShape {
  const pieces: string[] = []
  let from = 0
  let open = 0
  let depth = 0
  for (let gap = 0; gap < json.length; ) {
    const quote = json.indexOf('"', gap)
    const end = quote < 0 ? json.length : quote
    let hasSpace = false
    for (let at = gap; at < end; at++) {
      const code = json.charCodeAt(at)
      if (isSpace(code)) hasSpace = true
      else if (isOpening(code)) depth = Math.max(depth, ++open)
      else if (isClosing(code)) open--
    }
    if (hasSpace) {
      pieces.push(json.slice(from, gap), json.slice(gap, end).replace(SPACE, ''))
      from = end
    }
    gap = quote < 0 ? end : stringEnd(json, quote)
  }
  if (pieces.length === 0) return { compact: json, depth }
  pieces.push(json.slice(from))
  return { compact: pieces.join(''), depth }
}

const isOpening = (code: number): boolean => code === 0x7b || code === 0x5b
const isClosing = (code: number): boolean => code === 0x7d || code === 0x5d

/** The text on one line. A line break in JSON is never inside a string, so a space in its place means the same. */
export const onOneLine = (json: string): string => (/[\r\n]/.test(json) ? json.replace(/[\r\n]/g, ' ') : json)

/**
 * Whether a string in the text has half of a surrogate pair, written as an escape: no Unicode text, which strict
 * readers of JSON refuse as a whole.
 */
export function hasLoneSurrogate(json: string): boolean {
  // Most texts have no escape of this kind at all, which is seen sooner.
  if (!json.includes('\\u') || !/\\u[dD][89a-fA-F]/.test(json)) return false
  for (let start = json.indexOf('"'); start >= 0; ) {
    const end = stringEnd(json, start)
    const text: unknown = JSON.parse(json.slice(start, end))
    if (typeof text === 'string' && !text.isWellFormed()) return true
    start = json.indexOf('"', end)
  }
  return false
}
