import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A new empty folder, removed when it is disposed of. */
export async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'nightshift-test-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** Paths of all files and folders below a folder, each with a hash of its content; sorted. */
export async function contentsOf(
  folder: string,
  isWanted: (path: string) => boolean = () => true,
): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const described = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name)
    const name = path.slice(folder.length + 1)
    return entry.isDirectory() ? `${name}/` : `${name} ${await hashOf(path)}`
  })
  return (await Promise.all(described)).filter(isWanted).sort()
}

const hashOf = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex')

/** The values of a file of JSON lines; none when there is no such file. */
export async function jsonLines(path: string): Promise<unknown[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line): unknown => JSON.parse(line))
}
