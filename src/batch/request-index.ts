import type {
  CallState,
  Remembered,
  RequestIdentity,
  RequestRecord,
  RequestState,
  RequestTable,
  SampleStanding,
  SampleTally,
} from './request-table.ts'

const STATES: readonly RequestState[] = ['pending', 'succeeded', 'failed', 'forgotten']
const CALLS: readonly CallState[] = ['queued', 'sent', 'received']
const OWN_SAMPLE = -1
const NO_META = -1
/** Attempts and expiries are counted as far as this. */
const MOST_COUNTED = 65_535

interface Counts {
  pending: number
  succeeded: number
  failed: number
}

const at = <Item>(items: { readonly [index: number]: Item | undefined }, index: number): Item => {
  const item = items[index]
  if (item === undefined) throw new RangeError(`no request number ${index}`)
  return item
}

/**
 * All requests of a task, packed in columns so that a million of them take about 150 MB: 37 bytes of numbers, the
 * key's text and its place in the map. Numbers start at 1.
 */
export class RequestIndex implements RequestTable {
  readonly #byKey = new Map<string, number>()
  readonly #keys: string[] = ['']
  #capacity = 1024
  #state = new Uint8Array(this.#capacity)
  #call = new Uint8Array(this.#capacity)
  #attempt = new Uint16Array(this.#capacity)
  #expiries = new Uint16Array(this.#capacity)
  #queued = new Uint16Array(this.#capacity)
  #params = new Uint16Array(this.#capacity)
  #file = new Uint32Array(this.#capacity)
  #hashes = new Uint32Array(this.#capacity * 2)
  #metaAt = new Float64Array(this.#capacity)
  #sampleOf = new Int32Array(this.#capacity)
  /** Only there when a request ever waited behind another. */
  #followers: Uint32Array<ArrayBuffer> | undefined
  readonly #sampleIds = new Map<string, number>()
  readonly #sampleNames: string[] = []
  readonly #sampleCounts: Counts[] = []
  readonly #remembered = new Map<string, Remembered[]>()
  #ownSamples = 0
  #tally = { committed: 0, succeeded: 0, failed: 0, mixed: 0 }

  get sampleCount(): number {
    return this.#ownSamples + this.#sampleNames.length
  }

  get sampleTally(): SampleTally {
    return { ...this.#tally }
  }

  /** The highest number in use. */
  get last(): number {
    return this.#keys.length - 1
  }

  find(key: string): number | undefined {
    return this.#byKey.get(key)
  }

  get(request: number): RequestRecord {
    if (request < 1 || request > this.last) throw new RangeError(`no request number ${request}`)
    return {
      state: at(STATES, at(this.#state, request)),
      call: at(CALLS, at(this.#call, request)),
      attempt: at(this.#attempt, request),
      queued: at(this.#queued, request),
      expiries: at(this.#expiries, request),
      file: at(this.#file, request),
    }
  }

  identity(request: number): RequestIdentity {
    if (request < 1 || request > this.last) throw new RangeError(`no request number ${request}`)
    const key = at(this.#keys, request)
    const sampleId = at(this.#sampleOf, request)
    const metaAt = at(this.#metaAt, request)
    return {
      key,
      sample: sampleId === OWN_SAMPLE ? key : at(this.#sampleNames, sampleId),
      hash: hex(at(this.#hashes, request * 2)) + hex(at(this.#hashes, request * 2 + 1)),
      params: at(this.#params, request),
      metaAt: metaAt === NO_META ? undefined : metaAt,
    }
  }

  sample(name: string): SampleStanding | undefined {
    const own = this.#byKey.get(name)
    const sampleId = this.#sampleIds.get(name)
    const remembered = this.#remembered.get(name)
    const isOwn = own !== undefined && this.#sampleOf[own] === OWN_SAMPLE
    if (!isOwn && sampleId === undefined && !remembered) return undefined
    const counts =
      sampleId === undefined
        ? { pending: 0, succeeded: 0, failed: 0 }
        : { ...at(this.#sampleCounts, sampleId) }
    // Where there is a sample of that name, the request is in it.
    if (isOwn) count(counts, at(STATES, at(this.#state, own)), 1)
    return { ...counts, remembered: remembered ? [...remembered] : [] }
  }

  add(request: number, identity: RequestIdentity, record: RequestRecord): void {
    if (request !== this.#keys.length) throw new RangeError(`request ${request} does not follow ${this.last}`)
    if (request >= this.#capacity) this.#grow()
    this.#keys.push(identity.key)
    this.#byKey.set(identity.key, request)
    this.#hashes[request * 2] = Number.parseInt(identity.hash.slice(0, 8), 16)
    this.#hashes[request * 2 + 1] = Number.parseInt(identity.hash.slice(8, 16), 16)
    this.#params[request] = identity.params
    this.#metaAt[request] = identity.metaAt ?? NO_META
    this.#sampleOf[request] = this.#sampleId(identity)
    this.#write(request, record)
    this.#countSample(request, record.state, 1)
  }

  set(request: number, record: RequestRecord): void {
    this.#countSample(request, at(STATES, at(this.#state, request)), -1)
    this.#write(request, record)
    this.#countSample(request, record.state, 1)
    if (record.state === 'forgotten') this.#byKey.delete(at(this.#keys, request))
  }

  follower(request: number): number {
    return this.#followers?.[request] ?? 0
  }

  follow(request: number, follower: number): void {
    this.#followers ??= new Uint32Array(this.#capacity)
    this.#followers[request] = follower
  }

  remember(sample: string, entry: Remembered): void {
    const entries = this.#remembered.get(sample)
    if (entries) entries.push(entry)
    else this.#remembered.set(sample, [entry])
  }

  forget(states: readonly RequestState[]): void {
    const gone = new Set<string>()
    for (let request = 1; request <= this.last; request++) {
      const record = this.get(request)
      if (!states.includes(record.state)) continue
      gone.add(at(this.#keys, request))
      this.set(request, { ...record, state: 'forgotten', file: 0 })
      if (this.#followers) this.#followers[request] = 0
    }
    for (const [sample, entries] of this.#remembered) {
      const kept = entries.filter((entry) => !gone.has(entry.key))
      if (kept.length > 0) this.#remembered.set(sample, kept)
      else this.#remembered.delete(sample)
    }
  }

  #sampleId({ key, sample }: RequestIdentity): number {
    const known = this.#sampleIds.get(sample)
    if (known !== undefined) return known
    if (sample === key) {
      this.#ownSamples++
      return OWN_SAMPLE
    }
    const id = this.#sampleNames.push(sample) - 1
    this.#sampleIds.set(sample, id)
    this.#sampleCounts.push({ pending: 0, succeeded: 0, failed: 0 })
    this.#share(sample, id)
    return id
  }

  /** A request that was a sample by itself is the first of several. */
  #share(sample: string, id: number): void {
    const own = this.#byKey.get(sample)
    if (own === undefined || this.#sampleOf[own] !== OWN_SAMPLE) return
    const state = at(STATES, at(this.#state, own))
    this.#countSample(own, state, -1)
    this.#ownSamples--
    this.#sampleOf[own] = id
    this.#countSample(own, state, 1)
  }

  #countSample(request: number, state: RequestState, by: number): void {
    const sampleId = at(this.#sampleOf, request)
    if (sampleId === OWN_SAMPLE) {
      if (state === 'forgotten') this.#ownSamples -= by
      tallyOne(this.#tally, state, by)
      return
    }
    const counts = at(this.#sampleCounts, sampleId)
    tally(this.#tally, counts, -1)
    count(counts, state, by)
    tally(this.#tally, counts, 1)
  }

  #write(request: number, record: RequestRecord): void {
    this.#state[request] = STATES.indexOf(record.state)
    this.#call[request] = CALLS.indexOf(record.call)
    this.#attempt[request] = Math.min(record.attempt, MOST_COUNTED)
    this.#expiries[request] = Math.min(record.expiries, MOST_COUNTED)
    this.#queued[request] = record.queued
    this.#file[request] = record.file
  }

  #grow(): void {
    const capacity = this.#capacity * 2
    const wider = <Column extends { set(from: Column): void }>(column: Column, empty: Column): Column => {
      empty.set(column)
      return empty
    }
    this.#state = wider(this.#state, new Uint8Array(capacity))
    this.#call = wider(this.#call, new Uint8Array(capacity))
    this.#attempt = wider(this.#attempt, new Uint16Array(capacity))
    this.#expiries = wider(this.#expiries, new Uint16Array(capacity))
    this.#queued = wider(this.#queued, new Uint16Array(capacity))
    this.#params = wider(this.#params, new Uint16Array(capacity))
    this.#file = wider(this.#file, new Uint32Array(capacity))
    this.#hashes = wider(this.#hashes, new Uint32Array(capacity * 2))
    this.#metaAt = wider(this.#metaAt, new Float64Array(capacity))
    this.#sampleOf = wider(this.#sampleOf, new Int32Array(capacity))
    if (this.#followers) this.#followers = wider(this.#followers, new Uint32Array(capacity))
    this.#capacity = capacity
  }
}

const hex = (word: number): string => word.toString(16).padStart(8, '0')

function count(counts: Counts, state: RequestState, by: number): void {
  if (state !== 'forgotten') counts[state] += by
}

type Tally = { -readonly [Name in keyof SampleTally]: SampleTally[Name] }

/** Counts a sample of one request. */
function tallyOne(sums: Tally, state: RequestState, by: number): void {
  if (state === 'forgotten') return
  sums.committed += by
  if (state !== 'pending') sums[state] += by
}

function tally(sums: Tally, { pending, succeeded, failed }: Counts, by: number): void {
  if (pending + succeeded + failed > 0) sums.committed += by
  if (succeeded > 0) sums.succeeded += by
  if (failed > 0) sums.failed += by
  if (succeeded > 0 && failed > 0) sums.mixed += by
}
