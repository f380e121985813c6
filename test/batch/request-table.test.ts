import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RequestIndex } from '../../src/batch/request-index.ts'
import { RequestLayer } from '../../src/batch/request-layer.ts'
import {
  LINE_IN_HAND,
  type RequestIdentity,
  type RequestRecord,
  type RequestState,
} from '../../src/batch/request-table.ts'
import { NaiveTable } from '../support/naive-table.ts'
import { dumpTable } from '../support/task-dump.ts'

const NAMES = ['a', 'b', 'c', 'd', 'e', 'S', 'T']

const recordOf = (state: fc.Arbitrary<RequestState>) =>
  fc.record<RequestRecord>({
    state,
    call: fc.constantFrom('queued', 'sent', 'received'),
    attempt: fc.oneof(fc.nat(3), fc.constantFrom(255, 256, 1000, 65_535)),
    queued: fc.oneof(fc.nat(3), fc.constantFrom(256, 65_535)),
    expiries: fc.oneof(fc.nat(3), fc.constantFrom(255, 256, 1000)),
    file: fc.oneof(fc.nat(5), fc.constant(2 ** 32 - 1)),
  })

const live = fc.constantFrom<RequestState>('pending', 'succeeded', 'failed')
const identities = fc.record<RequestIdentity>({
  key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
  sample: fc.constantFrom(...NAMES),
  hash: fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 16, maxLength: 16 }),
  params: fc.nat(300),
  metaAt: fc.constantFrom(undefined, LINE_IN_HAND),
})

type Change =
  | { readonly do: 'add'; readonly identity: RequestIdentity; readonly record: RequestRecord }
  | { readonly do: 'set'; readonly pick: number; readonly record: RequestRecord }
  | { readonly do: 'follow'; readonly pick: number; readonly follower: number }
  | { readonly do: 'remember'; readonly sample: string; readonly key: string; readonly value: number }
  | { readonly do: 'forget'; readonly states: readonly RequestState[] }
  | { readonly do: 'write' | 'written' | 'fail' }

const adding: fc.Arbitrary<Change> = fc.record({
  do: fc.constant('add'),
  identity: identities,
  record: recordOf(live),
})
const setting: fc.Arbitrary<Change> = fc.record({
  do: fc.constant('set'),
  pick: fc.nat(),
  record: recordOf(live),
})
const following: fc.Arbitrary<Change> = fc.record({
  do: fc.constant('follow'),
  pick: fc.nat(),
  follower: fc.nat(9),
})
const remembering: fc.Arbitrary<Change> = fc.record({
  do: fc.constant('remember'),
  sample: fc.constantFrom(...NAMES),
  key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
  value: fc.nat(9),
})
const forgetting: fc.Arbitrary<Change> = fc.record({
  do: fc.constant('forget'),
  states: fc.subarray<RequestState>(['pending', 'succeeded', 'failed']),
})
const writing: fc.Arbitrary<Change> = fc.record({ do: fc.constantFrom('write', 'write', 'written', 'fail') })

const changes = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: adding },
    { weight: 4, arbitrary: setting },
    { weight: 2, arbitrary: following },
    { weight: 2, arbitrary: remembering },
    { weight: 1, arbitrary: forgetting },
    { weight: 3, arbitrary: writing },
  ),
  { maxLength: 40 },
)

/** An index with the two layers a store keeps over it, beside naive tables that hold the same. */
class Pair {
  readonly index = new RequestIndex()
  writing: RequestLayer | undefined
  open = new RequestLayer(this.index)
  durableModel = new NaiveTable()
  writingModel = new NaiveTable()
  openModel = new NaiveTable()
  #offset = 0

  change(change: Change): void {
    if (change.do === 'write') this.#write()
    else if (change.do === 'written') this.#written()
    else if (change.do === 'fail') this.#fail()
    else for (const table of [this.open, this.openModel]) carryOut(table, change)
  }

  #write(): void {
    if (this.writing) return
    this.writing = this.open
    this.writingModel = this.openModel.copy()
    this.open = new RequestLayer(this.writing)
  }

  #written(): void {
    if (!this.writing) return
    this.#offset += 100
    this.writing.mergeInto(this.index, this.#offset)
    const [first, last] = [this.durableModel.last + 1, this.writingModel.last]
    for (const model of [this.writingModel, this.openModel])
      model.settle(first, last, this.#offset, LINE_IN_HAND)
    this.durableModel = this.writingModel
    this.writing = undefined
    this.open.rebase(this.index)
  }

  #fail(): void {
    this.writing = undefined
    this.open = new RequestLayer(this.index)
    this.openModel = this.durableModel.copy()
  }
}

function carryOut(table: RequestLayer | NaiveTable, change: Change): void {
  if (change.do === 'add' && table.find(change.identity.key) === undefined)
    table.add(table.last + 1, change.identity, change.record)
  else if (change.do === 'set' && table.last > 0) {
    const request = 1 + (change.pick % table.last)
    if (table.get(request).state !== 'forgotten') table.set(request, change.record)
  } else if (change.do === 'follow' && table.last > 0) {
    table.follow(1 + (change.pick % table.last), change.follower)
  } else if (change.do === 'remember') {
    const { sample, key, value } = change
    table.remember(sample, { key, value })
  } else if (change.do === 'forget') table.forget(change.states)
}

test('an index and the layers over it answer like a plain list, whatever is written, dropped or forgotten', () => {
  fc.assert(
    fc.property(changes, (list) => {
      const pair = new Pair()
      for (const change of list) {
        pair.change(change)
        expect(dumpTable(pair.open, NAMES)).toEqual(dumpTable(pair.openModel, NAMES))
        expect(dumpTable(pair.index, NAMES)).toEqual(dumpTable(pair.durableModel, NAMES))
        expect(pair.index.sampleTally).toEqual(pair.durableModel.sampleTally)
        expect(pair.open.sampleTally).toEqual(pair.durableModel.sampleTally)
      }
    }),
    { numRuns: 300 },
  )
})

const fresh: RequestRecord = { state: 'pending', call: 'queued', attempt: 0, queued: 0, expiries: 0, file: 1 }
const named = (key: string, sample = key): RequestIdentity => ({
  key,
  sample,
  hash: '00000000ffffffff',
  params: 0,
  metaAt: undefined,
})

describe('an index', () => {
  test('keeps every request when it grows beyond its first thousand', () => {
    const index = new RequestIndex()
    const identity = (n: number): RequestIdentity => ({
      ...named(`key-${n}`, n % 3 === 0 ? `group-${n % 7}` : `key-${n}`),
      hash: n.toString(16).padStart(16, '0'),
      params: n % 5,
      metaAt: n % 2 === 0 ? n * 1e6 : undefined,
    })
    const record = (n: number): RequestRecord => ({ ...fresh, attempt: n % 4, queued: n, file: n + 70_000 })
    for (let n = 1; n <= 5000; n++) {
      if (n % 700 === 1) expect(index.last).toBe(n - 1)
      index.add(n, identity(n), record(n))
    }
    const all = Array.from({ length: 5000 }, (_, at) => at + 1)
    expect(all.map((n) => index.find(`key-${n}`))).toEqual(all)
    expect(all.map((n) => index.identity(n))).toEqual(all.map(identity))
    expect(all.map((n) => index.get(n))).toEqual(all.map(record))
    expect(index.sample('group-0')?.pending).toBe(238)
    expect(index.sampleCount).toBe(5000 - 1666 + 7)
  })

  test.each([
    ['first', ['text-1', 'text-1-b']],
    ['last', ['text-1-b', 'text-1']],
  ])('counts one sample where a request shares the sample that has its name, and came %s', (_, keys) => {
    const index = new RequestIndex()
    for (const [at, key] of keys.entries()) index.add(at + 1, named(key, 'text-1'), fresh)
    const [own, other] = [index.find('text-1') ?? 0, index.find('text-1-b') ?? 0]
    index.set(own, { ...fresh, state: 'succeeded' })
    index.set(other, { ...fresh, state: 'failed' })
    expect(index.sampleCount).toBe(1)
    expect(index.sampleTally).toEqual({ committed: 1, succeeded: 1, failed: 1, mixed: 1 })
    expect(index.sample('text-1')).toMatchObject({ pending: 0, succeeded: 1, failed: 1 })
    expect(index.identity(own)).toEqual(named('text-1'))
    index.forget(['succeeded'])
    expect(index.sampleTally).toEqual({ committed: 1, succeeded: 0, failed: 1, mixed: 0 })
    index.add(3, named('text-1'), fresh)
    expect(index.sampleCount).toBe(1)
    expect(index.sample('text-1')).toMatchObject({ pending: 1, succeeded: 0, failed: 1 })
  })

  test('refuses a number that does not follow the last one', () => {
    const index = new RequestIndex()
    index.add(1, named('a'), fresh)
    expect(() => index.add(3, named('c'), fresh)).toThrow(RangeError)
    expect(() => index.add(1, named('b'), fresh)).toThrow(RangeError)
    expect(index.last).toBe(1)
  })

  test.each([0, 2, 1023, 1024, 5_000_000, -1, 1.5])(
    'has no request number %d when there is only one',
    (number) => {
      const index = new RequestIndex()
      index.add(1, named('a'), fresh)
      expect(() => index.get(number)).toThrow(RangeError)
      expect(() => index.identity(number)).toThrow(RangeError)
      expect(() => new RequestLayer(index).get(number)).toThrow(RangeError)
    },
  )
})

test('a forgotten key can be given again, with another sample, and the old sample is unknown then', () => {
  const index = new RequestIndex()
  index.add(1, named('a'), fresh)
  index.forget(['pending'])
  index.add(2, named('a', 'S'), fresh)
  expect(index.find('a')).toBe(2)
  expect(index.sample('a')).toBeUndefined()
  expect(index.sample('S')).toEqual({ pending: 1, succeeded: 0, failed: 0, remembered: [] })
})

test('what a forgotten request remembered under another sample is forgotten at once, not only after the write', () => {
  const index = new RequestIndex()
  index.add(1, named('a'), { ...fresh, state: 'failed', file: 0 })
  index.remember('T', { key: 'a', value: 1 })
  index.remember('T', { key: 'b', value: 2 })
  const layer = new RequestLayer(index)
  layer.forget(['failed'])
  expect(layer.sample('T')?.remembered).toEqual([{ key: 'b', value: 2 }])
  layer.mergeInto(index, 0)
  expect(index.sample('T')?.remembered).toEqual([{ key: 'b', value: 2 }])
})
