import { RemoteError } from '../../errors.ts'
import type { WireBatch } from '../../openai/wire.ts'
import type { Clock } from '../../util/clock.ts'
import type { GatewayBatch } from '../domain/batch.ts'
import { Advancing } from './advancing.ts'
import { Claims } from './claims.ts'
import { Collection } from './collection.ts'
import { type EngineContext, jobOf } from './context.ts'
import { Cutter } from './cutter.ts'
import type { Arrived, Engine } from './engine.ts'
import { FailedBatches } from './failed-batches.ts'
import type { Job } from './jobs.ts'
import { Litter } from './litter.ts'
import { Polling } from './polling.ts'
import { remoteText } from './remote-text.ts'
import { Strays } from './strays.ts'
import { Sweeper } from './sweeper.ts'
import { Unsent } from './unsent.ts'

/** How long uploads and creates that are under way are waited for at the end. */
const PATIENCE_MS = 10_000
/** Whoever looks at a batch hears what is known of it when the server takes longer than this. */
const LOOK_MS = 10_000

/** What an engine is switched by and what it is told beside its context. */
export interface Switches {
  readonly stop: AbortController
  readonly cut: AbortController
  readonly sendWebhooks: (() => Promise<void>) | undefined
  readonly leaseMs: number
  readonly sweepMs: number
}

/** The engine: parts that do the work, and jobs that say when. */
export class BatchEngine implements Engine {
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
    if (requests.some(mayBeCalled)) this.#context.calls.arrived()
  }

  flush(tenant: string | undefined): Promise<number> {
    return this.#cutter.flush(tenant)
  }

  async look(tenant: string, batchId: string): Promise<GatewayBatch | undefined> {
    const { store, api, stop, clock } = this.#context
    const known = await store.batchByRemoteId(batchId, tenant)
    if (!known) return undefined
    const isOver = new AbortController()
    const late = lateSignal(clock, LOOK_MS, isOver.signal)
    try {
      return withRemote(known, await api.retrieveBatch(batchId, AbortSignal.any([stop, late])))
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      return known
    } finally {
      isOver.abort()
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
    try {
      await Promise.all([jobs.close(), calls.close(), this.#sweeping])
    } finally {
      done.abort()
      await patience
      await spool.close()
    }
  }

  /** Whatever becomes of jobs: each process asks for a sweep from time to time, and sets its time right. */
  async #sweep(): Promise<void> {
    const { clock, jobs, time, stop } = this.#context
    while (!stop.aborted) {
      await clock.sleep(this.#switches.sweepMs, stop, { background: true })
      if (stop.aborted) return
      await this.#sweeper.refreshTime()
      jobs.plan({ kind: 'sweep' }, time.now())
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

/** What waits for a batch and has no deadline is nothing that calls have to look at, and there is much of it. */
const mayBeCalled = ({ route, hasDeadline }: Arrived): boolean => route !== 'batch' || hasDeadline

/** Aborted after so long, unless it is over before. */
function lateSignal(clock: Clock, ms: number, isOver: AbortSignal): AbortSignal {
  const late = new AbortController()
  void clock.sleep(ms, isOver, { background: true }).then(() => late.abort())
  return late.signal
}

const withRemote = (batch: GatewayBatch, remote: WireBatch): GatewayBatch => ({
  ...batch,
  status: remote.status,
  remote: remoteText(remote),
})
