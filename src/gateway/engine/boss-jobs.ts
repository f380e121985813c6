import type { PgBoss } from 'pg-boss'
import { z } from 'zod'
import { errorText } from '../../errors.ts'
import type { Secret } from '../../util/secret.ts'
import type { Log } from '../log.ts'
import {
  JOB_KINDS,
  JOBS_AT_ONCE,
  type Job,
  type JobHandler,
  type JobKind,
  type Jobs,
  jobKey,
} from './jobs.ts'

const DEFAULT_SCHEMA = 'nightshift_jobs'
/** A job that is under way for longer counts as lost; what it does goes on, and is fenced by its claims. */
const LONGEST_JOB_SECONDS = 3_600
/** Jobs are no record of anything: those that are over are forgotten soon. */
const KEPT_SECONDS = 300
const POLL_SECONDS = 0.5
/** Connections of its own. */
const CONNECTIONS = 4
const STOP_MS = 30_000
/** Plans that are remembered before those that are past are forgotten. */
const MOST_PLANNED = 1_000

export interface BossJobsOptions {
  readonly url: Secret
  /** Tables of jobs live there. Default: `nightshift_jobs`. */
  readonly schema?: string
  /** The store's time, in milliseconds since 1970. */
  readonly now: () => number
  readonly log: Log
}

const jobSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.enum(['submit', 'poll', 'collect']), batch: z.number() }),
  z.object({ kind: z.enum(['cut', 'webhook', 'sweep']) }),
])

/**
 * Jobs that all replicas on one PostgreSQL share, run by pg-boss: whichever replica is free does what is due. A job that
 * cannot be put down, since the database is away, is found by the next sweep.
 */
export class BossJobs implements Jobs {
  readonly #options: BossJobsOptions
  /** When this process last planned each, in milliseconds since 1970. */
  readonly #planned = new Map<string, number>()
  readonly #sends = new Set<Promise<void>>()
  #forgetAbove = MOST_PLANNED
  #boss: PgBoss | undefined
  #isReady = false
  #early: (() => void)[] = []

  constructor(options: BossJobsOptions) {
    this.#options = options
  }

  async start(handler: JobHandler): Promise<void> {
    const { url, schema = DEFAULT_SCHEMA } = this.#options
    // Whoever has no PostgreSQL does not wait for it to be loaded.
    const { PgBoss } = await import('pg-boss')
    const boss = new PgBoss({
      connectionString: url.reveal(),
      schema,
      application_name: 'nightshift-gateway-jobs',
      max: CONNECTIONS,
      schedule: false,
      useListenNotify: true,
      maintenanceIntervalSeconds: KEPT_SECONDS,
    })
    this.#listen(boss)
    // A start that fails half-way leaves connections behind, too.
    this.#boss = boss
    await boss.start()
    for (const kind of JOB_KINDS) await this.#open(boss, kind, handler)
    this.#isReady = true
    const early = this.#early
    this.#early = []
    for (const plan of early) plan()
  }

  plan(job: Job, atMs: number): void {
    if (!this.#boss || !this.#isReady) {
      this.#early.push(() => this.plan(job, atMs))
      return
    }
    const send = this.#send(this.#boss, job, atMs).finally(() => this.#sends.delete(send))
    this.#sends.add(send)
  }

  async close(): Promise<void> {
    await Promise.all(this.#sends)
    await this.#boss?.stop({ graceful: true, timeout: STOP_MS, close: true })
  }

  #listen(boss: PgBoss): void {
    const { log } = this.#options
    // Without a listener an error would end the process.
    // What its workers meet with comes as an object that has the message of the error, and is none.
    boss.on('error', (error) => log.error('jobs_trouble', { reason: error.message || errorText(error) }))
    boss.on('warning', ({ message }) => log.warn('jobs_warning', { reason: message }))
  }

  async #open(boss: PgBoss, kind: JobKind, handler: JobHandler): Promise<void> {
    await boss.createQueue(kind, {
      // Of jobs with the same key one waits at most.
      policy: 'short',
      retryLimit: 0,
      expireInSeconds: LONGEST_JOB_SECONDS,
      deleteAfterSeconds: KEPT_SECONDS,
      notify: true,
    })
    const how = {
      localConcurrency: JOBS_AT_ONCE[kind],
      pollingIntervalSeconds: POLL_SECONDS,
      notifyPollingIntervalSeconds: POLL_SECONDS,
    }
    await boss.work<unknown>(kind, how, async (jobs) => {
      for (const { data } of jobs) await this.#run(data, handler)
    })
  }

  async #run(data: unknown, handler: JobHandler): Promise<void> {
    const parsed = jobSchema.safeParse(data)
    // One of a newer release, perhaps: whatever it was about is found by a sweep.
    if (!parsed.success) return this.#options.log.warn('odd_job', { reason: z.prettifyError(parsed.error) })
    const job: Job = parsed.data
    this.#planned.delete(jobKey(job))
    try {
      await handler(job)
    } catch (error) {
      this.#options.log.error('job_failed', { job: jobKey(job), reason: errorText(error) })
    }
  }

  /** What other replicas run is not heard of here. A plan that is past says nothing any more. */
  #forgetPast(now: number): void {
    if (this.#planned.size <= this.#forgetAbove) return
    for (const [key, atMs] of this.#planned) if (atMs < now) this.#planned.delete(key)
    this.#forgetAbove = Math.max(MOST_PLANNED, 2 * this.#planned.size)
  }

  /** Never rejects. */
  async #send(boss: PgBoss, job: Job, atMs: number): Promise<void> {
    const key = jobKey(job)
    const now = this.#options.now()
    const known = this.#planned.get(key)
    // What was planned for a time that is past may have been done by another replica.
    if (known !== undefined && known > now && known <= atMs) return
    this.#planned.set(key, atMs)
    this.#forgetPast(now)
    const options = { singletonKey: key, startAfter: new Date(atMs) }
    try {
      // What is put down beside one that waits already is dropped; to bring that one forward is said otherwise.
      const isSooner = atMs <= now || (known !== undefined && atMs < known)
      if (isSooner) await boss.upsert(job.kind, job, options)
      else await boss.send(job.kind, job, options)
    } catch (error) {
      this.#planned.delete(key)
      this.#options.log.warn('not_planned', { job: key, reason: errorText(error) })
    }
  }
}
