import { errorText, NightshiftError } from '../../errors.ts'
import { type EngineContext, jobOf } from './context.ts'
import type { Litter } from './litter.ts'
import type { Strays } from './strays.ts'

const LEASE_MS = 60_000
/** Batches that one sweep finds work for. */
const MOST_AT_ONCE = 1_000

export interface SweeperParts {
  readonly strays: Strays
  readonly litter: Litter
}

/** Finds what is due and has no job, whatever became of it, and does what is to be done from time to time. */
export class Sweeper {
  readonly #context: EngineContext
  readonly #parts: SweeperParts

  constructor(context: EngineContext, parts: SweeperParts) {
    this.#context = context
    this.#parts = parts
  }

  /** Each part for itself: one that fails is tried again by the next sweep. */
  async run(): Promise<void> {
    await this.#guarded('batches', () => this.takeUp())
    await this.#guarded('enqueued', () => this.#tidy())
    await this.#alone('strays', () => this.#parts.strays.run())
    await this.#alone('litter', () => this.#parts.litter.run())
  }

  /** For each replica to do: a sweep is done by one of them. */
  async refreshTime(): Promise<void> {
    await this.#guarded('time', () => this.#context.time.refresh())
  }

  /** Plans whatever is due, also what a replica was at that is gone. */
  async takeUp(): Promise<void> {
    const { store, jobs, time } = this.#context
    await store.freeGone()
    jobs.plan({ kind: 'cut' }, time.now())
    jobs.plan({ kind: 'webhook' }, time.now())
    for (const batch of await store.dueBatches(MOST_AT_ONCE)) {
      const job = jobOf(batch)
      if (job) jobs.plan(job, time.now())
    }
  }

  async #tidy(): Promise<void> {
    const { store, enqueued } = this.#context
    await enqueued.tidy(await store.openBatches())
  }

  /** One replica at a time. */
  async #alone(name: string, act: () => Promise<void>): Promise<void> {
    const { store, replica, stop } = this.#context
    await this.#guarded(name, async () => {
      if (!stop.aborted && (await store.lease(name, replica, LEASE_MS))) await act()
    })
  }

  async #guarded(what: string, act: () => Promise<void>): Promise<void> {
    const { log, stop } = this.#context
    try {
      await act()
    } catch (error) {
      if (!NightshiftError.is(error)) throw error
      if (!stop.aborted) log.warn('sweep_failed', { what, reason: errorText(error) })
    }
  }
}
