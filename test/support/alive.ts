import { readFileSync } from 'node:fs'

/** Whether a process is there, and no zombie. */
export function processIsThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat[stat.lastIndexOf(')') + 2] !== 'Z'
  } catch {
    // ESRCH, or gone between the two calls.
    return false
  }
}
