/** What the emulator keeps: small JSON records, and blobs that are only appended to. */
export type RecordKind = 'files' | 'batches'

export interface StoredRecord {
  /** Where it was read, for messages. */
  readonly place: string
  readonly text: string
}

/** An open blob. Appends are in order; one writer per blob. */
export interface BlobWriter {
  readonly size: number
  append(chunk: Uint8Array | string): Promise<void>
  /** Cuts the blob back to its first `size` bytes. */
  truncate(size: number): Promise<void>
  close(): Promise<void>
}

export interface Storage {
  /** All records of a kind, in no particular order. Read when the emulator is created. */
  load(kind: RecordKind): readonly StoredRecord[]
  /** Replaces the record as a whole: a reader sees the old text or the new one. */
  save(kind: RecordKind, id: string, text: string): Promise<void>
  forget(kind: RecordKind, id: string): Promise<void>
  /** Continues the blob at its end, or begins it. */
  openBlob(name: string): Promise<BlobWriter>
  /** The content in pieces; nothing when the blob does not exist. */
  readBlob(name: string): AsyncIterable<Uint8Array>
  removeBlob(name: string): Promise<void>
  blobNames(): readonly string[]
  /** Nothing is written after this; another emulator may use what is kept. */
  close(): void
}
