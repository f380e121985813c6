import { pauseMs } from '../../batch/pause-ms.ts'
import type { CreateBatchRequest } from '../../batch/remote-api.ts'
import { isFileNotFound, MOST_UNSEEN, UNSEEN_PAUSE_MS } from '../../batch/remote-refusals.ts'
import { RemoteError } from '../../errors.ts'
import type { WireBatch } from '../../openai/wire.ts'
import type { Claim } from './claims.ts'
import type { EngineContext } from './context.ts'

/** A create that is refused for now is held on to for so long, upload and all. */
const LONGEST_HOLD_MS = 2 * 60_000

/**
 * What is known after a create was sent. `doubtful`: the server may have carried it out. `refused`: it has not, and will
 * not soon. `stopped`: it has not, and this process is to end.
 */
export type Creation =
  | { readonly kind: 'created'; readonly batch: WireBatch }
  | { readonly kind: 'doubtful' | 'refused' | 'stopped'; readonly error: RemoteError }

interface Refusals {
  readonly unseen: number
  readonly others: number
}

/**
 * Sends the one call that must not be made twice, each time under a claim that was just made sure of; again only after a
 * definite refusal that time can mend. Throws `ClaimLost`.
 */
export async function createOnce(
  context: EngineContext,
  claim: Claim,
  request: CreateBatchRequest,
): Promise<Creation> {
  const { api, clock, stop, cut } = context
  const holdUntil = clock.now() + LONGEST_HOLD_MS
  let refusals: Refusals = { unseen: 0, others: 0 }
  for (;;) {
    await claim.renew()
    try {
      return { kind: 'created', batch: await api.createBatch(request, AbortSignal.any([cut, claim.lost])) }
    } catch (error) {
      if (!(error instanceof RemoteError)) throw error
      if (error.acted === 'unknown') return { kind: 'doubtful', error }
      refusals = counted(refusals, error)
      const waitMs = waitAfter(error, refusals)
      const isTooLong = waitMs === undefined || (!isFileNotFound(error) && clock.now() + waitMs > holdUntil)
      if (isTooLong) return { kind: 'refused', error }
      await clock.sleep(waitMs, AbortSignal.any([stop, claim.lost]), { background: true })
      if (stop.aborted) return { kind: 'stopped', error }
    }
  }
}

const counted = ({ unseen, others }: Refusals, error: RemoteError): Refusals =>
  isFileNotFound(error) ? { unseen: unseen + 1, others } : { unseen, others: others + 1 }

/** Milliseconds until it is worth another try; undefined when it is none. */
function waitAfter(error: RemoteError, { unseen, others }: Refusals): number | undefined {
  if (isFileNotFound(error)) return unseen <= MOST_UNSEEN ? UNSEEN_PAUSE_MS : undefined
  return error.retryable ? pauseMs(others, error.retryAfterMs) : undefined
}
