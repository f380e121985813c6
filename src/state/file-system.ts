import {
  type FileHandle,
  link,
  open,
  readdir,
  readFile,
  rename,
  stat,
  statfs,
  unlink,
} from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { systemCode } from '../util/system-code.ts'
import { makeDirectories } from './make-directories.ts'

/** `read`: an existing file. `append`: created (0600) when missing. `create`: fails with EEXIST when there. */
export type OpenMode = 'read' | 'append' | 'create'

/** An open file. Errors are the system's own and keep their `code` (ENOSPC, EIO, ...). */
export interface OpenFile {
  /** Reads from `position` until `into` is full or the file ends; resolves with the number of bytes read. */
  read(into: Uint8Array, position: number): Promise<number>
  /** Writes all of `bytes` at the end of the file, wherever that is. */
  append(bytes: Uint8Array): Promise<void>
  truncate(length: number): Promise<void>
  /** Resolves once content and size would survive a power loss. */
  sync(): Promise<void>
  size(): Promise<number>
  close(): Promise<void>
}

/** What durable state needs of a disk. Errors are the system's own and keep their `code` (ENOENT, EACCES, ...). */
export interface FileSystem {
  open(path: string, mode: OpenMode): Promise<OpenFile>
  /** Size in bytes, or undefined when there is no such file. */
  size(path: string): Promise<number | undefined>
  readText(path: string): Promise<string>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** Gives a file a second name; fails with EEXIST when that is taken, and where the disk has no such thing. */
  link(path: string, second: string): Promise<void>
  /** Names (without the path) of what is in a directory. */
  list(directory: string): Promise<readonly string[]>
  /** Creates the directory and its parents; resolves with the first one created, or undefined. */
  makeDirectory(path: string): Promise<string | undefined>
  /** Resolves once creations, renames and removals in the directory would survive a power loss. */
  syncDirectory(path: string): Promise<void>
  /** Bytes that this process may still write there; undefined when the file system cannot say. Never rejects. */
  freeBytes(directory: string): Promise<number | undefined>
}

const FLAGS = { read: 'r', append: 'a+', create: 'ax+' } as const
const OWNER_ONLY = 0o600

class NodeFile implements OpenFile {
  readonly #handle: FileHandle

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    let done = 0
    while (done < into.length) {
      const { bytesRead } = await this.#handle.read(into, done, into.length - done, position + done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return done
  }

  async append(bytes: Uint8Array): Promise<void> {
    let done = 0
    while (done < bytes.length) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done)
      done += bytesWritten
    }
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length)
  }

  sync(): Promise<void> {
    return this.#handle.datasync()
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function syncDirectory(path: string): Promise<void> {
  // Windows cannot open a directory; NTFS journals directory entries on its own.
  if (process.platform === 'win32') return
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } catch (error) {
    // Some network and FUSE file systems have no such call; there is nothing stronger to ask them for.
    if (!['EINVAL', 'ENOTSUP'].includes(systemCode(error) ?? '')) throw error
  } finally {
    await handle.close()
  }
}

async function freeBytes(directory: string): Promise<number | undefined> {
  try {
    const { bsize, blocks, bavail, bfree } = await statfs(directory)
    // Some network and FUSE file systems say zero for everything.
    if (blocks === 0) return undefined
    // A part of most disks is left to the superuser.
    return bsize * (process.getuid?.() === 0 ? bfree : bavail)
  } catch {
    // Only a look ahead: what ails the folder is told by the write that follows.
    return undefined
  }
}

/** The real disk. */
export const nodeFileSystem: FileSystem = {
  open: async (path, mode) => new NodeFile(await open(path, FLAGS[mode], OWNER_ONLY)),
  size: sizeOf,
  readText: (path) => readFile(path, 'utf8'),
  rename,
  unlink,
  link,
  list: (directory) => readdir(directory),
  makeDirectory: (path) => makeDirectories(path),
  syncDirectory,
  freeBytes,
}

/** Creates a directory and its missing parents so that they survive a power loss. Throws the system's errors. */
export async function makeDurableDirectory(fs: FileSystem, directory: string): Promise<void> {
  const path = resolve(directory)
  const first = await fs.makeDirectory(path)
  if (first === undefined) return
  for (let made = path; made.length >= first.length; made = dirname(made))
    await fs.syncDirectory(dirname(made))
}
