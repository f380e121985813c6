import { pollIntervalMs } from '../batch/polling.ts'
import type { QueueFile } from '../batch/queue-file.ts'
import { type NoRoom, quotaPool } from '../batch/quota.ts'
import { listed } from '../batch/remote-marks.ts'
import { errorText, type NightshiftError, RemoteError } from '../errors.ts'
import { Notifier } from '../util/notifier.ts'
import type { Context } from './context.ts'
import { claimOf } from './governor.ts'
import { pause, WaitedTooLong } from './patience.ts'
import { allBatches } from './remote-search.ts'

/** A task that has nothing enqueued does not wait for others any longer than that: they may be dead. */
const MOST_WAIT_MS = 15 * 60_000
/** Whoever waits asks at least so often, or loses its place in line. */
const LONGEST_PAUSE_MS = 60_000
const LOOK_EVERY_MS = 5 * 60_000
/** A batch that is in no listing so long after its room was taken never came to be. */
const UNMADE_MS = 3_600_000
/** Batches of one server may be dated a little out of order. */
const DATE_SLACK_MS = 3_600_000

/** Waits for room for batches in what the account may have enqueued. */
export class EnqueueTurn {
  readonly #context: Context
  /** Since when there has been no room for a model while nothing of this task was enqueued. */
  readonly #idleSince = new Map<string, number>()
  /** Pools that a file asks for room in, or waits to ask again. */
  readonly #asking = new Set<string>()
  readonly #asked = new Notifier()
  #lookedMs: number | undefined
  #toldUnlisted = false

  constructor(context: Context) {
    this.#context = context
  }

  /**
   * Takes room for a file that is to be sent under this tag. False when there was none, after some time: whether it is
   * still to be sent, and as it is, is to be decided anew. Throws `Interrupted`.
   */
  async take(file: QueueFile, tag: string, mustShrink: () => boolean): Promise<boolean> {
    const { governor, stop } = this.#context
    await governor.ask(stop)
    const pool = quotaPool(file.model)
    // One asks for all: where there is no room for it there is none for the next. It ends when the run is to stop, too.
    if (this.#asking.has(pool)) {
      await this.#asked.wait()
      return false
    }
    this.#asking.add(pool)
    try {
      return await this.#ask(file, tag, mustShrink)
    } finally {
      this.#asking.delete(pool)
      this.#asked.notify()
    }
  }

  async #ask(file: QueueFile, tag: string, mustShrink: () => boolean): Promise<boolean> {
    const { governor, settings, pace } = this.#context
    const pool = quotaPool(file.model)
    const news = Promise.race([governor.freed(), ...(pace ? [pace.changed()] : [])])
    const answer = await governor.take(claimOf(file, tag))
    if (answer.ok) {
      this.#idleSince.delete(pool)
      return true
    }
    if (mustShrink()) return false
    const waitedMs = this.#waitedMs(file.model)
    if (waitedMs >= MOST_WAIT_MS) {
      this.#idleSince.delete(pool)
      await governor.force(claimOf(file, tag))
      return true
    }
    if (await this.#look(file.model)) return false
    const ms = Math.min(LONGEST_PAUSE_MS, pollIntervalMs(settings.pollBaseMs, waitedMs))
    await pause(this.#context, waitingFor(file, answer), ms, news)
    return false
  }

  #waitedMs(model: string): number {
    const { governor, clock } = this.#context
    const pool = quotaPool(model)
    const now = clock.now()
    const since = governor.holdsAny(model) ? now : (this.#idleSince.get(pool) ?? now)
    this.#idleSince.set(pool, since)
    // A clock that was set back must not make it longer.
    return Math.abs(now - since)
  }

  /** Looks what has become of others' batches. True when some of them hold nothing any more. */
  async #look(model: string): Promise<boolean> {
    const { governor, clock } = this.#context
    const others = governor.heldByOthers(model)
    const now = clock.now()
    const isDue = this.#lookedMs === undefined || Math.abs(now - this.#lookedMs) >= LOOK_EVERY_MS
    if (others.size === 0 || !isDue) return false
    this.#lookedMs = now
    const seen = await this.#tagsSince(Math.min(...others.values()) - DATE_SLACK_MS)
    if (!seen) return false
    const unmade = [...others].filter(([tag, at]) => !seen.has(tag) && Math.abs(now - at) >= UNMADE_MS)
    await governor.forget(unmade.map(([tag]) => tag))
    return governor.heldByOthers(model).size < others.size
  }

  /** Tags of all batches that were created since, in milliseconds since 1970; undefined when they cannot be listed. */
  async #tagsSince(sinceMs: number): Promise<ReadonlySet<string> | undefined> {
    const seen = new Set<string>()
    try {
      for await (const batch of allBatches(this.#impatient)) {
        if (batch.created_at * 1000 < sinceMs) break
        seen.add(listed(batch).tag ?? '')
      }
      return seen
    } catch (error) {
      if (!(error instanceof WaitedTooLong || error instanceof RemoteError)) throw error
      this.#tellUnlisted(error)
      return undefined
    }
  }

  /** A look is no more than advice: a listing that fails is not asked for again until the next one is due. */
  get #impatient(): Context {
    return { ...this.#context, settings: { ...this.#context.settings, maxWaitMs: 0 } }
  }

  #tellUnlisted(error: NightshiftError): void {
    if (this.#toldUnlisted) return
    this.#toldUnlisted = true
    const cause = error instanceof WaitedTooLong ? error.cause : error
    const message = `batches could not be listed (${errorText(cause)}): whether others still have tokens enqueued is not known`
    this.#context.emit({ kind: 'warning', code: 'not_listed', message })
  }
}

const waitingFor = ({ id, model }: QueueFile, { limit, reserved }: NoRoom): string =>
  `room for batch ${id}: of ${limit} tokens that ${model} may have enqueued, ${reserved} are taken`
