/** One entry of a netrc file. */
export interface NetrcEntry {
  readonly login?: string
  readonly password?: string
  readonly account?: string
}

export interface Netrc {
  /** By the name of the machine; the last entry of a machine counts. */
  readonly machines: ReadonlyMap<string, NetrcEntry>
  /** What serves for every other machine. */
  readonly fallback?: NetrcEntry
}

interface Token {
  readonly text: string
  readonly start: number
  readonly end: number
}

const FIELDS = ['login', 'password', 'account'] as const

/**
 * Reads the text of a netrc file. Never throws: what cannot be understood is passed over, since the file is other
 * programs' as much as ours. `#` begins a comment only where a keyword is due, so that values may have one. Values may
 * be in double quotes; a backslash takes away the meaning of the character that follows.
 */
export function parseNetrc(text: string): Netrc {
  const machines = new Map<string, NetrcEntry>()
  let fallback: NetrcEntry | undefined
  let position = 0
  let take: ((field: NetrcEntry) => void) | undefined
  const next = (): string | undefined => {
    const token = tokenAt(text, position)
    position = token?.end ?? text.length
    return token?.text
  }
  for (let token = tokenAt(text, position); token; token = tokenAt(text, position)) {
    position = token.end
    const field = FIELDS.find((name) => name === token.text)
    if (text[token.start] === '#') position = lineEnd(text, token.start)
    else if (token.text === 'macdef') position = macroEnd(text, token.end)
    else if (token.text === 'machine') {
      const machine = next()
      if (machine === undefined) break
      machines.set(machine, {})
      take = (value) => void machines.set(machine, { ...machines.get(machine), ...value })
    } else if (token.text === 'default') {
      fallback = {}
      take = (value) => {
        fallback = { ...fallback, ...value }
      }
    } else if (field) {
      const value = next()
      if (value !== undefined) take?.({ [field]: value })
    }
  }
  return { machines, ...(fallback && { fallback }) }
}

const isSpace = (character: string | undefined): boolean =>
  character !== undefined && ' \t\r\n'.includes(character)

function tokenAt(text: string, from: number): Token | undefined {
  let start = from
  while (isSpace(text[start])) start++
  if (start >= text.length) return undefined
  const quoted = text[start] === '"'
  let at = quoted ? start + 1 : start
  let value = ''
  while (at < text.length && !(quoted ? text[at] === '"' : isSpace(text[at]))) {
    if (text[at] === '\\' && at + 1 < text.length) at++
    value += text[at]
    at++
  }
  return { text: value, start, end: quoted ? Math.min(at + 1, text.length) : at }
}

function lineEnd(text: string, from: number): number {
  const at = text.indexOf('\n', from)
  return at < 0 ? text.length : at
}

/** A macro goes on to the next empty line. */
function macroEnd(text: string, from: number): number {
  const empty = /\n[ \t\r]*\n/g
  empty.lastIndex = lineEnd(text, from)
  const found = empty.exec(text)
  return found ? found.index + found[0].length : text.length
}
