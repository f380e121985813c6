import { type FileSystem, nodeFileSystem, type OpenFile } from '../../src/state/file-system.ts'

/** The real disk, but nothing is synced: for many runs in which no power is lost. */
export const unsyncedFileSystem: FileSystem = {
  ...nodeFileSystem,
  open: async (path, mode) => new UnsyncedFile(await nodeFileSystem.open(path, mode)),
  syncDirectory: () => Promise.resolve(),
}

class UnsyncedFile implements OpenFile {
  readonly #file: OpenFile

  constructor(file: OpenFile) {
    this.#file = file
  }

  read = (into: Uint8Array, position: number) => this.#file.read(into, position)
  append = (bytes: Uint8Array) => this.#file.append(bytes)
  truncate = (length: number) => this.#file.truncate(length)
  sync = () => Promise.resolve()
  size = () => this.#file.size()
  close = () => this.#file.close()
}
