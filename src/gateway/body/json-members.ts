/**
 * Finding the parts of a JSON text without changing a byte of it. Everything here takes a text that `JSON.parse` has
 * taken before, and looks at each character a bounded number of times, whatever is in it.
 */

/** A member of an object in a JSON text. Places are those of the text. */
export interface Member {
  /** With its escapes decoded: what `JSON.parse` calls it. */
  readonly name: string
  /** Of the name's opening quote. */
  readonly start: number
  readonly valueStart: number
  /** After the value, which is the end of the member. */
  readonly end: number
}

const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** The members of the object that a JSON text is, in their order; of those with the same name, all. */
export function membersOf(json: string): Member[] {
  const members: Member[] = []
  let start = afterSpace(json, afterSpace(json, 0) + 1)
  while (json.charCodeAt(start) === QUOTE) {
    const nameEnd = stringEnd(json, start)
    const valueStart = afterSpace(json, afterSpace(json, nameEnd) + 1)
    const end = valueEnd(json, valueStart)
    members.push({ name: decoded(json.slice(start + 1, nameEnd - 1)), start, valueStart, end })
    start = nextStart(json, end)
  }
  return members
}

/** The JSON texts of an object's values; of members with the same name the last counts, as for `JSON.parse`. */
export const valuesOf = (json: string): Map<string, string> =>
  new Map(membersOf(json).map(({ name, valueStart, end }) => [name, json.slice(valueStart, end)]))

/** The JSON texts of the items of the list that a JSON text is. */
export function itemsOf(json: string): string[] {
  const items: string[] = []
  let start = afterSpace(json, afterSpace(json, 0) + 1)
  while (start < json.length && json.charCodeAt(start) !== CLOSE_LIST) {
    const end = valueEnd(json, start)
    items.push(json.slice(start, end))
    start = nextStart(json, end)
  }
  return items
}

/** The text without the members of these names, and without one comma for each. */
export function cutMembers(json: string, names: ReadonlySet<string>): string {
  const members = membersOf(json)
  if (!members.some(({ name }) => names.has(name))) return json
  const first = members.find(({ name }) => !names.has(name))
  // What is cut before the first that stays takes the comma after it along, all else the one before it.
  const pieces = [json.slice(0, members[0]?.start)]
  let from = first?.start ?? members.at(-1)?.end
  let previous: Member | undefined
  for (const member of members) {
    if (names.has(member.name) && first && member.start > first.start) {
      pieces.push(json.slice(from, previous?.end))
      from = member.end
    }
    previous = member
  }
  pieces.push(json.slice(from))
  return pieces.join('')
}

/** The text with the member's value set where it stands (everywhere, if there are several), or with it added at the end. */
export function setMember(json: string, name: string, value: string): string {
  const members = membersOf(json)
  const pieces: string[] = []
  let from = 0
  for (const member of members)
    if (member.name === name) {
      pieces.push(json.slice(from, member.valueStart), value)
      from = member.end
    }
  if (from > 0) return pieces.join('') + json.slice(from)
  const last = members.at(-1)?.end
  const at = last ?? afterSpace(json, 0) + 1
  const comma = last === undefined ? '' : ','
  return `${json.slice(0, at)}${comma}${JSON.stringify(name)}:${value}${json.slice(at)}`
}

/** After the string that begins at a quote. */
export function stringEnd(json: string, start: number): number {
  let quote = json.indexOf('"', start + 1)
  while (quote >= 0 && isEscaped(json, quote)) quote = json.indexOf('"', quote + 1)
  return quote < 0 ? json.length : quote + 1
}

function isEscaped(json: string, at: number): boolean {
  let before = at - 1
  while (json.charCodeAt(before) === BACKSLASH) before--
  return (at - before) % 2 === 0
}

function valueEnd(json: string, start: number): number {
  const first = json.charCodeAt(start)
  if (first === QUOTE) return stringEnd(json, start)
  return first === OPEN_OBJECT || first === OPEN_LIST ? nestedEnd(json, start) : wordEnd(json, start)
}

function nestedEnd(json: string, start: number): number {
  let depth = 0
  for (let at = start; at < json.length; ) {
    const code = json.charCodeAt(at)
    if (code === QUOTE) {
      at = stringEnd(json, at)
      continue
    }
    at++
    if (code === OPEN_OBJECT || code === OPEN_LIST) depth++
    else if ((code === CLOSE_OBJECT || code === CLOSE_LIST) && --depth === 0) return at
  }
  return json.length
}

/** After a number, `true`, `false` or `null`. */
function wordEnd(json: string, start: number): number {
  for (let at = start; at < json.length; at++) {
    const code = json.charCodeAt(at)
    if (code === COMMA || code === CLOSE_OBJECT || code === CLOSE_LIST || isSpace(code)) return at
  }
  return json.length
}

/** Where the next member or item begins after the end of one; where the object or list closes after the last. */
function nextStart(json: string, end: number): number {
  const at = afterSpace(json, end)
  return json.charCodeAt(at) === COMMA ? afterSpace(json, at + 1) : at
}

const startsWith = (json: string | undefined, code: number): json is string =>
  json !== undefined && json.charCodeAt(afterSpace(json, 0)) === code

/** What kind of value a JSON text is, by its first character. */
export const isObjectText = (json: string | undefined): json is string => startsWith(json, OPEN_OBJECT)
export const isListText = (json: string | undefined): json is string => startsWith(json, OPEN_LIST)
export const isStringText = (json: string | undefined): json is string => startsWith(json, QUOTE)

function afterSpace(json: string, start: number): number {
  let at = start
  while (isSpace(json.charCodeAt(at))) at++
  return at
}

/** The four characters that may stand between the parts of a JSON text. */
export const isSpace = (code: number): boolean =>
  code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09

function decoded(name: string): string {
  if (!name.includes('\\')) return name
  const text: unknown = JSON.parse(`"${name}"`)
  return String(text)
}
