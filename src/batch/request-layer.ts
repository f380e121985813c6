import {
  emptyStanding,
  LINE_IN_HAND,
  type Remembered,
  type RequestIdentity,
  type RequestRecord,
  type RequestState,
  type RequestTable,
  type SampleStanding,
  type SampleTally,
} from './request-table.ts'

type Change =
  | {
      readonly kind: 'add'
      readonly request: number
      readonly identity: RequestIdentity
      readonly record: RequestRecord
    }
  | { readonly kind: 'set'; readonly request: number; readonly record: RequestRecord }
  | { readonly kind: 'follow'; readonly request: number; readonly follower: number }
  | { readonly kind: 'remember'; readonly sample: string; readonly entry: Remembered }
  | { readonly kind: 'forget'; readonly states: readonly RequestState[] }

/** What is added to a sample's counts, and to what it remembers. */
interface SampleChange {
  pending: number
  succeeded: number
  failed: number
  remembered: Remembered[]
}

/**
 * Changes that are not durable yet, over a table that is. Reads see the changes; `mergeInto` carries them out on the
 * table below once they are on disk; throwing the layer away undoes them.
 */
export class RequestLayer implements RequestTable {
  #below: RequestTable
  readonly #changes: Change[] = []
  readonly #records = new Map<number, RequestRecord>()
  readonly #followers = new Map<number, number>()
  readonly #identities = new Map<number, RequestIdentity>()
  readonly #keys = new Map<string, number | undefined>()
  /** What changes in each sample, not how it then stands: that may be long, and is put together only when asked for. */
  readonly #samples = new Map<string, SampleChange>()
  /** Keys forgotten here: what the table below remembers of them is void, whatever sample it is kept with. */
  readonly #gone = new Set<string>()
  #last: number

  constructor(below: RequestTable) {
    this.#below = below
    this.#last = below.last
  }

  get last(): number {
    return this.#last
  }

  get sampleCount(): number {
    return this.#below.sampleCount
  }

  get sampleTally(): SampleTally {
    return this.#below.sampleTally
  }

  find(key: string): number | undefined {
    return this.#keys.has(key) ? this.#keys.get(key) : this.#below.find(key)
  }

  get(request: number): RequestRecord {
    return this.#records.get(request) ?? this.#below.get(request)
  }

  identity(request: number): RequestIdentity {
    return this.#identities.get(request) ?? this.#below.identity(request)
  }

  sample(name: string): SampleStanding | undefined {
    const standing = this.#below.sample(name)
    const change = this.#samples.get(name)
    if (!standing && !change) return undefined
    return changed(standing ?? emptyStanding, change, this.#gone)
  }

  add(request: number, identity: RequestIdentity, record: RequestRecord): void {
    this.#changes.push({ kind: 'add', request, identity, record })
    this.#records.set(request, record)
    this.#identities.set(request, identity)
    this.#keys.set(identity.key, request)
    this.#last = request
    this.#count(identity.sample, record.state, 1)
  }

  set(request: number, record: RequestRecord): void {
    const before = this.get(request)
    this.#changes.push({ kind: 'set', request, record })
    this.#records.set(request, record)
    if (before.state === record.state) return
    const { key, sample } = this.identity(request)
    if (record.state === 'forgotten') this.#keys.set(key, undefined)
    this.#count(sample, before.state, -1)
    this.#count(sample, record.state, 1)
  }

  follower(request: number): number {
    return this.#followers.get(request) ?? this.#below.follower(request)
  }

  follow(request: number, follower: number): void {
    this.#changes.push({ kind: 'follow', request, follower })
    this.#followers.set(request, follower)
  }

  remember(sample: string, entry: Remembered): void {
    this.#changes.push({ kind: 'remember', sample, entry })
    this.#change(sample).remembered.push(entry)
  }

  forget(states: readonly RequestState[]): void {
    this.#changes.push({ kind: 'forget', states })
    const gone = new Set<string>()
    for (let request = 1; request <= this.#last; request++) {
      const record = this.get(request)
      if (!states.includes(record.state)) continue
      this.#records.set(request, { ...record, state: 'forgotten', file: 0 })
      this.#followers.set(request, 0)
      const identity = this.identity(request)
      this.#keys.set(identity.key, undefined)
      this.#count(identity.sample, record.state, -1)
      gone.add(identity.key)
    }
    for (const key of gone) this.#gone.add(key)
    for (const change of this.#samples.values())
      change.remembered = change.remembered.filter(({ key }) => !gone.has(key))
  }

  /** Carries the changes out below. `lineOffset` is where their ledger line now is. */
  mergeInto(table: RequestTable, lineOffset: number): void {
    for (const change of this.#changes) {
      if (change.kind === 'add')
        table.add(change.request, settled(change.identity, lineOffset), change.record)
      else if (change.kind === 'set') table.set(change.request, change.record)
      else if (change.kind === 'follow') table.follow(change.request, change.follower)
      else if (change.kind === 'remember') table.remember(change.sample, change.entry)
      else table.forget(change.states)
    }
  }

  /** Puts the layer on another table, which must hold what the one before it held. */
  rebase(below: RequestTable): void {
    this.#below = below
  }

  #count(name: string, state: RequestState, by: number): void {
    if (state !== 'forgotten') this.#change(name)[state] += by
  }

  #change(name: string): SampleChange {
    const known = this.#samples.get(name)
    if (known) return known
    const change = { pending: 0, succeeded: 0, failed: 0, remembered: [] }
    this.#samples.set(name, change)
    return change
  }
}

const settled = (identity: RequestIdentity, lineOffset: number): RequestIdentity =>
  identity.metaAt === LINE_IN_HAND ? { ...identity, metaAt: lineOffset } : identity

const NO_CHANGE: SampleChange = { pending: 0, succeeded: 0, failed: 0, remembered: [] }

const changed = (
  { pending, succeeded, failed, remembered }: SampleStanding,
  by: SampleChange = NO_CHANGE,
  gone: ReadonlySet<string>,
): SampleStanding => ({
  pending: pending + by.pending,
  succeeded: succeeded + by.succeeded,
  failed: failed + by.failed,
  remembered: [...remembered.filter(({ key }) => !gone.has(key)), ...by.remembered],
})
