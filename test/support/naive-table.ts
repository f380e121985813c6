import type {
  Remembered,
  RequestIdentity,
  RequestRecord,
  RequestState,
  RequestTable,
  SampleStanding,
  SampleTally,
} from '../../src/batch/request-table.ts'

interface Entry {
  readonly identity: RequestIdentity
  readonly record: RequestRecord
}

interface Memory extends Remembered {
  readonly sample: string
}

/** A request table that is right because it is simple: two lists, searched from end to end each time. */
export class NaiveTable implements RequestTable {
  entries: readonly Entry[] = []
  memories: readonly Memory[] = []
  followers: ReadonlyMap<number, number> = new Map()

  copy(): NaiveTable {
    const copy = new NaiveTable()
    copy.entries = this.entries
    copy.memories = this.memories
    copy.followers = this.followers
    return copy
  }

  get last(): number {
    return this.entries.length
  }

  get sampleCount(): number {
    return new Set(this.entries.map(({ identity }) => identity.sample)).size
  }

  get sampleTally(): SampleTally {
    const samples = new Map<string, Set<RequestState>>()
    for (const { identity, record } of this.entries) {
      if (record.state === 'forgotten') continue
      samples.set(identity.sample, (samples.get(identity.sample) ?? new Set()).add(record.state))
    }
    const all = [...samples.values()]
    return {
      committed: all.length,
      succeeded: all.filter((states) => states.has('succeeded')).length,
      failed: all.filter((states) => states.has('failed')).length,
      mixed: all.filter((states) => states.has('succeeded') && states.has('failed')).length,
    }
  }

  find(key: string): number | undefined {
    const at = this.entries.findIndex(
      ({ identity, record }) => identity.key === key && record.state !== 'forgotten',
    )
    return at < 0 ? undefined : at + 1
  }

  #entry(request: number): Entry {
    const entry = this.entries[request - 1]
    if (!entry) throw new RangeError(`no request number ${request}`)
    return entry
  }

  get(request: number): RequestRecord {
    return this.#entry(request).record
  }

  identity(request: number): RequestIdentity {
    return this.#entry(request).identity
  }

  sample(name: string): SampleStanding | undefined {
    const own = this.entries.filter(({ identity }) => identity.sample === name)
    const remembered = this.memories
      .filter(({ sample }) => sample === name)
      .map(({ key, value }) => ({ key, value }))
    if (own.length === 0 && remembered.length === 0) return undefined
    const count = (state: RequestState) => own.filter(({ record }) => record.state === state).length
    return { pending: count('pending'), succeeded: count('succeeded'), failed: count('failed'), remembered }
  }

  add(request: number, identity: RequestIdentity, record: RequestRecord): void {
    if (request !== this.last + 1) throw new RangeError(`request ${request} does not follow ${this.last}`)
    this.entries = [...this.entries, { identity, record }]
  }

  set(request: number, record: RequestRecord): void {
    this.entries = this.entries.with(request - 1, { ...this.#entry(request), record })
  }

  follower(request: number): number {
    return this.followers.get(request) ?? 0
  }

  follow(request: number, follower: number): void {
    this.followers = new Map(this.followers).set(request, follower)
  }

  remember(sample: string, { key, value }: Remembered): void {
    this.memories = [...this.memories, { sample, key, value }]
  }

  forget(states: readonly RequestState[]): void {
    const goes = ({ record }: Entry) => states.includes(record.state)
    const followed = this.followers.keys().filter((request) => !goes(this.#entry(request)))
    this.followers = new Map(followed.map((request) => [request, this.follower(request)]))
    const gone = new Set(this.entries.filter(goes).map(({ identity }) => identity.key))
    this.memories = this.memories.filter(({ key }) => !gone.has(key))
    this.entries = this.entries.map((entry) =>
      goes(entry) ? { ...entry, record: { ...entry.record, state: 'forgotten', file: 0 } } : entry,
    )
  }

  /** The ledger line of the requests from `first` to `last` is at this offset. */
  settle(first: number, last: number, offset: number, inHand: number): void {
    this.entries = this.entries.map((entry, index) =>
      index + 1 >= first && index + 1 <= last && entry.identity.metaAt === inHand
        ? { ...entry, identity: { ...entry.identity, metaAt: offset } }
        : entry,
    )
  }
}
