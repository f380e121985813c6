import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { z } from 'zod'
import { systemCode } from './system-code.ts'

/** What tells one process from every other one, as far as the system says. */
export const processIdentitySchema = z.object({
  host: z.string(),
  /** Changes with every start of the machine; undefined where the system has none. */
  bootId: z.string().optional(),
  /** The same pid means another process in another namespace (container); undefined where there are none. */
  pidNamespace: z.string().optional(),
  pid: z.int().positive(),
  /** Start of the process in clock ticks since boot: tells a recycled pid. */
  processStart: z.string().optional(),
})
export type ProcessIdentity = Readonly<z.infer<typeof processIdentitySchema>>

export function currentProcess(): ProcessIdentity {
  return {
    host: hostname(),
    bootId: orUndefined(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    pidNamespace: orUndefined(() => readlinkSync('/proc/self/ns/pid')),
    pid: process.pid,
    processStart: processStat(process.pid)?.start,
  }
}

/**
 * True only when it is certain that the process has ended: it ran on this very start of this machine, in this pid
 * namespace, and its pid is unused, a zombie, or another process's by now.
 */
export function isGone(other: ProcessIdentity, self: ProcessIdentity): boolean {
  const comparable =
    other.host === self.host &&
    other.bootId !== undefined &&
    other.bootId === self.bootId &&
    other.pidNamespace !== undefined &&
    other.pidNamespace === self.pidNamespace
  if (!comparable) return false
  if (!answersSignals(other.pid)) return true
  const stat = processStat(other.pid)
  if (!stat) return false
  const recycled = other.processStart !== undefined && other.processStart !== stat.start
  return recycled || stat.state === 'Z' || stat.state === 'X'
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM: it is there, but another user's.
    return systemCode(error) !== 'ESRCH'
  }
}

/** State letter and start time of a process from /proc, or undefined where that cannot be read. */
function processStat(pid: number): { readonly state: string; readonly start: string } | undefined {
  const stat = orUndefined(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  // Field 2, the command, may hold spaces and brackets; field 3 follows the last bracket.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, start] = [fields?.[0], fields?.[19]]
  return state !== undefined && start !== undefined ? { state, start } : undefined
}

function orUndefined(read: () => string): string | undefined {
  try {
    return read()
  } catch {
    // Not Linux, or /proc is not mounted: then there is less to compare, and locks end by their lease alone.
    return undefined
  }
}
