import {
  emptyStanding,
  LINE_IN_HAND,
  type Remembered,
  type RequestIdentity,
  type RequestRecord,
  type RequestState,
  type RequestTable,
  type SampleStanding,
} from './request-table.ts'

type Change =
  | {
      readonly kind: 'add'
      readonly request: number
      readonly identity: RequestIdentity
      readonly record: RequestRecord
    }
  | { readonly kind: 'set'; readonly request: number; readonly record: RequestRecord }
  | { readonly kind: 'remember'; readonly sample: string; readonly entry: Remembered }
  | { readonly kind: 'forget'; readonly states: readonly RequestState[] }

/**
 * Changes that are not durable yet, over a table that is. Reads see the changes; `mergeInto` carries them out on the
 * table below once they are on disk; throwing the layer away undoes them.
 */
export class RequestLayer implements RequestTable {
  #below: RequestTable
  readonly #changes: Change[] = []
  readonly #records = new Map<number, RequestRecord>()
  readonly #identities = new Map<number, RequestIdentity>()
  readonly #keys = new Map<string, number | undefined>()
  readonly #standings = new Map<string, SampleStanding | undefined>()
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
    if (this.#standings.has(name)) return this.#standings.get(name)
    const standing = this.#below.sample(name)
    return standing && this.#gone.size > 0 ? withoutKeys(standing, this.#gone) : standing
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

  remember(sample: string, entry: Remembered): void {
    this.#changes.push({ kind: 'remember', sample, entry })
    const standing = this.sample(sample) ?? emptyStanding
    this.#standings.set(sample, { ...standing, remembered: [...standing.remembered, entry] })
  }

  forget(states: readonly RequestState[]): void {
    this.#changes.push({ kind: 'forget', states })
    const gone = new Set<string>()
    for (let request = 1; request <= this.#last; request++) {
      const record = this.get(request)
      if (!states.includes(record.state)) continue
      this.#records.set(request, { ...record, state: 'forgotten', file: 0 })
      const identity = this.identity(request)
      this.#keys.set(identity.key, undefined)
      this.#count(identity.sample, record.state, -1)
      gone.add(identity.key)
    }
    for (const key of gone) this.#gone.add(key)
    for (const [name, standing] of this.#standings)
      if (standing) this.#standings.set(name, withoutKeys(standing, gone))
  }

  /** Carries the changes out below. `lineOffset` is where their ledger line now is. */
  mergeInto(table: RequestTable, lineOffset: number): void {
    for (const change of this.#changes) {
      if (change.kind === 'add')
        table.add(change.request, settled(change.identity, lineOffset), change.record)
      else if (change.kind === 'set') table.set(change.request, change.record)
      else if (change.kind === 'remember') table.remember(change.sample, change.entry)
      else table.forget(change.states)
    }
  }

  /** Puts the layer on another table, which must hold what the one before it held. */
  rebase(below: RequestTable): void {
    this.#below = below
  }

  #count(name: string, state: RequestState, by: number): void {
    if (state === 'forgotten') return
    const standing = this.sample(name) ?? emptyStanding
    this.#standings.set(name, { ...standing, [state]: standing[state] + by })
  }
}

const settled = (identity: RequestIdentity, lineOffset: number): RequestIdentity =>
  identity.metaAt === LINE_IN_HAND ? { ...identity, metaAt: lineOffset } : identity

const withoutKeys = (standing: SampleStanding, gone: ReadonlySet<string>): SampleStanding => ({
  ...standing,
  remembered: standing.remembered.filter(({ key }) => !gone.has(key)),
})
