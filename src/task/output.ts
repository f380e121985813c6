import { TaskError } from '../errors.ts'
import type { OutputCursor, OutputPlacement } from '../requester/output-placement.ts'
import { jsonText } from '../util/json-text.ts'

/**
 * The form of a task's output. It decides only: the lines are written by the commit that records the verdict, so
 * that each accepted value is in the output exactly once. Every method but `project` is pure; `place` gives the
 * cursor it was given, or a new part's (`{ part: part + 1, lines: 0, bytes: 0 }`), and the caller adds the line.
 */
export interface TaskOutput extends OutputPlacement {
  /**
   * Makes the text of `<name>_output.json` from all accepted values, in order. Called after a run when the lines are
   * newer than that file. Absent: the lines are all there is.
   */
  project?(entries: AsyncIterable<unknown>): Promise<string>
}

const SINGLE_FILE = '_output.jsonl'

const encodeLine = (value: unknown, key: string): string =>
  `${jsonText(value, { what: `the output of ${JSON.stringify(key)}`, code: 'output_not_json' })}\n`

export interface JsonLinesOptions {
  /** Lines in one part, 1 or more. @default no limit */
  readonly maxEntries?: number
  /** Size of one part in bytes, 1 or more. @default no limit */
  readonly maxBytes?: number
}

/**
 * One line of JSON for each accepted value, in `<name>_output.jsonl`. With a limit the output is in parts from the
 * first line on: `<name>_output_part001.jsonl`, ... A part is never renamed, and a line never spans two. A single
 * line that is longer than `maxBytes` is a TaskError (`output_too_large`).
 */
export class JsonLinesOutput implements TaskOutput {
  readonly #maxEntries: number
  readonly #maxBytes: number
  readonly #inParts: boolean

  constructor({ maxEntries, maxBytes }: JsonLinesOptions = {}) {
    this.#maxEntries = partLimit('maxEntries', maxEntries)
    this.#maxBytes = partLimit('maxBytes', maxBytes)
    this.#inParts = maxEntries !== undefined || maxBytes !== undefined
  }

  encode(value: unknown, key: string): string {
    const line = encodeLine(value, key)
    const bytes = Buffer.byteLength(line)
    if (bytes <= this.#maxBytes) return line
    const message =
      `the output of ${JSON.stringify(key)} has ${bytes} bytes as a line, more than maxBytes allows ` +
      `(${this.#maxBytes}). Raise maxBytes, or write less.`
    throw new TaskError('output_too_large', message)
  }

  place(cursor: OutputCursor, bytes: number): OutputCursor {
    const fits = cursor.lines < this.#maxEntries && cursor.bytes + bytes <= this.#maxBytes
    return fits || cursor.lines === 0 ? cursor : { part: cursor.part + 1, lines: 0, bytes: 0 }
  }

  suffix(part: number): string {
    return this.#inParts ? `_output_part${String(part).padStart(3, '0')}.jsonl` : SINGLE_FILE
  }
}

function partLimit(name: string, value: number | undefined): number {
  if (value === undefined) return Number.POSITIVE_INFINITY
  if (Number.isSafeInteger(value) && value >= 1) return value
  throw new TaskError(
    'bad_output_option',
    `${name} is ${value}: give a whole number from 1, or leave it out for no limit`,
  )
}

/** Makes the one value of the output from all accepted values, in the order they were accepted. */
export type Projection<Entry> = (entries: AsyncIterable<Entry>) => unknown

/**
 * One JSON value, in `<name>_output.json`, made after each run from all that was accepted in all runs so far. The
 * accepted values themselves are kept as lines in `<name>_output.jsonl`. `project` may be async; whatever it needs
 * of the entries it keeps in memory. @default `{ entries: [...] }`
 *
 * `Entry` is what your `accept` is given, after a way through JSON; that is not checked.
 */
export class JsonOutput<Entry = unknown> implements TaskOutput {
  readonly #project: Projection<Entry>

  constructor(project: Projection<Entry> = listEntries) {
    this.#project = project
  }

  encode(value: unknown, key: string): string {
    return encodeLine(value, key)
  }

  place(cursor: OutputCursor): OutputCursor {
    return cursor
  }

  suffix(): string {
    return SINGLE_FILE
  }

  async project(entries: AsyncIterable<unknown>): Promise<string> {
    const value = await this.#project(entries as AsyncIterable<Entry>)
    return `${jsonText(value, { what: 'the projected output', code: 'output_not_json', indent: 2 })}\n`
  }
}

async function listEntries(source: AsyncIterable<unknown>): Promise<unknown> {
  const entries: unknown[] = []
  for await (const entry of source) entries.push(entry)
  return { entries }
}
