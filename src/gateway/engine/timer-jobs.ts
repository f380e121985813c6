import { errorText } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import { Notifier } from '../../util/notifier.ts'
import type { Log } from '../log.ts'
import { JOBS_AT_ONCE, type Job, type JobHandler, type JobKind, type Jobs, jobKey } from './jobs.ts'

interface Planned {
  readonly job: Job
  readonly atMs: number
}

export interface TimerJobsOptions {
  readonly clock: Clock
  /** The store's time, in milliseconds since 1970. */
  readonly now: () => number
  readonly log: Log
}

/** Jobs of one process, run by its own timers. They are forgotten when it ends. */
export class TimerJobs implements Jobs {
  readonly #options: TimerJobsOptions
  readonly #planned = new Map<string, Planned>()
  readonly #running = new Map<JobKind, number>()
  readonly #tasks = new Set<Promise<void>>()
  readonly #changed = new Notifier()
  readonly #stop = new AbortController()
  #loop: Promise<void> | undefined

  constructor(options: TimerJobsOptions) {
    this.#options = options
  }

  async start(handler: JobHandler): Promise<void> {
    this.#loop ??= this.#run(handler)
  }

  plan(job: Job, atMs: number): void {
    const key = jobKey(job)
    const known = this.#planned.get(key)
    if (known && known.atMs <= atMs) return
    this.#planned.set(key, { job, atMs })
    this.#changed.notify()
  }

  async close(): Promise<void> {
    this.#stop.abort()
    this.#changed.notify()
    await this.#loop
    await Promise.all(this.#tasks)
  }

  async #run(handler: JobHandler): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      const news = this.#changed.wait()
      const now = this.#options.now()
      for (const planned of this.#ready(now)) this.#begin(planned, handler)
      await this.#sleep(now, news)
    }
  }

  /** What is due and has room among its kind, the longest due first. */
  #ready(now: number): readonly Planned[] {
    const free = new Map<JobKind, number>()
    const due = [...this.#planned.values()].filter(({ atMs }) => atMs <= now).sort((a, b) => a.atMs - b.atMs)
    return due.filter(({ job: { kind } }) => {
      const left = free.get(kind) ?? JOBS_AT_ONCE[kind] - (this.#running.get(kind) ?? 0)
      free.set(kind, left - 1)
      return left > 0
    })
  }

  #begin({ job }: Planned, handler: JobHandler): void {
    this.#planned.delete(jobKey(job))
    this.#running.set(job.kind, (this.#running.get(job.kind) ?? 0) + 1)
    const task = this.#guarded(job, handler).finally(() => {
      this.#running.set(job.kind, (this.#running.get(job.kind) ?? 1) - 1)
      this.#tasks.delete(task)
      this.#changed.notify()
    })
    this.#tasks.add(task)
  }

  async #guarded(job: Job, handler: JobHandler): Promise<void> {
    try {
      await handler(job)
    } catch (error) {
      this.#options.log.error('job_failed', { job: jobKey(job), reason: errorText(error) })
    }
  }

  /** What is due and has no room waits for the end of another. */
  async #sleep(now: number, news: Promise<void>): Promise<void> {
    const later = [...this.#planned.values()].map(({ atMs }) => atMs).filter((atMs) => atMs > now)
    if (later.length === 0) return news
    const awake = new AbortController()
    const signal = AbortSignal.any([this.#stop.signal, awake.signal])
    const waitMs = Math.max(0, Math.min(...later) - this.#options.now())
    await Promise.race([this.#options.clock.sleep(waitMs, signal, { background: true }), news])
    awake.abort()
  }
}
