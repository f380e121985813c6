import type { Acceptance, Arrival } from '../domain/arrival.ts'
import type { Ending, Mode, RequestState } from '../domain/request.ts'

/** What is known of an earlier request that an arrival may be the same as: same tenant, and same fingerprint or key. */
export interface Candidate {
  readonly id: string
  readonly fingerprint: string
  readonly idempotencyKey: string | undefined
  readonly state: RequestState
  readonly ending: Ending | undefined
  /** A live caller waits for it now: its lease holds. */
  readonly isHeld: boolean
  /** Whether one does cannot be told yet. Absent: it can. */
  readonly mayBeHeld?: boolean
  readonly createdAt: number
  readonly finishedAt: number | undefined
  readonly deliveredAt: number | undefined
}

/**
 * Whether a call is one that is there already. Undefined: it is new.
 *
 * With an `Idempotency-Key` the key says it, and the body must be the same. Without one, SDKs send nothing by which a
 * retry could be told from a second sample of the same prompt; so an identical body goes with work that nobody waits
 * for any more and that nobody has got: a retry, a poll, a script that was started again. A twin that is being waited
 * for right now is a new sample. Whoever polls has no other way to ask again, so it is given for a while (`claimMs`)
 * what was delivered before; a failure is given once. While it cannot be told whether anybody waits for a twin, it
 * cannot be told either which of these a call is: a wrong guess would be paid for twice.
 */
export function decideArrival(
  arrival: Arrival,
  candidates: readonly Candidate[],
  nowMs: number,
): Acceptance | undefined {
  const { idempotencyKey: key, mode } = arrival
  const known = key === undefined ? undefined : candidates.find((one) => one.idempotencyKey === key)
  if (known) return known.fingerprint === arrival.fingerprint ? withKey(known, mode) : conflict(known)
  const twins = candidates.filter((one) => one.fingerprint === arrival.fingerprint)
  const stored = storedAnswer(arrival, twins, nowMs)
  if (stored) return { kind: 'cached', id: stored.id }
  if (mode === 'cache') return { kind: 'absent', pending: twins.find(({ state }) => state !== 'done')?.id }
  if (key !== undefined) return undefined
  const free = twins
    .filter((one) => one.idempotencyKey === undefined && one.ending !== 'cancelled')
    .filter((one) => !one.isHeld && isClaimable(one, arrival, nowMs))
    .sort(byClaim)
  const same = free.find(({ mayBeHeld = false }) => !mayBeHeld)
  if (same) return joined(same)
  return free.length > 0 ? { kind: 'unsure' } : undefined
}

const conflict = ({ id }: Candidate): Acceptance => ({ kind: 'conflict', id })

/** In mode `cache` nobody waits for what is not there yet. */
const withKey = (known: Candidate, mode: Mode): Acceptance =>
  mode === 'cache' && known.state !== 'done' ? { kind: 'absent', pending: known.id } : joined(known)

const joined = ({ id, state }: Candidate): Acceptance => ({ kind: 'joined', id, isDone: state === 'done' })

/** An answer that serves without new work: any that is stored in mode `cache`, else one that is young enough. */
function storedAnswer(
  { mode, cacheMs }: Arrival,
  twins: readonly Candidate[],
  nowMs: number,
): Candidate | undefined {
  const oldest = mode === 'cache' ? Number.NEGATIVE_INFINITY : nowMs - cacheMs
  if (mode !== 'cache' && cacheMs <= 0) return undefined
  return twins
    .filter(({ ending, finishedAt = 0 }) => ending === 'succeeded' && finishedAt >= oldest)
    .sort((a, b) => (b.finishedAt ?? 0) - (a.finishedAt ?? 0))[0]
}

function isClaimable({ deliveredAt, ending }: Candidate, { mode, claimMs }: Arrival, nowMs: number): boolean {
  if (deliveredAt === undefined) return true
  if (mode !== 'poll' && mode !== 'async') return false
  return ending === 'succeeded' && deliveredAt >= nowMs - claimMs
}

/** What nobody got goes before what was delivered, an answer before work, the oldest first. */
function byClaim(a: Candidate, b: Candidate): number {
  return rank(a) - rank(b) || a.createdAt - b.createdAt
}

function rank({ deliveredAt, state }: Candidate): number {
  if (deliveredAt !== undefined) return 2
  return state === 'done' ? 0 : 1
}
