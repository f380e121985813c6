import type { Clock } from '../util/clock.ts'
import { ApiError } from './api-error.ts'
import { fileId } from './ids.ts'
import { rendered } from './line-marks.ts'
import { linesOf } from './lines.ts'
import { type FileRecord, fileRecordSchema, loadRecords } from './records.ts'
import type { BlobWriter, Storage } from './storage.ts'

export interface NewFile {
  readonly id: string
  readonly filename: string
  readonly purpose: string
  readonly bytes: number
  readonly createdMs: number
  readonly expiresAfterSeconds?: number | undefined
  /** Its lines carry marks. */
  readonly marked?: boolean | undefined
}

/** A file being written: it exists once `commit` has returned. */
export interface Upload {
  readonly id: string
  readonly content: BlobWriter
}

/** The files of the server. A file vanishes when its time is over; its content stays while a batch reads it. */
export class Files {
  readonly #storage: Storage
  readonly #clock: Clock
  readonly #files = new Map<string, FileRecord>()
  readonly #held = new Map<string, number>()
  #seq = 0
  #nextExpiryMs = Number.POSITIVE_INFINITY

  constructor(storage: Storage, clock: Clock) {
    this.#storage = storage
    this.#clock = clock
    for (const file of loadRecords(storage, 'files', fileRecordSchema)) this.#remember(file)
  }

  async begin(): Promise<Upload> {
    const id = fileId()
    return { id, content: await this.#storage.openBlob(id) }
  }

  /** Gives up an upload. */
  abandon(upload: Upload): Promise<void> {
    return upload.content.close().then(() => this.#storage.removeBlob(upload.id))
  }

  /** Makes a file of a blob that is complete. */
  async register({ expiresAfterSeconds, marked, ...file }: NewFile): Promise<FileRecord> {
    const expiresMs =
      expiresAfterSeconds === undefined ? undefined : file.createdMs + expiresAfterSeconds * 1000
    const seq = this.#files.get(file.id)?.seq ?? this.#seq + 1
    const record = {
      ...file,
      seq,
      ...(expiresMs !== undefined && { expiresMs }),
      ...(marked && { marked }),
    }
    await this.#storage.save('files', record.id, JSON.stringify(record))
    this.#remember(record)
    return record
  }

  /** Oldest first. */
  async list(): Promise<readonly FileRecord[]> {
    await this.#removeExpired()
    return [...this.#files.values()]
  }

  async find(id: string): Promise<FileRecord | undefined> {
    await this.#removeExpired()
    return this.#files.get(id)
  }

  /** Throws `ApiError` (404) when there is no such file. */
  async get(id: string): Promise<FileRecord> {
    const file = await this.find(id)
    if (file) return file
    throw noSuchFile(id)
  }

  async remove(id: string): Promise<void> {
    this.#files.delete(id)
    await this.#storage.forget('files', id)
    if (!this.#held.has(id)) await this.#storage.removeBlob(id)
  }

  /** What a reader gets. */
  content(id: string): AsyncIterable<Uint8Array> {
    const stored = this.#storage.readBlob(id)
    return this.#files.get(id)?.marked ? renderedLines(stored) : stored
  }

  /** Keeps the content of a file until `release`, whatever becomes of the file. */
  hold(id: string): void {
    this.#held.set(id, (this.#held.get(id) ?? 0) + 1)
  }

  async release(id: string): Promise<void> {
    const holders = (this.#held.get(id) ?? 0) - 1
    if (holders > 0) this.#held.set(id, holders)
    else this.#held.delete(id)
    if (holders <= 0 && !this.#files.has(id)) await this.#storage.removeBlob(id)
  }

  /** Removes contents that neither belong to a file nor are held: what a killed process left behind. */
  async removeOrphans(): Promise<void> {
    for (const name of this.#storage.blobNames()) {
      const isOrphan = name.startsWith('file-') && !this.#files.has(name) && !this.#held.has(name)
      if (isOrphan) await this.#storage.removeBlob(name)
    }
  }

  #remember(file: FileRecord): void {
    this.#files.set(file.id, file)
    this.#seq = Math.max(this.#seq, file.seq)
    this.#nextExpiryMs = Math.min(this.#nextExpiryMs, file.expiresMs ?? Number.POSITIVE_INFINITY)
  }

  async #removeExpired(): Promise<void> {
    const now = this.#clock.now()
    if (now < this.#nextExpiryMs) return
    const expired = [...this.#files.values()].filter(({ expiresMs = Infinity }) => expiresMs <= now)
    for (const { id } of expired) await this.remove(id)
    const left = [...this.#files.values()].map(({ expiresMs = Infinity }) => expiresMs)
    this.#nextExpiryMs = left.reduce((least, ms) => Math.min(least, ms), Number.POSITIVE_INFINITY)
  }
}

export const noSuchFile = (id: string): ApiError =>
  new ApiError(404, `No such File object: ${id}`, { param: 'id' })

async function* renderedLines(stored: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const lines of linesOf(stored)) {
    const text = lines.map((line) => (line === '' ? '' : rendered(line))).join('')
    if (text !== '') yield Buffer.from(text)
  }
}
