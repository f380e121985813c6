import { createReadStream } from 'node:fs'
import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'

const PIECE_BYTES = 256 * 1024
const NEWLINE = 10

/** A file of lines that was just written. */
export interface SpoolFile {
  readonly path: string
  readonly lines: number
  readonly bytes: number
}

/**
 * A folder for files that are on their way to or from the server, of this process alone. Nothing in it has to last: what
 * an earlier process left there is removed.
 */
export class Spool {
  readonly #folder: string
  #opened: Promise<void> | undefined
  #count = 0

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Writes lines, each with a line break, without holding them all in memory. */
  async write(lines: AsyncIterable<string>): Promise<SpoolFile> {
    const path = await this.#newPath()
    let count = 0
    let bytes = 0
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      for await (const line of lines) {
        const piece = Buffer.from(`${line}\n`)
        count++
        bytes += piece.length
        yield piece
      }
    }
    await this.#fill(path, pieces())
    return { path, lines: count, bytes }
  }

  /** Writes bytes as they come. Gives the path. */
  async receive(pieces: AsyncIterable<Uint8Array>): Promise<string> {
    const path = await this.#newPath()
    await this.#fill(path, pieces)
    return path
  }

  async remove(path: string): Promise<void> {
    await rm(path, { force: true })
  }

  /** Removes the folder and all in it. */
  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
  }

  async #newPath(): Promise<string> {
    this.#opened ??= this.#open()
    await this.#opened
    this.#count++
    return join(this.#folder, `${this.#count}.jsonl`)
  }

  async #open(): Promise<void> {
    await this.close()
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
  }

  /** A file that could not be filled is not left behind. */
  async #fill(path: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const file = await open(path, 'w', 0o600)
    try {
      let gathered: Uint8Array[] = []
      let bytes = 0
      for await (const piece of pieces) {
        gathered.push(piece)
        bytes += piece.length
        if (bytes < PIECE_BYTES) continue
        await file.writeFile(Buffer.concat(gathered))
        gathered = []
        bytes = 0
      }
      await file.writeFile(Buffer.concat(gathered))
      await file.close()
    } catch (error) {
      await file.close()
      await this.remove(path)
      throw error
    }
  }
}

/** The lines of a file one by one, without their line breaks and without those that are blank. */
export async function* spooledLines(path: string): AsyncGenerator<string> {
  let rest: Uint8Array[] = []
  for await (const chunk of createReadStream(path, { highWaterMark: PIECE_BYTES })) {
    const piece: Uint8Array = chunk
    let start = 0
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, start)) {
      yield* textOf([...rest, piece.subarray(start, end)])
      rest = []
      start = end + 1
    }
    if (start < piece.length) rest.push(piece.subarray(start))
  }
  yield* textOf(rest)
}

function* textOf(pieces: readonly Uint8Array[]): Generator<string> {
  const text = Buffer.concat(pieces).toString('utf8').trim()
  if (text !== '') yield text
}
