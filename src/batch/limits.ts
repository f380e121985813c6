import { budgetOf, roomNanoUsd } from './budget.ts'
import { isRemote, isUnpushed, type QueueFile } from './queue-file.ts'
import type { Spending, TaskState } from './task-state.ts'

/** The caps on what is sent, resolved to plain numbers. All are inclusive: reaching one is allowed, passing it is not. */
export interface SendLimits {
  readonly maxTaskRequests: number
  readonly maxTaskTokens: number
  readonly maxTaskNanoUsd: number
  readonly maxSessionRequests: number
  readonly maxSessionTokens: number
  readonly maxSessionNanoUsd: number
  readonly maxRemoteBatches: number
  readonly maxRemoteRequests: number
  readonly maxRemoteBytes: number
  readonly maxRemoteTokens: number
  readonly maxRemoteNanoUsd: number
  /** The hard cap: on what is spent and what can still be charged, by worst case. */
  readonly maxSpendNanoUsd: number | undefined
}

/** Why a batch or a call may not be sent now. `task` and `session` limits stay for the run; others pass. */
export type Blocked =
  | 'max task requests'
  | 'max task tokens'
  | 'max task cost'
  | 'max session requests'
  | 'max session tokens'
  | 'max session cost'
  | 'max remote batches'
  | 'max remote requests'
  | 'max remote size'
  | 'max remote tokens'
  | 'max remote cost'
  | 'max spend'

export const isLasting = (reason: Blocked): boolean => /^max (task|session) /.test(reason)

/** Bytes of a limit given in MB (10^6 bytes) after its safety factor; never under 1 MB. */
export const limitBytes = (megabytes: number, safety: number): number =>
  Math.max(Math.round((megabytes * 1_000_000) / safety), 1_000_000)

/** Tokens of a limit given in thousands after its safety factor; never under `least`. */
export const limitTokens = (kiloTokens: number, safety: number, least: number): number =>
  Math.max(Math.round((kiloTokens * 1000) / safety), least)

/** Whole nano-USD of an amount in USD. */
export const nanoUsd = (usd: number): number => Math.round(usd * 1e9)

/** What is about to be sent. */
export interface Load {
  readonly requests: number
  readonly bytes: number
  /** Expected prompt tokens. */
  readonly tokens: number
  /** Expected cost. */
  readonly nanoUsd: number
  /** The most it can cost; undefined when nobody knows. */
  readonly mostNanoUsd: number | undefined
}

/** Limits and what counts against them. */
export interface Allowance {
  readonly state: TaskState
  /** What had been sent when this run began. */
  readonly before: Spending
  readonly limits: SendLimits
}

/** A limit that a load would pass. Amounts are in what the limit is given in: requests, tokens, bytes or nano-USD. */
export interface Excess {
  readonly reason: Blocked
  /** What counts against the limit, the load included; infinite when nobody knows. */
  readonly amount: number
  readonly most: number
}

/** All reasons not to submit this batch now; none means go. A blocked batch does not block smaller ones after it. */
export const blockedBy = (load: Load, allowance: Allowance): Blocked[] => reasonsOf(excesses(load, allowance))

/** The same with figures. */
export function excesses(load: Load, allowance: Allowance): Excess[] {
  const { limits, state } = allowance
  const remote = remoteLoad(state.files.values())
  return [
    ...blockedForGood(load, allowance, remote.promised),
    ...exceeded([
      ['max remote batches', remote.batches + 1, limits.maxRemoteBatches],
      ['max remote requests', remote.requests + load.requests, limits.maxRemoteRequests],
      ['max remote size', remote.bytes + load.bytes, limits.maxRemoteBytes],
      ['max remote tokens', remote.tokens + load.tokens, limits.maxRemoteTokens],
      ['max remote cost', remote.nanoUsd + load.nanoUsd, limits.maxRemoteNanoUsd],
    ]),
    ...blockedBySpend(load, allowance),
  ]
}

/** All reasons not to make this call now, given what is promised to batches on their way. */
export const callBlockedBy = (load: Load, allowance: Allowance): Blocked[] =>
  reasonsOf(callExcesses(load, allowance))

/** The same with figures. */
export function callExcesses(load: Load, allowance: Allowance): Excess[] {
  const { promised } = remoteLoad(allowance.state.files.values())
  return [...blockedForGood(load, allowance, promised), ...blockedBySpend(load, allowance)]
}

type Sums = Pick<Load, 'requests' | 'tokens' | 'nanoUsd'>

function blockedForGood(load: Load, { state, before, limits }: Allowance, promised: Sums): Excess[] {
  const { sentRequests, sentInputTokens, sentNanoUsd } = state.spending
  const requests = sentRequests + promised.requests + load.requests
  const tokens = sentInputTokens + promised.tokens + load.tokens
  const nanoUsd = sentNanoUsd + promised.nanoUsd + load.nanoUsd
  return exceeded([
    ['max task requests', requests, limits.maxTaskRequests],
    ['max task tokens', tokens, limits.maxTaskTokens],
    ['max task cost', nanoUsd, limits.maxTaskNanoUsd],
    ['max session requests', requests - before.sentRequests, limits.maxSessionRequests],
    ['max session tokens', tokens - before.sentInputTokens, limits.maxSessionTokens],
    ['max session cost', nanoUsd - before.sentNanoUsd, limits.maxSessionNanoUsd],
  ])
}

function blockedBySpend({ mostNanoUsd }: Load, { state, limits }: Allowance): Excess[] {
  const { maxSpendNanoUsd } = limits
  if (maxSpendNanoUsd === undefined) return []
  const fits = mostNanoUsd !== undefined && mostNanoUsd <= roomNanoUsd(state, maxSpendNanoUsd)
  if (fits) return []
  const { spentNanoUsd, uncertainNanoUsd, reservedNanoUsd } = budgetOf(state)
  const taken = spentNanoUsd + uncertainNanoUsd + reservedNanoUsd
  const amount = taken + (mostNanoUsd ?? Number.POSITIVE_INFINITY)
  return [{ reason: 'max spend', amount, most: maxSpendNanoUsd }]
}

const exceeded = (checks: readonly (readonly [Blocked, number, number])[]): Excess[] =>
  checks
    .filter(([, amount, most]) => amount > most)
    .map(([reason, amount, most]) => ({ reason, amount, most }))

const reasonsOf = (passed: readonly Excess[]): Blocked[] => passed.map(({ reason }) => reason)

/** What is remote or on its way there. `promised`: of batches whose create is not yet confirmed. */
function remoteLoad(files: Iterable<QueueFile>) {
  const load = { batches: 0, requests: 0, bytes: 0, tokens: 0, nanoUsd: 0 }
  const promised = { requests: 0, tokens: 0, nanoUsd: 0 }
  for (const file of files) {
    const onItsWay = isUnpushed(file) && file.phase !== 'sealed'
    if (!onItsWay && !isRemote(file)) continue
    const tokens = file.tokens?.input ?? 0
    const { expectedNanoUsd = 0 } = file
    load.batches++
    load.bytes += file.bytes
    for (const sums of onItsWay ? [load, promised] : [load]) {
      sums.requests += file.requests
      sums.tokens += tokens
      sums.nanoUsd += expectedNanoUsd
    }
  }
  return { ...load, promised }
}
