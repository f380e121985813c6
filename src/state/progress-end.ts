import { z } from 'zod'
import { parsedJson } from '../util/parsed-json.ts'
import type { OpenFile } from './file-system.ts'

/** Where the sound part of a history ends. */
export interface ProgressEnd {
  /** Of its last row; -1 without one. */
  readonly step: number
  /** Of its last row, in seconds; 0 without one. */
  readonly runtime: number
  readonly bytes: number
}

const NO_ROWS: ProgressEnd = { step: -1, runtime: 0, bytes: 0 }
const NEWLINE = 0x0a

const rowSchema = z.looseObject({
  _step: z.int().nonnegative(),
  _timestamp: z.number(),
  _runtime: z.number().nonnegative(),
})

/**
 * Reads the end of a history, never the whole: so many bytes, and more only while they hold no whole row. What a kill
 * or a power loss has damaged is the last thing that was written, which is no longer than half of that; from the first
 * line on that is no row, or is not numbered on from the one before, nothing counts.
 */
export async function readEnd(file: OpenFile, size: number, tailBytes: number): Promise<ProgressEnd> {
  for (let length = tailBytes; ; length *= 2) {
    const start = Math.max(0, size - length)
    const end = endIn(await readBytes(file, start, size), start)
    if (end) return end
    if (start === 0) return NO_ROWS
  }
}

async function readBytes(file: OpenFile, start: number, end: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(end - start)
  return buffer.subarray(0, await file.read(buffer, start))
}

/** The end of the rows in a piece of the file; undefined when there is none in it. */
function endIn(bytes: Buffer, start: number): ProgressEnd | undefined {
  let found: ProgressEnd | undefined
  // A piece from the middle begins within a line.
  let from = start === 0 ? 0 : bytes.indexOf(NEWLINE) + 1
  for (let newline = bytes.indexOf(NEWLINE, from); newline >= 0; newline = bytes.indexOf(NEWLINE, from)) {
    const row = rowIn(bytes.toString('utf8', from, newline))
    if (!row || (found && row._step !== found.step + 1)) break
    from = newline + 1
    found = { step: row._step, runtime: row._runtime, bytes: start + from }
  }
  return found
}

/** Undefined for a line that was torn, or never came to the disk. */
const rowIn = (text: string): z.infer<typeof rowSchema> | undefined =>
  rowSchema.safeParse(parsedJson(text)).data
