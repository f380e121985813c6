import { randomUUID } from 'node:crypto'
import { basename, dirname } from 'node:path'
import type { z } from 'zod'
import { errorText, LockError, NightshiftError, StateError } from '../errors.ts'
import { type Clock, systemClock } from '../util/clock.ts'
import { writeError } from './disk-error.ts'
import { readDurableJson, type Versioned } from './durable-json.ts'
import type { FileSystem } from './file-system.ts'
import { makeDirectories } from './make-directories.ts'
import { removeTemporaries, replaceFile } from './replace-file.ts'
import { TaskLock } from './task-lock.ts'

export interface SharedJsonOptions<Data extends Versioned> {
  readonly fs: FileSystem
  /** Its folder is created (0700) by the first write; the file is the owner's only (0600). */
  readonly path: string
  /** Of the version written by this program. */
  readonly schema: z.ZodType<Data>
  /** The newest version this program knows. */
  readonly version: number
  /** What there is as long as there is no file. */
  readonly empty: Data
  /** How long another process may hold the file, in milliseconds. Default: 5000. */
  readonly waitMs?: number | undefined
  /** What that waiting goes by. Default: the system's, as other processes do. */
  readonly clock?: Clock
  /** A file that does not validate was renamed, and a new one is begun. */
  readonly onDamaged?: (message: string) => void
}

const WAIT_MS = 5000
const POLL_MS = 20

/**
 * A small JSON file that several processes change, each change under a lock that is held only as long as it takes.
 * For what can be done without: unlike the files of a task, a damaged one is put aside and begun anew.
 */
export class SharedJson<Data extends Versioned> {
  readonly #options: SharedJsonOptions<Data>

  constructor(options: SharedJsonOptions<Data>) {
    this.#options = options
  }

  /**
   * What is in the file now, without waiting for a lock. Changes nothing on the disk, unless what is there is damaged.
   * Throws StateError `newer_version` or `read_failed`; for a damaged file as `update`.
   */
  async read(): Promise<Data> {
    try {
      return await this.#read()
    } catch (error) {
      if (!isDamage(error)) throw error
      return (await this.update((data) => ({ data }))).data
    }
  }

  /**
   * Puts the `data` of what `change` returns in the place of what there is; the very same object means that there is
   * nothing to write. Resolves with all that `change` returned. Throws LockError when another process holds the file
   * too long, the folder does not allow locking, or the lock was lost meanwhile, and StateError `newer_version`,
   * `read_failed`, `disk_full`, `write_failed` or `fsync_failed`. `change` may have been called all the same.
   */
  async update<Outcome extends { readonly data: Data }>(change: (data: Data) => Outcome): Promise<Outcome> {
    const { path } = this.#options
    await this.#makeFolder()
    const lock = await this.#lock()
    try {
      const data = await this.#readOrPutAside()
      const outcome = change(data)
      if (outcome.data !== data) await this.#write(outcome.data, () => lock.check())
      return outcome
    } finally {
      await orFailed(
        () => lock.release(),
        (error) => unlockFailed(path, error),
      )
    }
  }

  #makeFolder(): Promise<unknown> {
    const { path } = this.#options
    return orFailed(
      () => makeDirectories(dirname(path), 0o700),
      (error) => writeError(path, error, 'Nothing was written.'),
    )
  }

  async #lock(): Promise<TaskLock> {
    const { path, clock = systemClock, waitMs = WAIT_MS } = this.#options
    const place = { directory: dirname(path), name: basename(path) }
    try {
      return await TaskLock.acquire({ ...place, clock, timeoutMs: waitMs, pollMs: POLL_MS })
    } catch (error) {
      throw error instanceof LockError && error.code === 'locked' ? heldTooLong(path, waitMs, error) : error
    }
  }

  /** Processes that were killed while they wrote have left their temporary files: only one writes at a time. */
  async #write(data: Data, guard: () => void): Promise<void> {
    const { fs, path } = this.#options
    guard()
    await orFailed(
      async () => {
        await removeTemporaries(fs, path)
        await replaceFile(fs, path, `${JSON.stringify(data, null, 2)}\n`, guard)
      },
      (error) => writeError(path, error, 'It was left as it was.'),
    )
  }

  async #read(): Promise<Data> {
    return (await readDurableJson(this.#options)) ?? this.#options.empty
  }

  async #readOrPutAside(): Promise<Data> {
    try {
      return await this.#read()
    } catch (error) {
      if (!isDamage(error)) throw error
      await this.#putAside(error)
      return this.#options.empty
    }
  }

  async #putAside(cause: StateError): Promise<void> {
    const { fs, path, onDamaged } = this.#options
    const aside = `${path}.damaged-${randomUUID()}`
    await orFailed(
      () => fs.rename(path, aside),
      (error) => writeError(path, error, 'It was left as it was.'),
    )
    onDamaged?.(
      `${path} was damaged, so it is begun anew; the old one is ${aside} (${errorText(cause.cause ?? cause)})`,
    )
  }
}

const isDamage = (error: unknown): error is StateError =>
  error instanceof StateError && error.code === 'state_invalid'

async function orFailed<T>(act: () => Promise<T>, failed: (error: unknown) => NightshiftError): Promise<T> {
  try {
    return await act()
  } catch (error) {
    throw NightshiftError.is(error) ? error : failed(error)
  }
}

/** The lock's own advice is about tasks: here nobody should stop a run for it. */
function heldTooLong(path: string, waitMs: number, cause: LockError): LockError {
  const message =
    `another process has held ${path} for more than ${waitMs} ms, and nothing was changed. It comes free when that ` +
    'process is done with it, or a little after its end.'
  return new LockError('locked', message, { cause, retryable: true })
}

const unlockFailed = (path: string, cause: unknown): LockError =>
  new LockError('unlock_failed', `the lock of ${path} could not be given back (${errorText(cause)})`, {
    cause,
  })
