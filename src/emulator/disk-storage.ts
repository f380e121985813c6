import { createReadStream, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { type FileHandle, open, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type DataLock, lockDataDir } from './data-lock.ts'
import type { BlobWriter, RecordKind, Storage, StoredRecord } from './storage.ts'

const READ_BYTES = 256 * 1024
const SUFFIX = '.json'
/** The temporary file of a write that was not finished. */
const CUT_SHORT = /\.json\.\d+\.\d+$/

/**
 * Records as `<dir>/files/<id>.json` and `<dir>/batches/<id>.json`, blobs as `<dir>/content/<name>`. The folder
 * can be moved: nothing inside names a path. Survives a killed process, not a power cut (nothing is synced).
 * One at a time: throws `LockError` (`emulator_folder_in_use`) while another one holds the folder.
 */
export class DiskStorage implements Storage {
  readonly #dir: string
  readonly #lock: DataLock
  #temporaries = 0

  constructor(dir: string) {
    this.#dir = dir
    for (const folder of ['files', 'batches', 'content']) {
      mkdirSync(join(dir, folder), { recursive: true, mode: 0o700 })
    }
    this.#lock = lockDataDir(dir)
  }

  close(): void {
    this.#lock.release()
  }

  load(kind: RecordKind): readonly StoredRecord[] {
    const records: StoredRecord[] = []
    for (const name of readdirSync(join(this.#dir, kind))) {
      const place = join(this.#dir, kind, name)
      if (name.endsWith(SUFFIX)) records.push({ place, text: readFileSync(place, 'utf8') })
      else if (CUT_SHORT.test(name)) rmSync(place, { force: true })
    }
    return records
  }

  async save(kind: RecordKind, id: string, text: string): Promise<void> {
    const path = this.#record(kind, id)
    const temporary = `${path}.${process.pid}.${++this.#temporaries}`
    await writeFile(temporary, text, { mode: 0o600 })
    await rename(temporary, path)
  }

  async forget(kind: RecordKind, id: string): Promise<void> {
    await rm(this.#record(kind, id), { force: true })
  }

  async openBlob(name: string): Promise<BlobWriter> {
    const handle = await open(this.#blob(name), 'a', 0o600)
    return new DiskWriter(handle, (await handle.stat()).size)
  }

  async *readBlob(name: string): AsyncIterable<Uint8Array> {
    if (!existsSync(this.#blob(name))) return
    yield* createReadStream(this.#blob(name), { highWaterMark: READ_BYTES })
  }

  async removeBlob(name: string): Promise<void> {
    await rm(this.#blob(name), { force: true })
  }

  blobNames(): readonly string[] {
    return readdirSync(join(this.#dir, 'content'))
  }

  #record(kind: RecordKind, id: string): string {
    return join(this.#dir, kind, id + SUFFIX)
  }

  #blob(name: string): string {
    return join(this.#dir, 'content', name)
  }
}

class DiskWriter implements BlobWriter {
  readonly #handle: FileHandle
  #size: number

  constructor(handle: FileHandle, size: number) {
    this.#handle = handle
    this.#size = size
  }

  get size(): number {
    return this.#size
  }

  async append(chunk: Uint8Array | string): Promise<void> {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    await this.#handle.appendFile(bytes)
    this.#size += bytes.length
  }

  async truncate(size: number): Promise<void> {
    if (size >= this.#size) return
    await this.#handle.truncate(size)
    this.#size = size
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}
