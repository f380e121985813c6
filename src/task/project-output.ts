import { stat } from 'node:fs/promises'
import type { GPTRequester } from '../requester/requester.ts'
import type { FileSystem } from '../state/file-system.ts'
import { readLines } from '../state/json-lines.ts'
import { removeTemporaries, replaceFile } from '../state/replace-file.ts'
import { systemCode } from '../util/system-code.ts'
import type { TaskOutput } from './output.ts'

export const PROJECTED = '_output.json'

/**
 * Makes `<name>_output.json` when the output has such a form and the file is missing or older than the lines.
 * `hasNewLines`: lines came in this run, so that it is older whatever the clocks say.
 */
export async function projectOutput(
  requester: GPTRequester,
  output: TaskOutput,
  { fs, hasNewLines }: { readonly fs: FileSystem; readonly hasNewLines: boolean },
): Promise<void> {
  if (!output.project) return
  const log = requester.path(output.suffix(1))
  const target = requester.path(PROJECTED)
  if (requester.fileLength(output.suffix(1)) === 0) return removeIfThere(fs, target)
  if (!hasNewLines && (await isNewer(target, log))) return
  await removeTemporaries(fs, target)
  await replaceFile(fs, target, await output.project(entriesOf(fs, log)))
}

/** Without lines there is nothing to project: what is there is of a task that was wiped. */
async function removeIfThere(fs: FileSystem, path: string): Promise<void> {
  try {
    await fs.unlink(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
  }
}

async function* entriesOf(fs: FileSystem, path: string): AsyncGenerator<unknown> {
  for await (const { text } of readLines(fs, path)) yield JSON.parse(text)
}

/** A file that was made in the same instant as the lines may be older than the last of them. */
async function isNewer(file: string, than: string): Promise<boolean> {
  const [made, written] = await Promise.all([modifiedMs(file), modifiedMs(than)])
  return made !== undefined && written !== undefined && made > written
}

async function modifiedMs(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}
