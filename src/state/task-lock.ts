import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { errorText, LockError, NightshiftError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { assertNever } from '../util/exhaustive.ts'
import { systemCode } from '../util/system-code.ts'
import { makeDurableDirectory, nodeFileSystem } from './file-system.ts'
import { directoryIdentityNow, lockFileSystem, retireDirectory, settledIdentity } from './lock-directory.ts'
import {
  currentHolder,
  holderOf,
  holderToClaim,
  type LockHolder,
  lockOf,
  removeClaim,
  removeIfDead,
  removeLitter,
  writeClaim,
  writeHolder,
} from './lock-holder.ts'

export type { LockHolder }

export interface TaskLockOptions {
  /** Created when missing. */
  readonly directory: string
  /** The lock is the directory `<name>.lock`, its holder is described in `<name>.lock.json`. */
  readonly name: string
  readonly clock: Clock
  /** How long to wait for another holder, in milliseconds; 0: not at all, negative: for ever. Default: 0. */
  readonly timeoutMs?: number
  /** Time between tries. Default: 250. */
  readonly pollMs?: number
  /** Time between calls of `onWaiting`, the first of which comes at once. Default: 5000. */
  readonly statusMs?: number
  readonly onWaiting?: (holder: LockHolder | undefined, waitedMs: number) => void
  /** Ends the waiting. */
  readonly signal?: AbortSignal | undefined
}

/** A lease that was not renewed for this long may be taken over by anybody. */
const STALE_MS = 30_000
const UPDATE_MS = 10_000

/**
 * One writer per task. A lock is a lease: a holder that sleeps too long loses it, and `check` then says so before
 * the next write. The lock of a process that surely ended is taken over at once, any other when its lease ran out.
 */
export class TaskLock {
  readonly #path: string
  readonly #epoch = randomUUID()
  #phase: 'acquiring' | 'held' | 'releasing' | 'over' = 'acquiring'
  #directory: string | undefined
  #compromised: Error | undefined
  /** It was waited for once, and did not come back: nobody waits for it again. */
  #isGone = false
  #unlock: (() => Promise<void>) | undefined

  private constructor(path: string) {
    this.#path = path
  }

  /**
   * Takes the lock. Throws LockError `locked` when another process holds it until the time is over, `lock_aborted`
   * when the signal ended the waiting, `lock_failed` when the folder does not allow locking.
   */
  static async acquire(options: TaskLockOptions): Promise<TaskLock> {
    const { clock, timeoutMs = 0, pollMs = 250, statusMs = 5000 } = options
    const path = resolve(join(options.directory, options.name))
    await orLockFailed(path, () => makeDurableDirectory(nodeFileSystem, options.directory))
    // Of time only what was slept here counts: a clock that leaps, or a machine that sleeps, uses up nobody's patience.
    let waited = 0
    for (let nextStatus = 0; ; ) {
      const lock = new TaskLock(path)
      if (await orLockFailed(path, () => lock.#try())) return lock
      if (timeoutMs >= 0 && waited >= timeoutMs) throw locked(path, await currentHolder(path))
      if (waited >= nextStatus) {
        options.onWaiting?.(await currentHolder(path), waited)
        nextStatus = waited + statusMs
      }
      const left = timeoutMs < 0 ? pollMs : Math.min(pollMs, timeoutMs - waited)
      await clock.sleep(left, options.signal)
      waited += left
      if (options.signal?.aborted) throw aborted(path)
    }
  }

  /** Who holds the lock of a task now, or undefined when nobody does or it is not known who. Changes nothing. */
  static async holder(directory: string, name: string): Promise<LockHolder | undefined> {
    return currentHolder(resolve(join(directory, name)))
  }

  /**
   * Throws LockError `lock_lost` when the lock is not ours any more, `lock_unreadable` when that cannot be told.
   * Cheap and synchronous: call it right before every write. Blocks for 0.3 s when it first finds the lock gone.
   */
  check(): void {
    if (this.#compromised) throw lost(this.#path, errorText(this.#compromised), this.#compromised)
    if (this.#phase !== 'held') throw lost(this.#path, 'it was released')
    const directory = reading(this.#path, () => this.#identity())
    this.#isGone = directory === undefined
    if (directory === undefined) throw lost(this.#path, 'it was removed')
    if (directory !== this.#directory) throw lost(this.#path, 'its directory was replaced')
    const holder = reading(this.#path, () => readFileSync(holderOf(this.#path), 'utf8'))
    if (!holder.includes(this.#epoch)) throw lost(this.#path, 'another process took it over')
  }

  /** Gives the lock back; leaves alone what is not ours any more. Calling it again does nothing. */
  async release(): Promise<void> {
    if (this.#phase !== 'held') return
    // Also when lost: proper-lockfile would end a newer lock of this process, and its own timer cleans up.
    this.#phase = this.#isOurs() ? 'releasing' : 'over'
    if (this.#phase === 'over') return
    try {
      // The holder goes first: once the directory is gone, the next owner writes its own.
      await holderToClaim(this.#path, this.#epoch)
      await this.#unlock?.()
      await removeClaim(this.#path, this.#epoch)
    } finally {
      this.#phase = 'over'
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release()
  }

  #identity(): string | undefined {
    return this.#isGone ? directoryIdentityNow(lockOf(this.#path)) : settledIdentity(lockOf(this.#path))
  }

  #isOurs(): boolean {
    try {
      this.check()
      return true
    } catch {
      // Lost or not readable: either way it is not ours to remove.
      return false
    }
  }

  #removal(): 'stale' | 'ours' | 'none' {
    switch (this.#phase) {
      case 'acquiring':
        return 'stale'
      case 'releasing':
        return 'ours'
      case 'held':
        return this.#isOurs() ? 'ours' : 'none'
      case 'over':
        return 'none'
      default:
        return assertNever(this.#phase)
    }
  }

  async #try(): Promise<boolean> {
    await removeIfDead(this.#path)
    await writeClaim(this.#path, this.#epoch)
    const unlock = await this.#lockOrNot()
    if (unlock === undefined) return false
    try {
      this.#directory = settledIdentity(lockOf(this.#path))
      if (this.#directory === undefined) return await this.#withdraw(unlock)
      await writeHolder(this.#path, this.#epoch, this.#directory)
    } catch (error) {
      this.#phase = 'releasing'
      await unlock()
      throw error
    }
    this.#phase = 'held'
    this.#unlock = unlock
    await removeLitter(this.#path)
    return true
  }

  /** The directory was taken away before it had a holder: then it is as if it had never been ours. */
  async #withdraw(unlock: () => Promise<void>): Promise<false> {
    this.#phase = 'over'
    await unlock()
    await removeClaim(this.#path, this.#epoch)
    return false
  }

  async #lockOrNot(): Promise<(() => Promise<void>) | undefined> {
    let unlock: (() => Promise<void>) | undefined
    try {
      unlock = await this.#lock()
    } finally {
      if (!unlock) await removeClaim(this.#path, this.#epoch)
    }
    return unlock
  }

  async #lock(): Promise<(() => Promise<void>) | undefined> {
    // Imported here because it installs signal and exit handlers when loaded.
    const { lock } = await import('proper-lockfile')
    const fs = lockFileSystem({ removal: () => this.#removal(), removeStale: removeIfExpired })
    const onCompromised = (error: Error) => {
      this.#compromised = error
    }
    const lockfilePath = lockOf(this.#path)
    const rules = { stale: STALE_MS, update: UPDATE_MS, realpath: false, lockfilePath, onCompromised, fs }
    try {
      return await lock(this.#path, rules)
    } catch (error) {
      if (systemCode(error) === 'ELOCKED') return undefined
      throw error
    }
  }
}

/** Removes a lock directory whose lease ran out, as far as its time of change still says so after it was moved. */
const removeIfExpired = (lockPath: string): Promise<boolean> =>
  retireDirectory(lockPath, async (aside) => (await stat(aside)).mtimeMs < Date.now() - STALE_MS)

function reading<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (systemCode(error) === 'ENOENT') throw lost(path, 'it was removed', error)
    const message = `the lock ${lockOf(path)} cannot be checked (${errorText(error)}). Nothing was written. Run again.`
    throw new LockError('lock_unreadable', message, { cause: error })
  }
}

async function orLockFailed<T>(path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (error) {
    if (NightshiftError.is(error)) throw error
    const message = `${lockOf(path)} cannot be made (${errorText(error)}). Make its folder writable and run again.`
    throw new LockError('lock_failed', message, { cause: error })
  }
}

function locked(path: string, holder: LockHolder | undefined): LockError {
  const who = holder
    ? `process ${holder.pid} on ${holder.host} since ${new Date(holder.startedAt).toISOString()}`
    : 'another process'
  const message =
    `${lockOf(path)} is held by ${who}. Stop that run, or wait for it with --lock-timeout; the lock of a process that ` +
    `died elsewhere is free ${STALE_MS / 1000} s after its end.`
  return new LockError('locked', message, { retryable: true })
}

const aborted = (path: string): LockError =>
  new LockError('lock_aborted', `waiting for ${lockOf(path)} was stopped. Nothing was changed.`)

function lost(path: string, why: string, cause?: unknown): LockError {
  const message =
    `the lock ${lockOf(path)} was lost (${why}), for example while the machine slept. Nothing more is written. ` +
    'Make sure that only one process runs the task, then run it again.'
  return new LockError('lock_lost', message, { cause })
}
