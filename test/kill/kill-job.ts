import { readdir, readFile, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type EmulatorProcess, startEmulator } from '../support/emulator-process.ts'
import { type Ended, type Program, startNode } from '../support/program.ts'
import { type Audit, auditJob } from './audit.ts'
import type { DiskPlan } from './disk-points.ts'
import type { Order } from './orders.ts'

const SERVER = new URL('programs/server.ts', import.meta.url)
const JOB = fileURLToPath(new URL('programs/job.ts', import.meta.url))
const KILLER = fileURLToPath(new URL('kill-on-disk.ts', import.meta.url))

export const CONCURRENCY = 8
const SETTINGS = [
  ...['--remote-update-interval', '1', '--create-grace-ms', '200', '--direct-concurrency', `${CONCURRENCY}`],
  ...['--max-batch-requests', '100', '--min-batch-requests', '90'],
  ...['--max-remote-batches', '5', '--max-unpushed-batches', '3'],
]
const LOCKED = 'job.lock is held by'
const LEASE_SECONDS = 31
/** A process that lives longer hangs. */
const LONGEST_LIFE_MS = 120_000

export interface KillJobOptions {
  /** Empty; the task's files go into a folder in it. */
  readonly folder: string
  readonly samples: number
  /** Everything is sent as direct calls. */
  readonly direct: boolean
  /** One for each process, in this order, until the job is complete. */
  readonly orders: readonly Order[]
}

export interface KilledJob extends Audit {
  readonly folder: string
  /** Orders that were carried out. */
  readonly kills: readonly Order[]
  /** Orders that the job was complete without, the first of them because its moment never came. */
  readonly missed: readonly Order[]
  /** Processes that found a lock which names no holder, and would have had to wait for the end of its lease. */
  readonly leases: number
  /** Operations on the disk of all processes, one after another. */
  readonly operations: readonly string[]
  readonly seconds: number
}

/** Runs a job to its end, killing its process again and again, and looks at what came of it. */
export async function killJob(options: KillJobOptions): Promise<KilledJob> {
  const { folder, orders, samples } = options
  const begunMs = performance.now()
  const taskDir = join(folder, 'tasks')
  await using emulator = await startEmulator(SERVER)
  const kills: Order[] = []
  let trouble: string | undefined
  let leases = 0
  for (;;) {
    const order = orders[kills.length]
    const ended = await live(options, emulator, order)
    if (order && ended.signal === 'SIGKILL' && !ended.hung) kills.push(order)
    else if (leases < kills.length && (await foundNamelessLock(ended, taskDir))) {
      leases++
      await endLease(taskDir)
    } else {
      if (ended.code !== 0) trouble = `process ${kills.length + 1} ended with ${describe(ended)}`
      break
    }
  }
  const audit = await auditJob({
    taskDir,
    samples,
    server: await emulator.report(),
    kills: kills.length,
    concurrency: CONCURRENCY,
  })
  const operations = (await readFile(join(folder, 'operations.txt'), 'utf8')).trim().split('\n')
  return {
    ...audit,
    violations: trouble === undefined ? audit.violations : [trouble],
    leases,
    folder,
    kills,
    missed: orders.slice(kills.length),
    operations,
    seconds: (performance.now() - begunMs) / 1000,
  }
}

const describe = ({ code, signal, hung, stderr, stdout }: Ended & { readonly hung: boolean }): string =>
  `${hung ? `no end in ${LONGEST_LIFE_MS} ms` : (signal ?? `exit code ${code}`)}:\n${stderr.slice(-2000)}\n${stdout.slice(-1000)}`

/** Whether it gave up because the one that took the lock was killed before it wrote who it is, or after it took that back. */
async function foundNamelessLock({ stderr }: Ended, taskDir: string): Promise<boolean> {
  if (!stderr.includes(LOCKED)) return false
  const { birthtimeMs } = await stat(join(taskDir, 'job.lock'))
  const names = await readdir(taskDir)
  return (
    !names.includes('job.lock.json') || (await stat(join(taskDir, 'job.lock.json'))).mtimeMs < birthtimeMs
  )
}

/** The time that a lease takes to run out passes. */
async function endLease(taskDir: string): Promise<void> {
  const past = Date.now() / 1000 - LEASE_SECONDS
  await utimes(join(taskDir, 'job.lock'), past, past)
}

/** One process, from its start to its end. */
async function live(
  options: KillJobOptions,
  emulator: EmulatorProcess,
  order: Order | undefined,
): Promise<Ended & { readonly hung: boolean }> {
  const program = start(options, emulator, order)
  let hung = false
  const end = setTimeout(() => {
    hung = true
    program.kill('SIGKILL')
  }, LONGEST_LIFE_MS)
  const instantMs = order?.kind === 'instant' ? order.afterMs : LONGEST_LIFE_MS
  const instant = setTimeout(() => program.kill('SIGKILL'), instantMs)
  if (order?.kind === 'call') emulator.killAt(program.pid, 'SIGKILL', order.at)
  const ended = await program.ended
  clearTimeout(end)
  clearTimeout(instant)
  return { ...ended, hung }
}

function start(
  { folder, samples, direct }: KillJobOptions,
  { env }: EmulatorProcess,
  order: Order | undefined,
): Program {
  const taskDir = join(folder, 'tasks')
  const plan: DiskPlan = {
    folder: taskDir,
    log: join(folder, 'operations.txt'),
    ...(order?.kind === 'disk' && { at: order }),
  }
  const args = ['--task-dir', taskDir, '--samples', `${samples}`, ...SETTINGS]
  if (direct) args.push('--force-direct')
  return startNode(['--import', KILLER, JOB, ...args], { ...env, KILL_ON_DISK: JSON.stringify(plan) })
}
