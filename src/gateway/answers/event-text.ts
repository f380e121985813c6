import { onOneLine } from '../body/json-shape.ts'

/** Names and values of an object to be written, the values as JSON text; undefined ones are left out. */
export type Parts = readonly (readonly [name: string, value: string | undefined])[]

/** An object of texts that are JSON already: no number is spelled anew. */
export function objectText(parts: Parts): string {
  const members: string[] = []
  for (const [name, value] of parts) if (value !== undefined) members.push(`${JSON.stringify(name)}:${value}`)
  return `{${members.join(',')}}`
}

export const listText = (items: readonly string[]): string => `[${items.join(',')}]`

/** A server-sent event, whole. `json` may have line breaks between its parts. */
export const eventText = (json: string, event?: string): string =>
  `${event === undefined ? '' : `event: ${event}\n`}data: ${unbroken(json)}\n\n`

/** A sign of life, which every client passes over. */
export const HEARTBEAT = ': waiting\n\n'

/** Characters besides CR and LF that some clients take for the end of a line; in JSON they only stand in strings. */
const BREAKS = /[\u0085\u2028\u2029]/g

function unbroken(json: string): string {
  return onOneLine(json).replace(
    BREAKS,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Longer texts go out in several deltas: some clients copy all of an event with each packet of it. */
const MOST_PIECE = 65_536

/** A JSON string as the JSON strings of its parts, none of which ends within a character; as it is, when it is short. */
export function* pieces(json: string): Generator<string> {
  if (json.length <= MOST_PIECE) return yield json
  const text: unknown = JSON.parse(json)
  if (typeof text !== 'string') return
  for (let from = 0; from < text.length; ) {
    const to = from + MOST_PIECE
    const end = isHighSurrogate(text.charCodeAt(to - 1)) ? to + 1 : to
    yield JSON.stringify(text.slice(from, end))
    from = end
  }
}

const isHighSurrogate = (code: number): boolean => code >= 0xd800 && code <= 0xdbff
