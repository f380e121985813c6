/** What became of a request. `forgotten` ones were wiped: their key may be given again, under a new number. */
export type RequestState = 'pending' | 'succeeded' | 'failed' | 'forgotten'

/** Where a direct call stands; a request in a batch stays `queued`. */
export type CallState = 'queued' | 'sent' | 'received'

export interface RequestRecord {
  readonly state: RequestState
  readonly call: CallState
  /** Attempts used up before the present one, from 0. */
  readonly attempt: number
  /** How often a line of it was queued before the present one, from 0. */
  readonly queued: number
  /** How often it came back expired or cancelled. */
  readonly expiries: number
  /** The queue file its current line is in; 0 when it is in none. */
  readonly file: number
}

/** What never changes about a request. */
export interface RequestIdentity {
  readonly key: string
  /** The sample it belongs to; the same string as `key` unless the task said otherwise. */
  readonly sample: string
  /** Hash of the body as it was yielded. */
  readonly hash: string
  /** Which version of the task's parameters it was generated with, from 0. */
  readonly params: number
  /** Byte offset of the ledger line that holds its `meta`; undefined when it has none, `LINE_IN_HAND` until that line is written. */
  readonly metaAt: number | undefined
}

/** Stands for the offset of the ledger line that is being put together. */
export const LINE_IN_HAND = -2

export interface Remembered {
  readonly key: string
  readonly value: unknown
}

/** The standing of one sample: its requests by state, and what its verdicts asked to remember, in order. */
export interface SampleStanding {
  readonly pending: number
  readonly succeeded: number
  readonly failed: number
  readonly remembered: readonly Remembered[]
}

export const emptyStanding: SampleStanding = Object.freeze({
  pending: 0,
  succeeded: 0,
  failed: 0,
  remembered: Object.freeze([]),
})

/** Samples by what became of their requests; each counts as soon as one of them is added, and no more when all are forgotten. */
export interface SampleTally {
  readonly committed: number
  /** With a request that succeeded. */
  readonly succeeded: number
  /** With a request that failed for good. */
  readonly failed: number
  /** With both. */
  readonly mixed: number
}

/** The requests of a task, as steps read and change them. One real table, and layers of uncommitted changes over it. */
export interface RequestTable {
  /** The number of a request that is not forgotten. */
  find(key: string): number | undefined
  get(request: number): RequestRecord
  /** The highest number given so far; 0 when there is none. */
  readonly last: number
  identity(request: number): RequestIdentity
  /** The request that waits for the same answer behind this one; 0 when none does. */
  follower(request: number): number
  /** Undefined for a sample nobody has heard of. */
  sample(name: string): SampleStanding | undefined
  /** Distinct samples seen. */
  readonly sampleCount: number
  /** Of what is durable. */
  readonly sampleTally: SampleTally

  add(request: number, identity: RequestIdentity, record: RequestRecord): void
  set(request: number, record: RequestRecord): void
  /** From now on `follower` waits behind this request; with 0 none does. */
  follow(request: number, follower: number): void
  remember(sample: string, entry: Remembered): void
  /** Forgets every request in one of these states: its key, what it counted in its sample, what its verdicts remembered, who waits behind it. */
  forget(states: readonly RequestState[]): void
}
