import { isEmptied } from './batch-faults.ts'
import type { Files } from './files.ts'
import { asObject, asString, parseJson } from './json.ts'
import type { Ending } from './lifecycle.ts'
import { rendered } from './line-marks.ts'
import { linesOf } from './lines.ts'
import type { BatchRecord, Totals } from './records.ts'
import { readLine, unexecutedLine } from './result-lines.ts'
import type { Storage } from './storage.ts'

export interface Closing {
  readonly batch: BatchRecord
  readonly ending: Ending
  readonly kept: Totals
  readonly at: number
}

interface Parts {
  readonly storage: Storage
  readonly files: Files
}

const FLUSH_LINES = 1000

/**
 * Turns what is kept of a batch's answers into its output and error file; requests without an answer get a line in
 * the error file. A file that would be empty is not made. May be repeated after a crash: the outcome is the same.
 * Gives the totals as the files have them.
 */
export async function closeBatch({ batch, ending, kept, at }: Closing, parts: Parts): Promise<Totals> {
  await cut(parts.storage, batch.outputFileId, kept.outputBytes)
  await cut(parts.storage, batch.errorFileId, kept.errorBytes)
  const isCutShort = ending === 'expired' || ending === 'cancelled'
  if (isCutShort && batch.total !== undefined) await addUnexecuted(batch, ending, parts.storage)
  const outputBytes = await publish(batch.outputFileId, 'output', { batch, at, parts })
  const errorBytes = await publish(batch.errorFileId, 'error', { batch, at, parts })
  return { ...kept, outputBytes, errorBytes }
}

async function cut(storage: Storage, name: string, size: number): Promise<void> {
  const blob = await storage.openBlob(name)
  await blob.truncate(size)
  await blob.close()
}

async function addUnexecuted(
  batch: BatchRecord,
  ending: 'expired' | 'cancelled',
  storage: Storage,
): Promise<void> {
  const answered = await answeredIds(batch, storage)
  const errors = await storage.openBlob(batch.errorFileId)
  let lines: string[] = []
  const flush = async (): Promise<void> => {
    await errors.append(lines.map((line) => `${line}\n`).join(''))
    lines = []
  }
  for await (const texts of linesOf(storage.readBlob(batch.inputFileId))) {
    for (const text of texts) {
      const id = asString(asObject(parseJson(text)).custom_id)
      if (id !== undefined && !answered.has(id)) lines.push(unexecutedLine(id, ending))
    }
    if (lines.length >= FLUSH_LINES) await flush()
  }
  await flush()
  await errors.close()
}

async function answeredIds(batch: BatchRecord, storage: Storage): Promise<ReadonlySet<string>> {
  const ids = new Set<string>()
  for (const name of [batch.outputFileId, batch.errorFileId]) {
    for await (const texts of linesOf(storage.readBlob(name))) {
      for (const text of texts) {
        const line = readLine(text)
        if (line) ids.add(line.customId)
      }
    }
  }
  return ids
}

interface Publication {
  readonly batch: BatchRecord
  readonly at: number
  readonly parts: Parts
}

/** Gives the size of the file. */
async function publish(
  id: string,
  kind: 'output' | 'error',
  { batch, at, parts }: Publication,
): Promise<number> {
  const emptied = isEmptied(batch, kind)
  const bytes = emptied ? 0 : await sizeOf(id, batch, parts.storage)
  if (bytes === 0) await parts.storage.removeBlob(id)
  if (bytes === 0 && !emptied) return 0
  await parts.files.register({
    id,
    filename: `${batch.id}_${kind}.jsonl`,
    purpose: 'batch_output',
    bytes,
    createdMs: at,
    expiresAfterSeconds: batch.outputExpiresAfterSeconds,
    marked: batch.marked,
  })
  return bytes
}

/** How many bytes a reader will get. */
async function sizeOf(id: string, { marked }: BatchRecord, storage: Storage): Promise<number> {
  const blob = await storage.openBlob(id)
  const { size } = blob
  await blob.close()
  if (!marked) return size
  let bytes = 0
  for await (const lines of linesOf(storage.readBlob(id))) {
    for (const line of lines) bytes += Buffer.byteLength(line === '' ? '' : rendered(line))
  }
  return bytes
}
