import type { Outcome, StoredRequest } from '../domain/request.ts'
import type { GatewayStore } from '../store/store.ts'
import type { Claim } from './claims.ts'

/** Outcomes that are put on record at once. */
export const CHUNK = 500

/** Decides about all that still waits for a batch, and puts it on record. Gives how many there were. */
export async function settleWaiting(
  store: GatewayStore,
  claim: Claim,
  decide: (request: StoredRequest) => Outcome | undefined,
): Promise<number> {
  const ids = await store.waitingFor(claim.number)
  let settled = 0
  for (let at = 0; at < ids.length; at += CHUNK) {
    const requests = await store.requests(ids.slice(at, at + CHUNK))
    const outcomes = requests.map(decide).filter((outcome) => outcome !== undefined)
    settled += (await claim.settle(outcomes)).length
  }
  return settled
}
