import { NightshiftError, RemoteError } from '../errors.ts'
import type { Context } from './context.ts'
import { requestCounts } from './context.ts'

/** The caller asked the run to stop. Whoever gets it leaves things as they are and returns. */
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
      `${what} failed for ${seconds} s on end (--max-wait); run the task again to go on: ${text(cause)}`,
      {
        cause,
        retryable: true,
      },
    )
  }
}

const text = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 60_000

/** Milliseconds to wait after so many failures in a row; the server's own wish comes first. */
export const pauseMs = (failures: number, retryAfterMs: number | undefined): number =>
  retryAfterMs ?? Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, failures - 1))

/**
 * Calls the server until it answers, waiting longer each time, for at most `maxWaitMs` in all. Only for calls that
 * may be repeated. Errors that waiting cannot mend are thrown at once; `Interrupted` when the run is to stop.
 */
export async function withPatience<Result>(
  context: Context,
  what: string,
  call: () => Promise<Result>,
): Promise<Result> {
  const { clock, stop, settings } = context
  const begunMs = clock.now()
  for (let failures = 1; ; failures++) {
    if (stop.aborted) throw new Interrupted()
    try {
      return await call()
    } catch (error) {
      if (stop.aborted) throw new Interrupted()
      if (!(RemoteError.is(error) && error.retryable)) throw error
      const waitedMs = clock.now() - begunMs
      if (waitedMs >= settings.maxWaitMs) throw new WaitedTooLong(what, waitedMs, error)
      await pause(context, `${what}: ${error.message}`, pauseMs(failures, retryAfterOf(error)))
    }
  }
}

export async function pause(context: Context, reason: string, ms: number): Promise<void> {
  const { clock, stop, store, emit } = context
  emit({ kind: 'waiting', reason, untilMs: clock.now() + ms, counts: requestCounts(store.durable.state) })
  await clock.sleep(ms, stop)
  if (stop.aborted) throw new Interrupted()
}

const retryAfterOf = (error: NightshiftError): number | undefined =>
  error instanceof RemoteError ? error.retryAfterMs : undefined
