import { z } from 'zod'

/** What a child process used, as it tells at its end, in its last line of standard output. */
export const measuredSchema = z.object({
  /** User and system time, in seconds. */
  cpuSeconds: z.number(),
  wallSeconds: z.number(),
  /** The largest resident set, in MB. */
  peakMb: z.number(),
  /** The resident set from time to time, in MB. */
  memory: z.array(z.number()),
  /** Requests it finished, so that nobody measures how fast a program fails. */
  done: z.number(),
  /** Of the work alone: without the start of the process and the loading of its modules. */
  work: z.object({ cpuSeconds: z.number(), wallSeconds: z.number() }),
})
export type Measured = z.infer<typeof measuredSchema>

const SAMPLE_MS = 500
const MB = 1024 * 1024

const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Runs `work`, which resolves with how many requests it finished, and tells what the whole process used. */
export async function measure(work: () => Promise<number>): Promise<void> {
  const memory: number[] = []
  const sampling = setInterval(() => memory.push(Math.round(process.memoryUsage.rss() / MB)), SAMPLE_MS)
  const before = { cpu: cpuSeconds(), ms: performance.now() }
  const done = await work()
  clearInterval(sampling)
  const used = {
    cpuSeconds: cpuSeconds() - before.cpu,
    wallSeconds: (performance.now() - before.ms) / 1000,
  }
  const { maxRSS } = process.resourceUsage()
  const measured: Measured = {
    cpuSeconds: cpuSeconds(),
    wallSeconds: performance.now() / 1000,
    peakMb: maxRSS / 1024,
    memory,
    done,
    work: used,
  }
  process.stdout.write(`${JSON.stringify(measured)}\n`)
}
