import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { UploadRequest } from '../../src/batch/remote-api.ts'
import { OpenAIRemoteApi } from '../../src/openai/remote-api.ts'
import type { FileSystem, OpenFile, OpenMode } from '../../src/state/file-system.ts'
import type { TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { Fetch } from '../../src/util/fetch.ts'
import { type Disk, PowerLossFs, systemError } from './power-loss-fs.ts'
import { BASE_URL, type Harness } from './task-harness.ts'

/** A machine that may lose its power: what it has on its disk, and how a task runs on it. */
export interface Machine {
  readonly fs: PowerLossFs
  /** Of a task on this machine: its files are in memory, only its lock is in the harness's folder. */
  readonly options: TaskManagerOptions
  readonly isDead: boolean
}

/** Uploads by input file name, as JSON lines. */
export type Uploads = Map<string, string>

export interface MachineOptions {
  readonly disk: Disk
  /** Operations on the disk after which the power is gone. Default: never. */
  readonly cutAt?: number
  readonly uploads: Uploads
  readonly over?: Partial<TaskManagerOptions>
}

/**
 * A machine on which the power is cut when its disk has carried out so many operations. From then on every call of
 * the disk fails and no answer of a server arrives; what the server got by then, it has.
 */
export function machine(rig: Harness, { disk, cutAt, uploads, over }: MachineOptions): Machine {
  const fs = new PowerLossFs(disk)
  const power = new AbortController()
  const fetch: Fetch = async (input, init) => {
    power.signal.throwIfAborted()
    // The server goes on with what reached it, whoever goes away.
    const response = await rig.emulator.fetch(input, { ...init, signal: null })
    power.signal.throwIfAborted()
    return response
  }
  const cutting = new CutFs(fs, { at: cutAt ?? Number.POSITIVE_INFINITY, power })
  const connection = { apiKey: 'sk-test', baseURL: BASE_URL, timeoutMs: 600_000, clock: rig.clock, fetch }
  const api = new UploadsFromMemory({ ...connection, fs, uploads, folder: rig.dir })
  const options = rig.options({ fs: cutting, api, stop: power.signal, cut: power.signal, ...over })
  return {
    fs,
    options,
    get isDead() {
      return power.signal.aborted
    },
  }
}

class UploadsFromMemory extends OpenAIRemoteApi {
  readonly #parts: { readonly fs: FileSystem; readonly uploads: Uploads; readonly folder: string }

  constructor({ fs, uploads, folder, ...options }: ConstructorOptions) {
    super(options)
    this.#parts = { fs, uploads, folder }
  }

  override async uploadBatchFile(request: UploadRequest, signal?: AbortSignal) {
    const { fs, uploads, folder } = this.#parts
    const path = join(folder, request.name)
    const text = await fs.readText(request.path)
    uploads.set(request.name, text)
    writeFileSync(path, text)
    try {
      return await super.uploadBatchFile({ ...request, path }, signal)
    } finally {
      rmSync(path)
    }
  }
}

type ConstructorOptions = ConstructorParameters<typeof OpenAIRemoteApi>[0] & {
  readonly fs: FileSystem
  readonly uploads: Uploads
  readonly folder: string
}

interface Cut {
  readonly at: number
  readonly power: AbortController
}

class CutFs implements FileSystem {
  readonly #inner: PowerLossFs
  readonly #cut: Cut

  constructor(inner: PowerLossFs, cut: Cut) {
    this.#inner = inner
    this.#cut = cut
  }

  async #powered<Result>(path: string, act: () => Promise<Result>): Promise<Result> {
    const { at, power } = this.#cut
    if (this.#inner.ops >= at) power.abort(new Error('the power is gone'))
    if (power.signal.aborted) throw systemError('EIO', path)
    return act()
  }

  async open(path: string, mode: OpenMode): Promise<OpenFile> {
    const file = await this.#powered(path, () => this.#inner.open(path, mode))
    return {
      read: (into, position) => this.#powered(path, () => file.read(into, position)),
      append: (bytes) => this.#powered(path, () => file.append(bytes)),
      truncate: (length) => this.#powered(path, () => file.truncate(length)),
      sync: () => this.#powered(path, () => file.sync()),
      size: () => this.#powered(path, () => file.size()),
      close: () => file.close(),
    }
  }

  size(path: string): Promise<number | undefined> {
    return this.#powered(path, () => this.#inner.size(path))
  }

  readText(path: string): Promise<string> {
    return this.#powered(path, () => this.#inner.readText(path))
  }

  rename(from: string, to: string): Promise<void> {
    return this.#powered(to, () => this.#inner.rename(from, to))
  }

  link(from: string, to: string): Promise<void> {
    return this.#powered(to, () => this.#inner.link(from, to))
  }

  unlink(path: string): Promise<void> {
    return this.#powered(path, () => this.#inner.unlink(path))
  }

  list(directory: string): Promise<readonly string[]> {
    return this.#powered(directory, () => this.#inner.list(directory))
  }

  makeDirectory(path: string): Promise<undefined> {
    return this.#powered(path, () => this.#inner.makeDirectory())
  }

  syncDirectory(path: string): Promise<void> {
    return this.#powered(path, () => this.#inner.syncDirectory(path))
  }

  freeBytes(): Promise<undefined> {
    return this.#inner.freeBytes()
  }
}
