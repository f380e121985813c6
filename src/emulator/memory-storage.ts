import type { BlobWriter, Storage, StoredRecord } from './storage.ts'

/** A blob held as the pieces it was written in: nothing is joined or copied. */
interface Pieces {
  chunks: Uint8Array[]
  size: number
}

/** Keeps blobs in memory and forgets records: the stores above hold those themselves. */
export class MemoryStorage implements Storage {
  readonly #blobs = new Map<string, Pieces>()

  load(): readonly StoredRecord[] {
    return []
  }

  async save(): Promise<void> {}

  async forget(): Promise<void> {}

  async openBlob(name: string): Promise<BlobWriter> {
    const pieces = this.#blobs.get(name) ?? { chunks: [], size: 0 }
    this.#blobs.set(name, pieces)
    return memoryWriter(pieces)
  }

  async *readBlob(name: string): AsyncIterable<Uint8Array> {
    yield* this.#blobs.get(name)?.chunks ?? []
  }

  async removeBlob(name: string): Promise<void> {
    this.#blobs.delete(name)
  }

  blobNames(): readonly string[] {
    return [...this.#blobs.keys()]
  }

  close(): void {}
}

function memoryWriter(pieces: Pieces): BlobWriter {
  return {
    get size() {
      return pieces.size
    },
    append: async (chunk) => {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
      if (bytes.length === 0) return
      pieces.chunks.push(bytes)
      pieces.size += bytes.length
    },
    truncate: async (size) => {
      pieces.chunks = headOf(pieces.chunks, size)
      pieces.size = Math.min(size, pieces.size)
    },
    close: async () => {},
  }
}

function headOf(chunks: readonly Uint8Array[], size: number): Uint8Array[] {
  const kept: Uint8Array[] = []
  let left = size
  for (const chunk of chunks) {
    if (left <= 0) break
    kept.push(left < chunk.length ? chunk.subarray(0, left) : chunk)
    left -= chunk.length
  }
  return kept
}
