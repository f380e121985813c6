import { asObject, parseJson } from './json.ts'
import { LINE_FORMS, type LineForm } from './scenario-reply.ts'

/**
 * Lines are stored as they would be without faults, with marks at their end that say what is wrong with them; they
 * take their form when the file is read. So a batch that is gone on with, cut or expired finds whole lines. `copy`
 * marks a line that stands in the other file, too.
 */
export type Mark = LineForm | 'copy'

const MARKS: readonly Mark[] = [...LINE_FORMS, 'copy']
const SUFFIX = /,"emulator_marks":(\["[a-z",-]+\])\}$/

/** The line with marks that `unmarked` finds again. */
export const markedLine = (line: string, marks: readonly Mark[]): string =>
  marks.length === 0 ? line : `${line.slice(0, -1)},"emulator_marks":${JSON.stringify(marks)}}`

export interface Unmarked {
  readonly line: string
  readonly marks: readonly Mark[]
}

export function unmarked(stored: string): Unmarked {
  const match = SUFFIX.exec(stored)
  if (!match) return { line: stored, marks: [] }
  const names = parseJson(match[1] ?? '')
  const marks = MARKS.filter((mark) => Array.isArray(names) && names.includes(mark))
  return { line: `${stored.slice(0, match.index)}}`, marks }
}

/** What a stored line is in the file that is read: its text with its line end, or several, or nothing. */
export function rendered(stored: string): string {
  const { line, marks } = unmarked(stored)
  const has = (mark: Mark): boolean => marks.includes(mark)
  if (has('missing')) return ''
  const end = has('crlf') ? '\r\n' : '\n'
  const text = has('not-json') ? half(line) : changed(line, marks)
  const before = has('blank') ? `${end}   ${end}` : ''
  const after = has('stranger') ? strange(line) + end : ''
  return before + (text + end).repeat(has('duplicated') ? 2 : 1) + after
}

const half = (line: string): string => line.slice(0, Math.ceil(line.length / 2))

function changed(line: string, marks: readonly Mark[]): string {
  const named = marks.includes('unknown-id') ? strange(line) : line
  if (!marks.includes('status-text')) return named
  const value = asObject(parseJson(named))
  const response = asObject(value.response)
  return JSON.stringify({ ...value, response: { ...response, status_code: String(response.status_code) } })
}

/** The line under an id that nobody sent. */
function strange(line: string): string {
  const value = asObject(parseJson(line))
  return JSON.stringify({ ...value, custom_id: `unknown-${String(value.custom_id)}` })
}
