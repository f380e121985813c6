import type { Storage } from './storage.ts'

const BLOB = 'attempts'
const ENTRY_BYTES = 8

/** Counts how often each body was asked. With a storage that lasts, the counts last too. */
export class AttemptBook {
  readonly #storage: Storage
  readonly #counts = new Map<number, number>()
  #fresh: number[] = []
  #writing: Promise<void> | undefined

  constructor(storage: Storage) {
    this.#storage = storage
  }

  /** Reads what was counted before. Call once, before anything is asked. */
  async open(): Promise<void> {
    let rest: Uint8Array = new Uint8Array()
    for await (const piece of this.#storage.readBlob(BLOB)) {
      const bytes = Buffer.concat([rest, piece])
      const whole = bytes.length - (bytes.length % ENTRY_BYTES)
      for (let at = 0; at < whole; at += ENTRY_BYTES) this.#count(bytes.readDoubleLE(at))
      rest = bytes.subarray(whole)
    }
  }

  /** How often the body with this fingerprint was asked before; counts this time in. */
  next(key: number): number {
    this.#fresh.push(key)
    return this.#count(key)
  }

  /** Makes what was counted so far last. */
  async flush(): Promise<void> {
    await this.#writing
    if (this.#fresh.length === 0) return
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
    await this.#writing
  }

  #count(key: number): number {
    const before = this.#counts.get(key) ?? 0
    this.#counts.set(key, before + 1)
    return before
  }

  async #write(): Promise<void> {
    const entries = this.#fresh
    this.#fresh = []
    const bytes = Buffer.alloc(entries.length * ENTRY_BYTES)
    for (const [index, key] of entries.entries()) bytes.writeDoubleLE(key, index * ENTRY_BYTES)
    const blob = await this.#storage.openBlob(BLOB)
    await blob.append(bytes)
    await blob.close()
  }
}
