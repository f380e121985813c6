import { StateError } from '../errors.ts'
import type { FileSystem, OpenFile } from './file-system.ts'
import { readBlocks } from './json-lines.ts'
import { decodeLine, hasValidChecksum, holdsValidLine, type LedgerFields } from './ledger-line.ts'
import { LruCache } from './lru-cache.ts'

/** A committed line and where it stands in the ledger. */
export interface LedgerLine extends LedgerFields {
  readonly offset: number
  /** Its length, newline included. */
  readonly bytes: number
}

/** How far a ledger is good. `tornBytes` follow the last valid line: what a crash left of an unfinished commit. */
export interface LedgerExtent {
  /** Of the last valid line; 0 when there is none. */
  readonly seq: number
  readonly validBytes: number
  readonly tornBytes: number
}

/** Where to go on reading a ledger of which the beginning is known: the extent of that beginning. */
export interface LedgerStart {
  readonly seq: number
  readonly offset: number
}

const NEWLINE = 0x0a

/**
 * Reads a ledger from disk in one pass and hands every line to `onLine`, in order. Changes nothing. What follows
 * the last valid line is reported as torn. Throws StateError `ledger_corrupt` for damage that a crash cannot
 * explain, the system's error when the file cannot be read, and whatever `onLine` throws.
 */
export async function readLedger(
  fs: FileSystem,
  path: string,
  options: { readonly onLine?: ((line: LedgerLine) => void) | undefined; readonly start?: LedgerStart } = {},
): Promise<LedgerExtent> {
  const scan = new LedgerScan(path, options.onLine ?? (() => {}), options.start ?? { seq: 0, offset: 0 })
  for await (const { bytes, offset } of readBlocks(fs, path, { start: options.start?.offset })) {
    for (let from = 0; from < bytes.length; ) {
      const newline = bytes.indexOf(NEWLINE, from)
      const stop = newline < 0 ? bytes.length : newline
      const next = newline < 0 ? stop : stop + 1
      scan.take(bytes.subarray(from, stop), {
        offset: offset + from,
        bytes: next - from,
        ended: newline >= 0,
      })
      from = next
    }
  }
  return scan.finish()
}

interface Place {
  readonly offset: number
  readonly bytes: number
  readonly ended: boolean
}

/** The rules of a ledger, applied line by line. Valid lines, then perhaps damage to the end of the file. */
class LedgerScan {
  readonly #path: string
  readonly #onLine: (line: LedgerLine) => void
  #seq: number
  #validEnd: number
  #end: number
  #lineNumber: number
  #damagedLine: number | undefined

  constructor(path: string, onLine: (line: LedgerLine) => void, start: LedgerStart) {
    this.#path = path
    this.#onLine = onLine
    this.#seq = start.seq
    this.#validEnd = start.offset
    this.#end = start.offset
    this.#lineNumber = start.seq
  }

  take(raw: Buffer, place: Place): void {
    this.#lineNumber += 1
    this.#end = place.offset + place.bytes
    if (this.#damagedLine !== undefined) this.#afterDamage(raw, this.#damagedLine)
    else if (place.ended && hasValidChecksum(raw)) this.#accept(raw, place)
    else this.#damage(raw)
  }

  finish(): LedgerExtent {
    if (this.#validEnd === 0 && this.#damagedLine !== undefined && this.#lineNumber > 1)
      throw this.#corrupt(1, `none of the file's ${this.#lineNumber} lines is valid, so this is no ledger`)
    return { seq: this.#seq, validBytes: this.#validEnd, tornBytes: this.#end - this.#validEnd }
  }

  #accept(raw: Buffer, place: Place): void {
    const fields = decodeLine(raw)
    if (!fields) throw this.#corrupt(this.#lineNumber, 'its checksum is right but it is no commit')
    if (fields.seq !== this.#seq + 1)
      throw this.#corrupt(this.#lineNumber, `it has seq ${fields.seq} where ${this.#seq + 1} must come`)
    this.#onLine({ ...fields, offset: place.offset, bytes: place.bytes })
    this.#seq = fields.seq
    this.#validEnd = this.#end
  }

  #damage(raw: Buffer): void {
    this.#damagedLine = this.#lineNumber
    // The line itself may be valid but for its newline: it was never acknowledged. Another one within it was.
    if (holdsValidLine(raw.subarray(1))) throw this.#corrupt(this.#lineNumber, 'a valid one is glued to it')
  }

  #afterDamage(raw: Buffer, damagedLine: number): void {
    if (holdsValidLine(raw)) throw this.#corrupt(damagedLine, `line ${this.#lineNumber} after it is valid`)
  }

  #corrupt(line: number, why: string): StateError {
    const message =
      `${this.#path} is corrupt: line ${line} is not a valid commit, and ${why}. A crash cannot do that; the file was ` +
      'edited, or the disk is failing. Nothing was changed. Restore the ledger and its side files from a copy.'
    return new StateError('ledger_corrupt', message)
  }
}

const FIRST_READ_BYTES = 64 * 1024
/** Bytes of ledger text whose parsed lines are kept. */
const CACHE_BYTES = 16 << 20

/** Fetches single lines of a ledger by offset; keeps those used last, up to `cacheBytes` (default 16 MiB). */
export class LedgerReader {
  readonly #file: OpenFile
  readonly #path: string
  readonly #cache: LruCache<number, LedgerLine>

  constructor(file: OpenFile, path: string, options: { readonly cacheBytes?: number } = {}) {
    this.#file = file
    this.#path = path
    this.#cache = new LruCache(options.cacheBytes ?? CACHE_BYTES)
  }

  /** The line that starts at `offset`. Throws StateError `ledger_corrupt` when no valid line starts there. */
  async readLineAt(offset: number): Promise<LedgerLine> {
    const cached = this.#cache.get(offset)
    if (cached) return cached
    const raw = await this.#readRaw(offset)
    const fields = raw && hasValidChecksum(raw) ? decodeLine(raw) : undefined
    if (!raw || !fields) throw this.#noLine(offset)
    const line = { ...fields, offset, bytes: raw.length + 1 }
    this.#cache.set(offset, line, line.bytes)
    return line
  }

  async #readRaw(offset: number): Promise<Buffer | undefined> {
    for (let size = FIRST_READ_BYTES; ; size *= 4) {
      const buffer = Buffer.allocUnsafe(size)
      const got = await this.#file.read(buffer, offset)
      const newline = buffer.subarray(0, got).indexOf(NEWLINE)
      if (newline >= 0) return buffer.subarray(0, newline)
      if (got < size) return undefined
    }
  }

  #noLine(offset: number): StateError {
    const message =
      `${this.#path} has no valid commit at byte ${offset}: it was changed since it was read. ` +
      'Nothing was written. Restore it from a copy.'
    return new StateError('ledger_corrupt', message)
  }
}
