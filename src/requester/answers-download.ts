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
  await withPatience(context, `downloading ${what}`, async () => {
    const room = await store.space.reserve(await sizeOf(context, batch), what)
    try {
      await replaceFile(store.fs, path, content(context, batch, { room, gone }), store.guard)
    } finally {
      room.release()
    }
  })
}

const filesOf = ({ outputFileId, errorFileId }: AnsweredBatch): string[] =>
  [outputFileId, errorFileId].filter((id) => id !== undefined)

/** Bytes of all answers, as far as the server says. */
async function sizeOf({ api, stop }: Context, batch: AnsweredBatch): Promise<number> {
  let size = 0
  for (const remote of filesOf(batch)) {
    try {
      size += (await api.retrieveFile(remote, stop)).bytes ?? 0
    } catch (error) {
      // Whether it is gone is for the download to find out.
      if (!(error instanceof RemoteError) || error.status !== 404) throw error
    }
  }
  return size
}

interface DownloadParts {
  readonly room: Room
  readonly gone: (remote: string, cause: RemoteError) => Error
}

/** Output file, then error file, as one; each ends with a line break. */
async function* content(
  context: Context,
  batch: AnsweredBatch,
  { room, gone }: DownloadParts,
): AsyncGenerator<Uint8Array> {
  const newline = Uint8Array.of(10)
  for (const remote of filesOf(batch)) {
    let last: number | undefined
    for await (const piece of await open(context, remote, gone)) {
      if (context.stop.aborted) throw new Interrupted()
      last = piece.at(-1) ?? last
      yield piece
      room.spend(piece.length)
    }
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
