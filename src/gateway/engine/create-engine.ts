import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RemoteApi } from '../../batch/remote-api.ts'
import type { Clock } from '../../util/clock.ts'
import type { Log } from '../log.ts'
import type { GatewaySettings } from '../settings.ts'
import type { GatewayStore } from '../store/store.ts'
import { BatchEngine } from './batch-engine.ts'
import { BossJobs } from './boss-jobs.ts'
import { type CallRunner, type Ladder, noCalls } from './call-runner.ts'
import type { EngineContext } from './context.ts'
import type { Engine } from './engine.ts'
import { EnqueuedTokens } from './enqueued-tokens.ts'
import type { Jobs } from './jobs.ts'
import { createValuer, type Valuer } from './money/valuer.ts'
import { Spool, temporarySpool } from './spool.ts'
import { StoreTime } from './store-time.ts'
import { TimerJobs } from './timer-jobs.ts'
import { Troubles } from './troubles.ts'

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
  /** Between two looks for work without a job, in milliseconds. Default: 10,000. */
  readonly sweepMs?: number
}

const LEASE_MS = 30_000
const SWEEP_MS = 10_000

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
    spool: spoolOf(options),
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

function spoolOf({ settings, replica, spoolDir }: EngineOptions): Spool {
  if (spoolDir !== undefined) return new Spool(spoolDir)
  const { store } = settings
  return store.kind === 'sqlite' ? new Spool(join(store.dataDir, 'spool')) : temporarySpool(tmpdir(), replica)
}
