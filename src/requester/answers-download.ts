import { RemoteError } from '../errors.ts'
import type { Room } from '../state/disk-space.ts'
import { removeTemporaries, replaceFile } from '../state/replace-file.ts'
import type { Context } from './context.ts'
import { Interrupted, withPatience } from './patience.ts'

/** A batch that ended with something to download. */
export interface AnsweredBatch {
  readonly batchId: string
  readonly outputFileId?: string | undefined
  readonly errorFileId?: string | undefined
}

export const hasAnswers = ({ outputFileId, errorFileId }: Omit<AnsweredBatch, 'batchId'>): boolean =>
  outputFileId !== undefined || errorFileId !== undefined

/**
 * Puts all that a batch answered into one local file, whole or not at all, and durable. Throws what `gone` makes of a
 * remote file that the server does not know any more.
 */
export async function downloadAnswers(
  context: Context,
  batch: AnsweredBatch,
  path: string,
  gone: (remote: string, cause: RemoteError) => Error,
): Promise<void> {
  const { store } = context
  // A run that was killed in the middle of it may have left a part.
  store.guard()
  await removeTemporaries(store.fs, path)
  const what = `the results of batch ${batch.batchId}`
  const shorts = new Map<string, Short>()
  await withPatience(context, `downloading ${what}`, async () => {
    const sizes = await sizesOf(context, batch)
    const room = await store.space.reserve(sumOf(sizes), what)
    try {
      const parts = { room, gone, sizes, shorts }
      await replaceFile(store.fs, path, content(context, batch, parts), store.guard)
    } finally {
      room.release()
    }
  })
}

const filesOf = ({ outputFileId, errorFileId }: AnsweredBatch): string[] =>
  [outputFileId, errorFileId].filter((id) => id !== undefined)

/** Bytes of each file, as far as the server says. */
async function sizesOf({ api, stop }: Context, batch: AnsweredBatch): Promise<ReadonlyMap<string, number>> {
  const sizes = new Map<string, number>()
  for (const remote of filesOf(batch)) {
    try {
      sizes.set(remote, (await api.retrieveFile(remote, stop)).bytes ?? 0)
    } catch (error) {
      // Whether it is gone is for the download to find out.
      if (!(error instanceof RemoteError) || error.status !== 404) throw error
    }
  }
  return sizes
}

const sumOf = (sizes: ReadonlyMap<string, number>): number =>
  sizes.values().reduce((sum, bytes) => sum + bytes, 0)

interface DownloadParts {
  readonly room: Room
  readonly gone: (remote: string, cause: RemoteError) => Error
  readonly sizes: ReadonlyMap<string, number>
  /** Downloads of each file that were shorter than the server had said. */
  readonly shorts: Map<string, Short>
}

interface Short {
  readonly bytes: number
  /** How often in a row it was of that length. */
  readonly times: number
}

/** A server can be wrong about a size: a file that comes equally short so often is taken as it is. */
const MOST_SHORT = 3

/** Throws a RemoteError that is worth another try when a file ended early, though the connection did not say so. */
function mustBeWhole({ emit }: Context, remote: string, bytes: number, parts: DownloadParts): void {
  const told = parts.sizes.get(remote) ?? 0
  if (bytes >= told) return
  const before = parts.shorts.get(remote)
  const times = before?.bytes === bytes ? before.times + 1 : 1
  parts.shorts.set(remote, { bytes, times })
  const message = `${bytes} of the ${told} bytes of file ${remote} arrived`
  if (times < MOST_SHORT) throw new RemoteError('network', message, { retryable: true })
  emit({
    kind: 'warning',
    code: 'short_download',
    message: `${message}, ${times} times on end: taken as it is`,
  })
}

/** Output file, then error file, as one; each ends with a line break. */
async function* content(
  context: Context,
  batch: AnsweredBatch,
  parts: DownloadParts,
): AsyncGenerator<Uint8Array> {
  const newline = Uint8Array.of(10)
  for (const remote of filesOf(batch)) {
    let last: number | undefined
    let bytes = 0
    for await (const piece of await open(context, remote, parts.gone)) {
      if (context.stop.aborted) throw new Interrupted()
      last = piece.at(-1) ?? last
      bytes += piece.length
      yield piece
      parts.room.spend(piece.length)
    }
    mustBeWhole(context, remote, bytes, parts)
    if (last !== undefined && last !== newline[0]) yield newline
  }
}

async function open(
  { api, stop }: Context,
  remote: string,
  gone: DownloadParts['gone'],
): Promise<AsyncIterable<Uint8Array>> {
  try {
    return await api.downloadFile(remote, stop)
  } catch (error) {
    if (error instanceof RemoteError && error.status === 404) throw gone(remote, error)
    throw error
  }
}
