import { randomBytes } from 'node:crypto'
import { basename, dirname, join } from 'node:path'
import { systemCode } from '../util/system-code.ts'
import { syncError, writeError } from './disk-error.ts'
import type { FileSystem, OpenFile } from './file-system.ts'

/** Text, or pieces of it as they come. */
export type FileContent = string | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>

const TEMPORARY = /^\.tmp-\d+-[0-9a-f]{16}$/

/**
 * Puts a new file at `path`, whole or not at all, and durable when this resolves. Throws StateError `disk_full`,
 * `write_failed` or `fsync_failed`, or what `content` or `guard` throws; the old file is then still there (after
 * `fsync_failed`: the old or the new one). `guard` is called before anything is written, and right before the old
 * file would be replaced.
 */
export async function replaceFile(
  fs: FileSystem,
  path: string,
  content: FileContent,
  guard: () => void = () => {},
): Promise<void> {
  guard()
  const temporary = `${path}.tmp-${process.pid}-${randomBytes(8).toString('hex')}`
  try {
    await writeTemporary(fs, temporary, content)
    guard()
    await orWriteError(path, () => fs.rename(temporary, path))
  } catch (error) {
    await removeLitter(fs, temporary)
    throw error
  }
  await orSyncError(path, () => fs.syncDirectory(dirname(path)))
}

async function writeTemporary(fs: FileSystem, path: string, content: FileContent): Promise<void> {
  const file = await orWriteError(path, () => fs.open(path, 'create'))
  try {
    await fill(file, path, typeof content === 'string' ? [content] : content)
    await orSyncError(path, () => file.sync())
  } finally {
    await orWriteError(path, () => file.close())
  }
}

async function fill(file: OpenFile, path: string, pieces: Exclude<FileContent, string>): Promise<void> {
  for await (const piece of pieces) {
    const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece
    await orWriteError(path, () => file.append(bytes))
  }
}

async function removeLitter(fs: FileSystem, path: string): Promise<void> {
  try {
    await fs.unlink(path)
  } catch {
    // The first error is the one to report; what stays behind is removed by `removeTemporaries` on the next start.
  }
}

/** For the name of a file that `replaceFile` was filling: the name it was to get. Undefined for any other name. */
export function nameBehind(temporary: string): string | undefined {
  const at = temporary.lastIndexOf('.tmp-')
  return at >= 0 && TEMPORARY.test(temporary.slice(at)) ? temporary.slice(0, at) : undefined
}

/** Removes what interrupted calls of `replaceFile` for this path left behind. Only for the one writer of the file. */
export async function removeTemporaries(fs: FileSystem, path: string): Promise<void> {
  const directory = dirname(path)
  const name = basename(path)
  for (const entry of await listIfThere(fs, directory)) {
    if (nameBehind(entry) !== name) continue
    await orWriteError(path, () => fs.unlink(join(directory, entry)))
  }
}

async function listIfThere(fs: FileSystem, directory: string): Promise<readonly string[]> {
  try {
    return await fs.list(directory)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}

async function orWriteError<T>(path: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write()
  } catch (error) {
    throw writeError(path, error, 'The old file was left as it was.')
  }
}

async function orSyncError(path: string, sync: () => Promise<void>): Promise<void> {
  try {
    await sync()
  } catch (error) {
    throw syncError(path, error)
  }
}
