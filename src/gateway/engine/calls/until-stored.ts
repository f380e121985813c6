import { NightshiftError } from '../../../errors.ts'
import type { Clock } from '../../../util/clock.ts'

const FIRST_PAUSE_MS = 100
const MAX_PAUSE_MS = 5_000

/**
 * Does something with the store until the store has done it, however long it is away: what came back from the server is
 * in memory only until then. For what does no harm when it was done before. Throws what is no passing trouble, and the
 * trouble itself once `stop` is aborted.
 */
export async function untilStored<Result>(
  clock: Clock,
  stop: AbortSignal,
  act: () => Promise<Result>,
): Promise<Result> {
  for (let failures = 0; ; failures++) {
    try {
      return await act()
    } catch (error) {
      if (stop.aborted || !NightshiftError.is(error) || !error.retryable) throw error
      await clock.sleep(Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures), stop)
    }
  }
}
