import { dirname } from 'node:path'
import { errorText, StateError } from '../errors.ts'
import { syncError } from '../state/disk-error.ts'
import type { FileSystem, OpenFile } from '../state/file-system.ts'
import { removeTemporaries, replaceFile } from '../state/replace-file.ts'
import { systemCode } from '../util/system-code.ts'
import { holdsReplies, keptFileName } from './files.ts'

const CHUNK_BYTES = 1 << 20

/**
 * Gives those of these side files that hold raw replies a second name, under which they stay (`--keep-replies`). To be
 * called before the commit that forgets them: until then they are side files, from then on they are kept, and a kill
 * at any time between leaves both names. What an earlier, killed call did is found and left. `pathOf` gives the path
 * of a side file. Throws StateError `disk_full`, `write_failed` or `fsync_failed`.
 */
export async function keepReplies(
  fs: FileSystem,
  pathOf: (suffix: string) => string,
  suffixes: readonly string[],
): Promise<void> {
  const replies = suffixes.filter(holdsReplies)
  for (const suffix of replies) await keep(fs, pathOf(suffix), (place) => pathOf(keptFileName(suffix, place)))
  const [first] = replies
  if (first !== undefined) await syncDirectory(fs, dirname(pathOf(first)))
}

async function keep(fs: FileSystem, path: string, keptAt: (place: number) => string): Promise<void> {
  // Empty, or removed by somebody else, who must have wanted that: there is nothing to keep.
  if (!(await fs.size(path))) return
  for (let place = 1; ; place++) {
    const kept = keptAt(place)
    await removeTemporaries(fs, kept)
    if ((await fs.size(kept)) === undefined) return secondName(fs, path, kept)
    // Of an earlier call; or else of an earlier task of this name, whose replies stay as well.
    if (await hasSameContent(fs, path, kept)) return
  }
}

async function secondName(fs: FileSystem, path: string, kept: string): Promise<void> {
  try {
    await fs.link(path, kept)
  } catch (error) {
    // Disks without links, and with limits of them, say so in many ways. If it was something else, the copy will fail.
    await copy(fs, path, kept, error)
  }
}

async function copy(fs: FileSystem, path: string, kept: string, why: unknown): Promise<void> {
  try {
    await replaceFile(fs, kept, contentOf(fs, path))
  } catch (error) {
    if (systemCode(error) === undefined) throw error
    const message = `keeping ${path} as ${kept} failed: ${errorText(error)} (a link to it: ${errorText(why)}). Check the disk and run again.`
    throw new StateError('write_failed', message, { cause: error })
  }
}

async function* contentOf(fs: FileSystem, path: string): AsyncGenerator<Uint8Array> {
  const file = await fs.open(path, 'read')
  try {
    for (let position = 0; ; ) {
      const chunk = await readChunk(file, position)
      if (chunk.length === 0) return
      yield chunk
      position += chunk.length
    }
  } finally {
    await file.close()
  }
}

async function readChunk(file: OpenFile, position: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  return buffer.subarray(0, await file.read(buffer, position))
}

async function hasSameContent(fs: FileSystem, a: string, b: string): Promise<boolean> {
  if ((await fs.size(a)) !== (await fs.size(b))) return false
  const other = await fs.open(b, 'read')
  try {
    let position = 0
    for await (const chunk of contentOf(fs, a)) {
      if (!(await readChunk(other, position)).equals(chunk)) return false
      position += chunk.length
    }
    return true
  } finally {
    await other.close()
  }
}

async function syncDirectory(fs: FileSystem, directory: string): Promise<void> {
  try {
    await fs.syncDirectory(directory)
  } catch (error) {
    throw syncError(directory, error)
  }
}
