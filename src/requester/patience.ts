import { pauseMs } from '../batch/pause-ms.ts'
import { errorText, NightshiftError, RemoteError } from '../errors.ts'
import { type Context, requestCounts } from './context.ts'

/** The caller asked the run to stop, or its deadline has passed. Whoever gets it leaves things as they are and returns. */
export class Interrupted extends NightshiftError {
  override readonly name = 'Interrupted'

  constructor() {
    super('interrupted', 'the run was asked to stop', { retryable: true })
  }
}

/** The server was out of reach, or the account exhausted, for longer than `maxWait`. The run can be resumed. */
export class WaitedTooLong extends NightshiftError {
  override readonly name = 'WaitedTooLong'

  constructor(what: string, waitedMs: number, cause: unknown) {
    const seconds = Math.round(waitedMs / 1000)
    super(
      'waited_too_long',
      `${what} failed for ${seconds} s without a break (--max-wait); run the task again to go on: ${errorText(cause)}`,
      {
        cause,
        retryable: true,
      },
    )
  }
}

/**
 * Failures in a row of one thing, and how long they have been waited out. Time in which the machine slept, or by which
 * its clock was put forward, is not time waited: of each round counts at most the pause and one call.
 */
export class Patience {
  readonly #context: Context
  readonly #what: string
  #failures = 0
  #waitedMs = 0
  #markMs: number
  #plannedMs = 0

  constructor(context: Context, what: string) {
    this.#context = context
    this.#what = what
    this.#markMs = context.clock.now()
  }

  /**
   * Waits before the next try: longer each time, `leastMs` at least, and as long as the server asked. Throws
   * `WaitedTooLong` once `maxWaitMs` have been waited, and `Interrupted` when the run is to stop. `news` ends the wait
   * early.
   */
  async afterFailure(error: NightshiftError, leastMs = 0, news?: Promise<void>): Promise<void> {
    const { clock, settings } = this.#context
    const elapsedMs = clock.now() - this.#markMs
    this.#waitedMs += Math.min(Math.max(0, elapsedMs), this.#plannedMs + settings.requestTimeoutMs)
    if (this.#waitedMs >= settings.maxWaitMs) throw new WaitedTooLong(this.#what, this.#waitedMs, error)
    this.#failures++
    this.#markMs = clock.now()
    this.#plannedMs = Math.max(leastMs, pauseMs(this.#failures, retryAfterOf(error)))
    await pause(this.#context, `${this.#what}: ${error.message}`, this.#plannedMs, news)
  }
}

/**
 * Calls the server until it answers, waiting longer each time, for at most `maxWaitMs` in all. Only for calls that
 * may be repeated. Errors that waiting cannot mend are thrown at once; `Interrupted` when the run is to stop.
 */
export async function withPatience<Result>(
  context: Context,
  what: string,
  call: () => Promise<Result>,
): Promise<Result> {
  const { stop } = context
  const patience = new Patience(context, what)
  for (;;) {
    if (stop.aborted) throw new Interrupted()
    try {
      return await call()
    } catch (error) {
      if (stop.aborted) throw new Interrupted()
      if (!(error instanceof RemoteError && error.retryable)) throw error
      await patience.afterFailure(error)
    }
  }
}

/** Waits, until `news` comes at most. Throws `Interrupted` when the run is to stop. */
export async function pause(
  context: Context,
  reason: string,
  ms: number,
  news?: Promise<void>,
): Promise<void> {
  const { clock, stop, store, emit, pace } = context
  emit({ kind: 'waiting', reason, untilMs: clock.now() + ms, counts: requestCounts(store.durable.state) })
  const awake = new AbortController()
  const ends = [clock.sleep(ms, AbortSignal.any([stop, awake.signal, ...(pace ? [pace.ended] : [])]))]
  if (news !== undefined) ends.push(news)
  await Promise.race(ends)
  awake.abort()
  if (stop.aborted || pace?.isOver) throw new Interrupted()
}

const retryAfterOf = (error: NightshiftError): number | undefined =>
  error instanceof RemoteError ? error.retryAfterMs : undefined
