import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RemoteApi } from '../../batch/remote-api.ts'
import { RemoteError } from '../../errors.ts'
import type { WireBatch } from '../../openai/wire.ts'
import type { Clock } from '../../util/clock.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import type { Log } from '../log.ts'
import type { GatewaySettings } from '../settings.ts'
import type { GatewayStore } from '../store/store.ts'
import { Advancing } from './advancing.ts'
import { BossJobs } from './boss-jobs.ts'
import { type CallRunner, type Ladder, noCalls } from './call-runner.ts'
import { Claims } from './claims.ts'
import { Collection } from './collection.ts'
import { type EngineContext, jobOf } from './context.ts'
import { Cutter } from './cutter.ts'
import type { Arrived, Engine } from './engine.ts'
import { EnqueuedTokens } from './enqueued-tokens.ts'
import { FailedBatches } from './failed-batches.ts'
import type { Job, Jobs } from './jobs.ts'
import { Litter } from './litter.ts'
import { createValuer, type Valuer } from './money/valuer.ts'
import { Polling } from './polling.ts'
import { remoteText } from './remote-text.ts'
import { Spool } from './spool.ts'
import { StoreTime } from './store-time.ts'
import { Strays } from './strays.ts'
import { Sweeper } from './sweeper.ts'
import { TimerJobs } from './timer-jobs.ts'
import { Troubles } from './troubles.ts'
import { Unsent } from './unsent.ts'

export interface EngineOptions {
  readonly store: GatewayStore
  readonly api: RemoteApi
  readonly settings: GatewaySettings
  readonly clock: Clock
  readonly log: Log
  /** Id of this process among all that share the store. */
  readonly replica: string
  /** Who makes flex and direct calls. Default: nobody does. */
  readonly calls?: CallRunner
  /** Default: by the price table. */
  readonly valuer?: Valuer
  /** Default: timers of this process; with PostgreSQL, pg-boss. */
  readonly jobs?: (time: StoreTime) => Jobs
  /** Sends webhooks that are due. Default: there are none. */
  readonly sendWebhooks?: () => Promise<void>
  /** Folder for files on their way, of this process alone. Default: in the data folder, or the system's for temporary files. */
  readonly spoolDir?: string
  /** How long a batch is kept from others by a process that gives no sign of life, in milliseconds. Default: 30,000. */
  readonly leaseMs?: number
  /** Between two looks for work without a job, in milliseconds. Default: 30,000. */
  readonly sweepMs?: number
}

/** How long uploads and creates that are under way are waited for at the end. */
const PATIENCE_MS = 10_000
const LEASE_MS = 30_000
const SWEEP_MS = 30_000

const byPriority: Ladder = ({ priority }) => (priority === 'low' ? 'batch' : 'direct')

/** Puts an engine together. It does nothing before `start`. */
export function createEngine(options: EngineOptions): Engine {
  const { store, api, settings, clock, log, replica, calls = noCalls } = options
  const time = new StoreTime(store, clock)
  const stop = new AbortController()
  const cut = new AbortController()
  const jobs = options.jobs?.(time) ?? defaultJobs(options, time)
  const context: EngineContext = {
    store,
    api,
    settings,
    clock,
    time,
    log,
    replica,
    jobs,
    calls,
    ladder: calls.routeOf ?? byPriority,
    valuer: options.valuer ?? createValuer(),
    spool: new Spool(options.spoolDir ?? spoolDir(settings, replica)),
    enqueued: new EnqueuedTokens(store, time),
    troubles: new Troubles(),
    stop: stop.signal,
    cut: cut.signal,
  }
  const { sendWebhooks, leaseMs = LEASE_MS, sweepMs = SWEEP_MS } = options
  return new BatchEngine(context, { stop, cut, sendWebhooks, leaseMs, sweepMs })
}

function defaultJobs({ settings, clock, log }: EngineOptions, time: StoreTime): Jobs {
  const now = () => time.now()
  const { store } = settings
  return store.kind === 'postgres'
    ? new BossJobs({ url: store.url, now, log })
    : new TimerJobs({ clock, now, log })
}

const spoolDir = ({ store }: GatewaySettings, replica: string): string =>
  store.kind === 'sqlite'
    ? join(store.dataDir, 'spool')
    : join(tmpdir(), `nightshift-gateway-${replica.replace(/[^\w-]/g, '_')}`)

interface Switches {
  readonly stop: AbortController
  readonly cut: AbortController
  readonly sendWebhooks: EngineOptions['sendWebhooks']
  readonly leaseMs: number
  readonly sweepMs: number
}

/** The engine: parts that do the work, and jobs that say when. */
class BatchEngine implements Engine {
  readonly #context: EngineContext
  readonly #switches: Switches
  readonly #claims: Claims
  readonly #cutter: Cutter
  readonly #advancing: Advancing
  readonly #polling: Polling
  readonly #sweeper: Sweeper
  #sweeping: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(context: EngineContext, switches: Switches) {
    this.#context = context
    this.#switches = switches
    this.#claims = new Claims({ ...context, leaseMs: switches.leaseMs })
    const unsent = new Unsent(context)
    const collection = new Collection(context, new FailedBatches(context, unsent))
    this.#cutter = new Cutter(context, this.#claims)
    this.#advancing = new Advancing(context, { claims: this.#claims, unsent, collection })
    this.#polling = new Polling(context, { claims: this.#claims, unsent })
    this.#sweeper = new Sweeper(context, { strays: new Strays(context), litter: new Litter(context) })
  }

  arrived(requests: readonly Arrived[]): void {
    this.#cutter.arrived(requests)
    this.#context.calls.arrived()
  }

  flush(tenant: string | undefined): Promise<number> {
    return this.#cutter.flush(tenant)
  }

  async look(tenant: string, batchId: string): Promise<GatewayBatch | undefined> {
    const { store, api, stop } = this.#context
    const known = await store.batchByRemoteId(batchId, tenant)
    if (!known) return undefined
    try {
      return withRemote(known, await api.retrieveBatch(batchId, stop))
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      return known
    }
  }

  /** The wish is on record before the server is told, and is carried out at the next look should that fail. */
  async cancel(tenant: string, batchId: string): Promise<GatewayBatch | undefined> {
    const { store, api, stop, jobs, time } = this.#context
    const known = await store.batchByRemoteId(batchId, tenant)
    if (!known) return undefined
    if (known.phase === 'remote') await store.askCancel(known.number, 'caller')
    const cancelled = withRemote(known, await api.cancelBatch(batchId, stop))
    const job = jobOf(known)
    if (job) jobs.plan(job, time.now())
    return cancelled
  }

  async start(): Promise<void> {
    const { jobs, calls, time, store } = this.#context
    await time.refresh()
    await this.#context.enqueued.tidy(await store.openBatches())
    await jobs.start((job) => this.#run(job))
    await this.#sweeper.takeUp()
    jobs.plan({ kind: 'sweep' }, time.now())
    this.#sweeping = this.#sweep()
    calls.start()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { clock, jobs, calls, spool } = this.#context
    const { stop, cut } = this.#switches
    const done = new AbortController()
    stop.abort()
    const patience = clock.sleep(PATIENCE_MS, done.signal, { background: true }).then(() => cut.abort())
    await Promise.all([jobs.close(), calls.close(), this.#sweeping])
    done.abort()
    await patience
    await spool.close()
  }

  /** Whatever becomes of jobs: each process asks for a sweep from time to time. */
  async #sweep(): Promise<void> {
    const { clock, jobs, time, stop } = this.#context
    while (!stop.aborted) {
      await clock.sleep(this.#switches.sweepMs, stop, { background: true })
      if (!stop.aborted) jobs.plan({ kind: 'sweep' }, time.now())
    }
  }

  async #run(job: Job): Promise<void> {
    if (this.#context.stop.aborted) return
    switch (job.kind) {
      case 'cut':
        return this.#cutter.run()
      case 'submit':
      case 'collect':
        return this.#advancing.run(job.batch)
      case 'poll':
        return this.#polling.run()
      case 'webhook':
        return this.#switches.sendWebhooks?.()
      case 'sweep':
        return this.#sweeper.run()
      default:
        return job satisfies never
    }
  }
}

const withRemote = (batch: GatewayBatch, remote: WireBatch): GatewayBatch => ({
  ...batch,
  status: remote.status,
  remote: remoteText(remote),
})
