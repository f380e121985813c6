import { randomUUID } from 'node:crypto'
import { readFileSync, readlinkSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { LockError } from '../errors.ts'
import { parseJson } from './json.ts'

const holderSchema = z.object({
  /** New with every lock. */
  epoch: z.string(),
  host: z.string(),
  /** Start of the machine and pid namespace: where a pid means the same process. Empty where they are not known. */
  space: z.string(),
  pid: z.int().positive(),
  /** Start of the process, where known: tells a pid that is used again. */
  start: z.string(),
})
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
  const holder: Holder = { epoch: randomUUID(), ...thisProcess() }
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
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** Somebody of whom nothing is known: the lock is being written right now, or that was never finished. */
const NOBODY: Holder = { epoch: '', host: '', space: '', pid: 1, start: '' }

/** `undefined`: there is no lock any more. */
function readHolder(path: string): Holder | undefined {
  try {
    return holderSchema.safeParse(parseJson(readFileSync(path, 'utf8'))).data ?? NOBODY
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
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
    if (codeOf(error) !== 'ENOENT') throw error
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
  const self = thisProcess()
  const isNear = holder.host === self.host && holder.space === self.space
  if (isNear) return !isRunning(holder)
  return ageMs(path) > STALE_MS
}

function ageMs(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat ? Date.now() - stat.mtimeMs : Infinity
}

function isRunning({ pid, start }: Holder): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it runs, but is another user's.
    if (codeOf(error) === 'ESRCH') return false
  }
  const now = processStat(pid)
  return now === undefined || (now.start === start && now.state !== 'Z')
}

const thisProcess = (): Omit<Holder, 'epoch'> => ({
  host: hostname(),
  space: [known(bootId), known(pidNamespace)].join(' ').trim(),
  pid: process.pid,
  start: processStat(process.pid)?.start ?? '',
})

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
const pidNamespace = (): string => readlinkSync('/proc/self/ns/pid')

function processStat(pid: number): { readonly state: string; readonly start: string } | undefined {
  const stat = known(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  // The second field, the command, may hold spaces and brackets: the others follow its last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, start] = [fields[0], fields[19]]
  return state !== undefined && start !== undefined ? { state, start } : undefined
}

/** Empty where the system does not tell: then less is compared. */
function known(read: () => string): string {
  try {
    return read()
  } catch {
    return ''
  }
}

const codeOf = (error: unknown): unknown =>
  error instanceof Error && 'code' in error ? error.code : undefined

function inUse(dir: string, { pid, host }: Holder): LockError {
  const who = host === '' ? 'another process' : `process ${pid} on ${host}`
  const message =
    `the emulator's folder ${dir} is in use by an emulator of ${who}: stop that one, or choose another folder ` +
    `(if nothing runs there any more, remove ${join(dir, LOCK)})`
  return new LockError('emulator_folder_in_use', message, { retryable: true })
}
