import { randomUUID } from 'node:crypto'
import { readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { LockError } from '../errors.ts'
import {
  currentProcess,
  isGone,
  type ProcessIdentity,
  processIdentitySchema,
} from '../util/process-identity.ts'
import { systemCode } from '../util/system-code.ts'
import { parseJson } from './json.ts'

/** `epoch` is new with every lock. */
const holderSchema = processIdentitySchema.extend({ epoch: z.string() })
type Holder = z.infer<typeof holderSchema>

const LOCK = 'emulator.lock'
/** A holder elsewhere, of which nobody here can tell whether it runs, is gone when it was silent for this long. */
const STALE_MS = 30_000
const RENEWAL_MS = 10_000

/** Keeps a data folder for one emulator. */
export interface DataLock {
  /** Gives the folder back. May be called again. */
  release(): void
}

/**
 * Takes a data folder. A lock of a process that has ended is taken over at once. Throws `LockError`
 * (`emulator_folder_in_use`) when another emulator has it, in this process or another one.
 */
export function lockDataDir(dir: string): DataLock {
  const path = join(dir, LOCK)
  const holder: Holder = { epoch: randomUUID(), ...currentProcess() }
  while (!create(path, holder)) {
    const other = readHolder(path)
    if (other !== undefined && !isFree(path, other)) throw inUse(dir, other)
    if (other !== undefined) retire(path, other)
  }
  const renewal = setInterval(() => renew(path, holder), RENEWAL_MS)
  renewal.unref()
  return {
    release: () => {
      clearInterval(renewal)
      if (readHolder(path)?.epoch === holder.epoch) rmSync(path, { force: true })
    },
  }
}

/** Makes the lock, or says that there is one. */
function create(path: string, holder: Holder): boolean {
  try {
    writeFileSync(path, `${JSON.stringify(holder)}\n`, { mode: 0o600, flag: 'wx' })
    return true
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
    throw error
  }
}

/** Somebody of whom nothing is known: the lock is being written right now, or that was never finished. */
const NOBODY: Holder = { epoch: '', host: '', pid: 1 }

/** `undefined`: there is no lock any more. */
function readHolder(path: string): Holder | undefined {
  try {
    return holderSchema.safeParse(parseJson(readFileSync(path, 'utf8'))).data ?? NOBODY
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Moves an abandoned lock away, so that only one process does; puts it back when it was replaced just before that. */
function retire(path: string, abandoned: Holder): void {
  const aside = `${path}.${randomUUID()}`
  try {
    renameSync(path, aside)
    const moved = readHolder(aside)
    if (moved && moved.epoch !== abandoned.epoch) create(path, moved)
  } catch (error) {
    // Another process was faster: whoever makes the next lock has it.
    if (systemCode(error) !== 'ENOENT') throw error
  } finally {
    rmSync(aside, { force: true })
  }
}

function renew(path: string, { epoch }: Holder): void {
  try {
    if (readHolder(path)?.epoch === epoch) utimesSync(path, new Date(), new Date())
  } catch {
    // The lock only looks older than it is. What is wrong with the folder is said by whoever writes there next.
  }
}

function isFree(path: string, holder: Holder): boolean {
  const self = currentProcess()
  if (isGone(holder, self) || isUnused(holder, self)) return true
  return !isNear(holder, self) && ageMs(path) > STALE_MS
}

/** Systems that have no namespaces of pids (macOS, Windows) tell of one at least whether any process has it. */
function isUnused(holder: Holder, self: ProcessIdentity): boolean {
  const isPlain = ({ bootId, pidNamespace }: ProcessIdentity) =>
    bootId === undefined && pidNamespace === undefined
  if (holder.host !== self.host || !isPlain(holder) || !isPlain(self)) return false
  try {
    process.kill(holder.pid, 0)
    return false
  } catch (error) {
    return systemCode(error) === 'ESRCH'
  }
}

/** Where the system tells whether a process runs, one may be long without a sign, as when the machine slept. */
function isNear(holder: Holder, self: ProcessIdentity): boolean {
  if (self.bootId === undefined || self.pidNamespace === undefined) return false
  return (
    holder.host === self.host && holder.bootId === self.bootId && holder.pidNamespace === self.pidNamespace
  )
}

function ageMs(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat ? Date.now() - stat.mtimeMs : Infinity
}

function inUse(dir: string, { pid, host }: Holder): LockError {
  const who = host === '' ? 'another process' : `process ${pid} on ${host}`
  const message =
    `the emulator's folder ${dir} is in use by an emulator of ${who}: stop that one, or choose another folder ` +
    `(if nothing runs there any more, remove ${join(dir, LOCK)})`
  return new LockError('emulator_folder_in_use', message, { retryable: true })
}
