import { assertNever } from '../util/exhaustive.ts'
import { refusalOf } from './refusals.ts'
import type { Failure } from './reply.ts'

/** What became of one direct call. */
export type CallEnd =
  /** An HTTP answer; `failure` when it is no good one. */
  | { readonly kind: 'answered'; readonly failure: Failure | undefined }
  /** No connection was made: the server cannot have done anything. */
  | { readonly kind: 'unreachable' }
  /** The connection ended, or the time was up, before the answer had come: the server may have done the work. */
  | { readonly kind: 'lost'; readonly timedOut: boolean }

export interface CallFacts {
  /** Answers to this attempt that were, or may have been, lost so far, this one included. */
  readonly losses: number
  /** Different requests in trouble (`isTrouble`) since the last good answer, this one included. */
  readonly failing: number
  /** There were good answers with this key before. */
  readonly keyWorks: boolean
}

/**
 * What to do about it.
 *   record: it is about the request itself, and is kept as its reply or failed attempt.
 *   repeat: it is not; the same attempt is made again, after a pause.
 *   stop: the key is refused.
 */
export type CallPlan = 'record' | 'repeat' | 'stop'

/** So many different requests that fail on end are trouble at the server or on the way, not theirs. */
const OUTAGE = 3

/** Whether so many different requests without an answer of their own make an outage. */
export const isOutage = (failing: number): boolean => failing >= OUTAGE

/** Lost answers to one attempt that are believed to be accidents; each may have been paid for. */
const MOST_LOSSES = 3

export function planAfterCall(end: CallEnd, facts: CallFacts): CallPlan {
  const outage = isOutage(facts.failing)
  switch (end.kind) {
    case 'unreachable':
      return 'repeat'
    case 'lost':
      return (outage || !end.timedOut) && facts.losses <= MOST_LOSSES ? 'repeat' : 'record'
    case 'answered': {
      if (!end.failure) return 'record'
      const refusal = refusalOf(end.failure)
      if (refusal === 'key') return facts.keyWorks && end.failure.status === 403 ? 'record' : 'stop'
      if (refusal === 'account') return 'repeat'
      return outage && isServerDown(end.failure.status) ? 'repeat' : 'record'
    }
    default:
      return assertNever(end)
  }
}

/** Whether an answer shows that the server works: whatever it says is about the request. */
export const isSoundAnswer = (end: CallEnd): boolean =>
  end.kind === 'answered' && (end.failure?.status ?? 200) < 500 && !(end.failure && refusalOf(end.failure))

/** Whether an end speaks of the server or of the way to it, rather than of the request, the account or the key. */
export const isTrouble = (end: CallEnd): boolean =>
  end.kind !== 'answered' || (end.failure?.status ?? 200) >= 500

/** Whether the work may have been done although no answer of its own came back: a gateway only says that it got none. */
export function mayHaveActed(end: CallEnd): boolean {
  if (end.kind !== 'answered') return end.kind === 'lost'
  const status = end.failure?.status ?? 200
  return status === 502 || status === 504 || (status >= 520 && status !== 529)
}

/** Bad gateway, unavailable, gateway timeout, overloaded. A plain 500 may well be about one request. */
const isServerDown = (status: number | undefined): boolean =>
  status !== undefined && status > 501 && status !== 505 && status < 600
