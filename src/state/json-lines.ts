import { StateError } from '../errors.ts'
import type { FileSystem, OpenFile } from './file-system.ts'

const NEWLINE = 0x0a
const RETURN = 0x0d
const DEFAULT_CHUNK_BYTES = 1 << 20

/** One line of a file. `offset + bytes` is the offset of the next line. */
export interface Line {
  /** Without its line ending (`\n` or `\r\n`). */
  readonly text: string
  /** Byte position of its first character. */
  readonly offset: number
  /** Length in bytes, its line ending included. */
  readonly bytes: number
  /** False for a last line that has no line ending. */
  readonly complete: boolean
}

export interface ReadRange {
  /** Byte offset of the start of a line. Default: 0. */
  readonly start?: number | undefined
  /** Byte offset to stop before. Default: the end of the file. */
  readonly end?: number | undefined
  /** How much to read at a time. Default: 1 MiB. */
  readonly chunkBytes?: number | undefined
}

/** Bytes of a file that hold whole lines; only the last block of a file may lack its final newline. */
export interface LineBlock {
  readonly bytes: Buffer
  readonly offset: number
}

/** Reads a file in blocks of whole lines. Memory: one chunk, or twice the longest line if that is more. */
export async function* readBlocks(
  fs: FileSystem,
  path: string,
  range: ReadRange = {},
): AsyncGenerator<LineBlock> {
  const file = await fs.open(path, 'read')
  try {
    yield* blocksOf(file, range)
  } finally {
    await file.close()
  }
}

async function* blocksOf(file: OpenFile, range: ReadRange): AsyncGenerator<LineBlock> {
  const end = range.end ?? Number.POSITIVE_INFINITY
  const chunkBytes = range.chunkBytes ?? DEFAULT_CHUNK_BYTES
  let position = range.start ?? 0
  let carry: Buffer = Buffer.alloc(0)
  while (position < end) {
    // A line longer than the chunk doubles the next read, so that long lines do not cost quadratic copying.
    const wanted = Math.min(Math.max(chunkBytes, carry.length), end - position)
    const buffer = Buffer.allocUnsafe(carry.length + wanted)
    carry.copy(buffer)
    const got = await file.read(buffer.subarray(carry.length), position)
    const filled = buffer.subarray(0, carry.length + got)
    const offset = position - carry.length
    const wholeEnd = filled.lastIndexOf(NEWLINE) + 1
    if (wholeEnd > 0) yield { bytes: filled.subarray(0, wholeEnd), offset }
    carry = filled.subarray(wholeEnd)
    position += got
    if (got < wanted) break
  }
  if (carry.length > 0) yield { bytes: carry, offset: position - carry.length }
}

function linesOf({ bytes, offset }: LineBlock): Line[] {
  const lines: Line[] = []
  for (let from = 0; from < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, from)
    const complete = newline >= 0
    const next = complete ? newline + 1 : bytes.length
    let textEnd = complete ? newline : next
    if (complete && textEnd > from && bytes[textEnd - 1] === RETURN) textEnd -= 1
    const text = bytes.toString('utf8', from, textEnd)
    lines.push({ text, offset: offset + from, bytes: next - from, complete })
    from = next
  }
  return lines
}

/**
 * The lines of a file, an array per chunk read: for files of millions of lines. Only `\n` (or `\r\n`) ends a
 * line. Empty lines are included. Throws the system's error (ENOENT, ...) when the file cannot be read.
 */
export async function* readLineChunks(
  fs: FileSystem,
  path: string,
  range: ReadRange = {},
): AsyncGenerator<readonly Line[]> {
  for await (const block of readBlocks(fs, path, range)) yield linesOf(block)
}

/** The lines of a file one by one; see `readLineChunks`. */
export async function* readLines(fs: FileSystem, path: string, range: ReadRange = {}): AsyncGenerator<Line> {
  for await (const lines of readLineChunks(fs, path, range)) yield* lines
}

/** A piece of a file, such as a line. */
export interface Piece {
  readonly offset: number
  readonly bytes: number
}

export interface WindowReaderOptions {
  /** Read at once when reads follow each other. Default: 1 MiB. */
  readonly windowBytes?: number | undefined
}

/** A far read fetches this much at least: neighbours are likely next, a whole window is not. */
const FAR_READ_BYTES = 16 * 1024
/** Pieces that are no further apart are read as one: a system call costs more than these bytes. */
const GAP_BYTES = 4 * 1024

interface Run {
  readonly start: number
  readonly content: Buffer
}

/**
 * Reads pieces of one file by position. Keeps the bytes of the last reads, so that reads in about file order, or of
 * pieces that were announced, cost few system calls. Sees only what was in the file when it was read: meant for data
 * that never changes.
 */
export class WindowReader {
  readonly #file: OpenFile
  readonly #path: string
  readonly #windowBytes: number
  /** What is in memory, in file order. */
  #runs: readonly Run[] = []

  private constructor(file: OpenFile, path: string, options: WindowReaderOptions) {
    this.#file = file
    this.#path = path
    this.#windowBytes = options.windowBytes ?? DEFAULT_CHUNK_BYTES
  }

  /** Throws the system's error (ENOENT, ...) when the file cannot be opened. */
  static async open(fs: FileSystem, path: string, options: WindowReaderOptions = {}): Promise<WindowReader> {
    return new WindowReader(await fs.open(path, 'read'), path, options)
  }

  /** The text at `offset`, or undefined when it is not in memory: then use `read`. */
  readNow(offset: number, length: number): string | undefined {
    const run = this.#runs[lastStarting(this.#runs, offset)]
    if (!run) return undefined
    const from = offset - run.start
    return from + length > run.content.length ? undefined : run.content.toString('utf8', from, from + length)
  }

  /**
   * The text of `length` bytes at `offset`. `next`: pieces that will be wanted soon, in any order; a window's worth of
   * them is read along. Throws StateError `read_beyond_end` when the file is shorter.
   */
  async read(offset: number, length: number, next: Iterable<Piece> = []): Promise<string> {
    const cached = this.readNow(offset, length)
    if (cached !== undefined) return cached
    const announced = firstOf(next, this.#windowBytes - length)
    const bytes = announced.length > 0 ? length : Math.max(length, this.#reach(offset))
    const runs: Run[] = []
    for (const piece of joined([{ offset, bytes }, ...announced])) runs.push(await this.#run(piece))
    this.#runs = runs
    const text = this.readNow(offset, length)
    if (text === undefined) throw await this.#beyondEnd(offset, length)
    return text
  }

  async #run({ offset, bytes }: Piece): Promise<Run> {
    const buffer = Buffer.allocUnsafe(bytes)
    const got = await this.#file.read(buffer, offset)
    return { start: offset, content: buffer.subarray(0, got) }
  }

  #reach(offset: number): number {
    const last = this.#runs.at(-1) ?? { start: 0, content: Buffer.alloc(0) }
    const ahead = offset - last.start
    const near = ahead >= 0 && ahead <= last.content.length + this.#windowBytes
    return near ? this.#windowBytes : Math.min(FAR_READ_BYTES, this.#windowBytes)
  }

  async #beyondEnd(offset: number, length: number): Promise<StateError> {
    const message =
      `${this.#path} ends at byte ${await this.#file.size()}, but ${length} bytes at ${offset} were asked for: ` +
      'the file was shortened. Restore it from a copy.'
    return new StateError('read_beyond_end', message)
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** The last of the runs that begins at or before `offset`; -1 when there is none. */
function lastStarting(runs: readonly Run[], offset: number): number {
  let low = 0
  let high = runs.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((runs[middle]?.start ?? 0) <= offset) low = middle + 1
    else high = middle
  }
  return low - 1
}

function firstOf(pieces: Iterable<Piece>, room: number): Piece[] {
  const first: Piece[] = []
  let left = room
  for (const piece of pieces) {
    left -= piece.bytes
    if (left < 0) break
    first.push(piece)
  }
  return first
}

/** Pieces in file order, neighbours as one. */
function joined(pieces: readonly Piece[]): Piece[] {
  const runs: { offset: number; bytes: number }[] = []
  for (const { offset, bytes } of pieces.toSorted((a, b) => a.offset - b.offset)) {
    const last = runs.at(-1)
    if (!last || offset > last.offset + last.bytes + GAP_BYTES) runs.push({ offset, bytes })
    else last.bytes = Math.max(last.bytes, offset + bytes - last.offset)
  }
  return runs
}
