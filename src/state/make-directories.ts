import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { systemCode } from '../util/system-code.ts'

/**
 * Creates a directory and its missing parents. Resolves to the topmost that was missing, undefined when none was.
 * Throws the system's errors.
 *
 * Not by `mkdir` with `recursive`: in a place like `/proc`, where nothing can be made and the system says ENOENT, Node 24
 * asks again for ever, at full load.
 *
 * @param mode permissions of what is made, less the umask. Default: 0o777.
 */
export async function makeDirectories(path: string, mode = 0o777): Promise<string | undefined> {
  try {
    await mkdir(path, mode)
    return path
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EEXIST' && (await isDirectory(path))) return undefined
    const parent = dirname(path)
    if (code !== 'ENOENT' || (await isDirectory(parent))) throw error
    const first = await makeDirectories(parent, mode)
    const made = await makeDirectories(path, mode)
    return first ?? made
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
}
