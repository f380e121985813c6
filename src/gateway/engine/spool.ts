import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

const PIECE_BYTES = 256 * 1024
const NEWLINE = 10
const PREFIX = 'nightshift-gateway-spool-'
const OLD_MS = 2 * 86_400_000

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
  readonly #prepare: () => Promise<void>
  #opened: Promise<void> | undefined
  #count = 0

  /** `prepare`: done once, before the first file. */
  constructor(folder: string, prepare: () => Promise<void> = () => Promise.resolve()) {
    this.#folder = folder
    this.#prepare = prepare
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
    await this.#open()
    await mkdir(this.#folder, { recursive: true, mode: 0o700 })
    this.#count++
    return join(this.#folder, `${this.#count}.jsonl`)
  }

  /** What failed is tried again for the next file. */
  #open(): Promise<void> {
    this.#opened ??= this.close()
      .then(this.#prepare)
      .catch((error: unknown) => {
        this.#opened = undefined
        throw error
      })
    return this.#opened
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

/**
 * A spool in a folder for temporary files, where processes that were killed may have left theirs: those that nothing came
 * into for days are removed.
 */
export const temporarySpool = (parent: string, process: string): Spool =>
  // Other users' folders cannot be removed, nor looked into perhaps: that is no reason not to work.
  new Spool(join(parent, `${PREFIX}${process.replace(/[^\w-]/g, '_')}`), () =>
    removeOld(parent).catch(() => undefined),
  )

async function removeOld(parent: string): Promise<void> {
  // By the clock of the file system, which need not be the gateway's.
  const before = Date.now() - OLD_MS
  for (const name of await readdir(parent)) {
    if (!name.startsWith(PREFIX)) continue
    const path = join(parent, name)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: before }))
    if (mtimeMs < before) await rm(path, { recursive: true, force: true }).catch(() => undefined)
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
