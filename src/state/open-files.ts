import type { FileSystem, OpenFile } from './file-system.ts'

/** Files kept open for appending, by suffix; `trim` closes those used longest ago. */
export class OpenFiles {
  readonly #fs: FileSystem
  readonly #pathOf: (suffix: string) => string
  readonly #limit: number
  // In order of use, the one used longest ago first.
  readonly #files = new Map<string, OpenFile>()

  constructor(fs: FileSystem, pathOf: (suffix: string) => string, limit = 64) {
    this.#fs = fs
    this.#pathOf = pathOf
    this.#limit = limit
  }

  /** The open file; created when missing. */
  async get(suffix: string): Promise<OpenFile> {
    const file = this.#files.get(suffix) ?? (await this.#fs.open(this.#pathOf(suffix), 'append'))
    this.#files.delete(suffix)
    this.#files.set(suffix, file)
    return file
  }

  /** Closes what is open beyond the limit. Not part of `get`, so that a file is never closed within a commit. */
  async trim(): Promise<void> {
    for (const suffix of this.#files.keys()) {
      if (this.#files.size <= this.#limit) return
      await this.drop(suffix)
    }
  }

  async drop(suffix: string): Promise<void> {
    const file = this.#files.get(suffix)
    this.#files.delete(suffix)
    try {
      await file?.close()
    } catch {
      // Everything named in the ledger was fsynced before; whatever a failed close loses was never promised.
    }
  }

  async close(): Promise<void> {
    for (const suffix of [...this.#files.keys()]) await this.drop(suffix)
  }
}
