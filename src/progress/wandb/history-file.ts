import { createHash } from 'node:crypto'
import { StateError } from '../../errors.ts'
import { readError } from '../../state/disk-error.ts'
import type { FileSystem } from '../../state/file-system.ts'
import { type Line, readLines } from '../../state/json-lines.ts'
import { systemCode } from '../../util/system-code.ts'
import { EVENT_KIND, type HistoryRow, readRow } from '../history-row.ts'

/** Lines of a history file, and where the one after them begins. */
export interface HistoryPiece {
  readonly lines: readonly string[]
  readonly endBytes: number
}

/** `index`: of its line in the file. `endBytes`: where the next line begins. */
export interface PlacedRow {
  readonly row: HistoryRow
  readonly index: number
  readonly endBytes: number
}

export interface PieceLimits {
  readonly lines: number
  readonly bytes: number
}

/** How a task's last run ended, as far as its history says. */
export type RunEnd =
  | { readonly kind: 'finished'; readonly outcome: string }
  | { readonly kind: 'failed' }
  /** It was killed, or goes on right now. */
  | { readonly kind: 'unknown' }

const NEWLINE = 0x0a
const TAIL_BYTES = 64 * 1024

/** Reads `<name>_progress.jsonl`, which another process appends to. Throws StateError `read_failed`. */
export class HistoryFile {
  readonly #fs: FileSystem
  readonly path: string

  constructor(fs: FileSystem, path: string) {
    this.#fs = fs
    this.path = path
  }

  /** Whole lines from a byte on, up to another; at least one when there is one, however long it is. */
  async read(fromBytes: number, toBytes: number, limits: PieceLimits): Promise<HistoryPiece> {
    const lines: string[] = []
    let endBytes = fromBytes
    const range = { start: fromBytes, end: toBytes, chunkBytes: limits.bytes }
    for await (const { text, bytes, complete } of this.#lines(range)) {
      const isFull = lines.length >= limits.lines || endBytes + bytes - fromBytes > limits.bytes
      if (!complete || (isFull && lines.length > 0)) break
      lines.push(text)
      endBytes += bytes
    }
    return { lines, endBytes }
  }

  /** Where a line begins, in bytes; the end of what may be read when there are not so many whole ones. */
  async offsetOf(line: number, toBytes: number): Promise<number> {
    let [count, offset] = [0, 0]
    for await (const one of this.#lines({ end: toBytes })) {
      if (count >= line || !one.complete) break
      offset = one.offset + one.bytes
      count++
    }
    return offset
  }

  /** Where the last whole line ends that begins between two bytes, the first of which is the start of a line. */
  async endOfLines(fromBytes: number, toBytes: number): Promise<number> {
    let end = fromBytes
    if (toBytes <= fromBytes) return end
    for await (const { offset, bytes, complete } of this.#lines({ start: fromBytes, end: toBytes }))
      if (complete) end = offset + bytes
    return end
  }

  /** Number of whole lines between two bytes. */
  async count(fromBytes: number, toBytes: number): Promise<number> {
    let count = 0
    if (toBytes <= fromBytes) return 0
    for await (const { complete } of this.#lines({ start: fromBytes, end: toBytes })) if (complete) count++
    return count
  }

  /** The rows of the whole lines up to a byte; what is no row is left out. */
  async *rows(toBytes: number): AsyncGenerator<PlacedRow> {
    let index = 0
    for await (const { text, offset, bytes, complete } of this.#lines({ end: toBytes })) {
      const row = complete ? readRow(text) : undefined
      if (row) yield { row, index, endBytes: offset + bytes }
      index++
    }
  }

  /** Hash of the first line; undefined when there is no whole one. */
  async firstLine(): Promise<string | undefined> {
    for await (const { text, complete } of this.#lines({ chunkBytes: 4096 }))
      return complete ? createHash('sha256').update(text).digest('hex').slice(0, 32) : undefined
    return undefined
  }

  /** Whether a line ends right before this byte. */
  async endsLineAt(bytes: number): Promise<boolean> {
    if (bytes === 0) return true
    const last = await this.#orReadError(async () => {
      if (((await this.#fs.size(this.path)) ?? 0) < bytes) return undefined
      const file = await this.#fs.open(this.path, 'read')
      try {
        const buffer = new Uint8Array(1)
        return (await file.read(buffer, bytes - 1)) === 1 ? buffer[0] : undefined
      } finally {
        await file.close()
      }
    })
    return last === NEWLINE
  }

  /** Size in bytes; 0 when there is no file. */
  size(): Promise<number> {
    return this.#orReadError(async () => (await this.#fs.size(this.path)) ?? 0)
  }

  /** Makes durable what is in the file now, and resolves with how much that is. Also throws StateError `fsync_failed`. */
  async sync(): Promise<number> {
    if ((await this.size()) === 0) return 0
    return this.#orReadError(async () => {
      const file = await this.#fs.open(this.path, 'read')
      try {
        const size = await file.size()
        await file.sync()
        return size
      } finally {
        await file.close()
      }
    })
  }

  /** What the last line says of how the run ended. */
  async runEnd(toBytes: number): Promise<RunEnd> {
    const row = await this.#lastRow(toBytes)
    const kind = row?.[EVENT_KIND]
    if (kind === 'run-failed') return { kind: 'failed' }
    if (kind === 'run-finished') return { kind: 'finished', outcome: `${row?.['Event/outcome'] ?? ''}` }
    return { kind: 'unknown' }
  }

  async #lastRow(toBytes: number): Promise<HistoryRow | undefined> {
    let last: string | undefined
    const start = Math.max(0, toBytes - TAIL_BYTES)
    for await (const { text, complete } of this.#lines({ start, end: toBytes })) if (complete) last = text
    return last === undefined ? undefined : readRow(last)
  }

  async *#lines(range: { start?: number; end?: number; chunkBytes?: number }): AsyncGenerator<Line> {
    try {
      yield* readLines(this.#fs, this.path, range)
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw readError(this.path, error)
    }
  }

  async #orReadError<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      if (error instanceof StateError) throw error
      throw readError(this.path, error)
    }
  }
}
