import { randomUUID } from 'node:crypto'
import nodeFs from 'node:fs'
import { lstat, rename, rmdir } from 'node:fs/promises'
import { systemCode } from '../util/system-code.ts'

/**
 * Names one lock directory for as long as it exists, across renames, unlike a directory made later at the same
 * path: inode numbers are used again, but not with the same time of birth.
 */
export async function directoryIdentity(path: string): Promise<string | undefined> {
  try {
    return identityOf(await lstat(path, { bigint: true }))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The same, with nothing in between for this process. Throws the system's errors. */
export function directoryIdentityNow(path: string): string | undefined {
  const stats = nodeFs.lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return stats && identityOf(stats)
}

/** Longer than a directory is moved aside by mistake. */
const PUT_BACK_MS = 300
const LOOK_MS = 5

/**
 * The same for a directory that is somebody's own. Undefined when it is not there, nor comes back at once: a process
 * that wants the lock of a dead one may have taken hold of it for a moment, and puts it back when it sees whose it is.
 * Nothing else of this process goes on meanwhile.
 */
export function settledIdentity(path: string): string | undefined {
  for (let leftMs = PUT_BACK_MS; ; leftMs -= LOOK_MS) {
    const identity = directoryIdentityNow(path)
    if (identity !== undefined || leftMs <= 0) return identity
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS)
  }
}

const identityOf = ({ ino, birthtimeNs }: nodeFs.BigIntStats): string => `${ino}:${birthtimeNs}`

/**
 * Removes an abandoned lock directory. It is first renamed to a name nobody knows, so that only one process removes
 * it; `isAbandoned` then looks at it again, and if it is somebody's after all it is put back. True when removed.
 */
export async function retireDirectory(
  path: string,
  isAbandoned: (movedTo: string) => Promise<boolean>,
): Promise<boolean> {
  const aside = `${path}.stale-${randomUUID()}`
  try {
    await rename(path, aside)
  } catch (error) {
    // Another process was faster; whoever makes the next directory has the lock.
    if (systemCode(error) === 'ENOENT') return false
    throw error
  }
  if (await isAbandoned(aside)) {
    // Who has the lock next removes such directories, too.
    await ifThere(() => rmdir(aside))
    return true
  }
  await putBack(aside, path)
  return false
}

/** Removes what another process may be removing as well. */
export async function ifThere(remove: () => Promise<void>): Promise<void> {
  try {
    await remove()
  } catch (error) {
    // Another process was faster.
    if (systemCode(error) !== 'ENOENT') throw error
  }
}

async function putBack(aside: string, path: string): Promise<void> {
  try {
    // When a third process locked meanwhile, the owner we disturbed finds its epoch gone and stops by itself.
    if ((await directoryIdentity(path)) === undefined) await rename(aside, path)
    else await rmdir(aside)
  } catch (error) {
    // That third process has tidied up already.
    if (systemCode(error) !== 'ENOENT') throw error
  }
}

type Callback = (error: Error | null) => void

/**
 * The file system that proper-lockfile works on. Its own removals take whatever directory stands at the path, also
 * one that another process made a moment ago; here they ask first.
 */
export interface LockFileSystem {
  readonly mkdir: (path: string, callback: Callback) => void
  readonly stat: typeof nodeFs.stat
  readonly utimes: typeof nodeFs.utimes
  readonly rmdir: (path: string, callback: Callback) => void
  readonly rmdirSync: (path: string) => void
}

export interface LockFileSystemRules {
  /** What to do with the directory at the path: it is another's whose lease ran out, ours, or not our business. */
  readonly removal: () => 'stale' | 'ours' | 'none'
  readonly removeStale: (path: string) => Promise<unknown>
}

export function lockFileSystem({ removal, removeStale }: LockFileSystemRules): LockFileSystem {
  const remove = async (path: string) => {
    const whose = removal()
    if (whose === 'stale') await removeStale(path)
    if (whose === 'ours') await rmdir(path)
  }
  return {
    mkdir: (path, callback) => nodeFs.mkdir(path, { mode: 0o700 }, callback),
    stat: nodeFs.stat,
    utimes: nodeFs.utimes,
    rmdir: (path, callback) => {
      remove(path).then(() => callback(null), callback)
    },
    // Called while the process exits.
    rmdirSync: (path) => {
      if (removal() === 'ours') nodeFs.rmdirSync(path)
    },
  }
}
