import { expect, test } from 'vitest'
import type { Acceptance, Arrival } from '../../../src/gateway/domain/arrival.ts'
import { GroupWriter } from '../../../src/gateway/store/group-writer.ts'
import { StoreError } from '../../../src/gateway/store/store-error.ts'
import { arrivalOf, describeStores, LONG_MS, NO_LIMITS } from '../../support/gateway-stores.ts'

/** A store that writes when it is told to, and remembers the groups it was given. */
class SlowStore {
  readonly groups: string[][] = []
  readonly #writes: PromiseWithResolvers<void>[] = []
  /** Ids that it does not take. */
  readonly bad = new Set<string>()

  async accept(arrivals: readonly Arrival[]): Promise<readonly Acceptance[]> {
    await this.#write(arrivals.map(({ id }) => id))
    return arrivals.map(({ id }) => ({ kind: 'new', id }))
  }

  async delivered(ids: readonly string[]): Promise<void> {
    await this.#write(ids)
  }

  async letGo(ids: readonly string[], replica: string): Promise<void> {
    await this.#write([replica, ...ids])
  }

  async #write(ids: readonly string[]): Promise<void> {
    this.groups.push([...ids])
    const write = Promise.withResolvers<void>()
    this.#writes.push(write)
    await write.promise
    if (ids.some((id) => this.bad.has(id))) throw new StoreError('store_failed', 'one of them is bad')
  }

  /** Resolves once a group is being written, and is then let through, or fails. */
  async next(error?: Error): Promise<void> {
    while (this.#writes.length === 0) await new Promise((resolve) => setImmediate(resolve))
    const write = this.#writes.shift()
    if (error) write?.reject(error)
    else write?.resolve()
  }
}

function rig() {
  const store = new SlowStore()
  const writer = new GroupWriter({ store, replica: 'rep_1', limits: NO_LIMITS })
  const accept = (id: string, parts: Partial<Arrival> = {}) => writer.accept(arrivalOf({ id, ...parts }))
  return { store, writer, accept }
}

const names = (count: number, from = 0) => Array.from({ length: count }, (_, place) => `req_${from + place}`)

test('what comes together is one group, and what comes while it is written is the next', async () => {
  const { store, accept, writer } = rig()
  const first = names(3).map((id) => accept(id))
  await store.next()
  expect(await Promise.all(first)).toEqual(names(3).map((id) => ({ kind: 'new', id })))
  const second = accept('req_a')
  while (store.groups.length < 2) await new Promise((resolve) => setImmediate(resolve))
  const third = names(4, 10).map((id) => accept(id))
  await store.next()
  await second
  await store.next()
  await Promise.all(third)
  expect(store.groups).toEqual([names(3), ['req_a'], names(4, 10)])
  await writer.idle()
})

test('a group has 500 calls and 8 MB at most, and one call at least', async () => {
  const { store, accept } = rig()
  const all = names(1100).map((id) => accept(id))
  for (let times = 0; times < 3; times++) await store.next()
  await Promise.all(all)
  expect(store.groups.map(({ length }) => length)).toEqual([500, 500, 100])
  const large = [9, 3, 3, 3, 1].map((megabytes, place) =>
    accept(`req_${place}`, { bodyText: 'x'.repeat(megabytes * 1_000_000) }),
  )
  for (let times = 0; times < 3; times++) await store.next()
  await Promise.all(large)
  expect(store.groups.slice(3).map(({ length }) => length)).toEqual([1, 2, 2])
})

test('an error reaches those it is about, and nobody else', async () => {
  const { store, accept } = rig()
  store.bad.add('req_3').add('req_9')
  const all = Promise.allSettled(names(10).map((id) => accept(id)))
  let isOver = false
  void all.then(() => {
    isOver = true
  })
  while (!isOver) await Promise.race([store.next(), all])
  const failed = (await all).flatMap(({ status }, place) => (status === 'rejected' ? [`req_${place}`] : []))
  expect(failed).toEqual(['req_3', 'req_9'])
})

test('when the database is away all are told at once, and the next group is tried', async () => {
  const { store, accept } = rig()
  const away = new StoreError('store_unavailable', 'away', { retryable: true })
  const all = Promise.allSettled(names(4).map((id) => accept(id)))
  await store.next(away)
  expect(await all).toEqual(Array(4).fill({ status: 'rejected', reason: away }))
  expect(store.groups).toEqual([names(4)])
  const next = accept('req_a')
  await store.next()
  expect(await next).toEqual({ kind: 'new', id: 'req_a' })
})

test('deliveries and leavings have groups of their own, and idle waits for all', async () => {
  const { store, accept, writer } = rig()
  const all = [accept('req_1'), writer.delivered('req_2'), writer.delivered('req_3'), writer.letGo('req_4')]
  let isIdle = false
  const idle = writer.idle().then(() => {
    isIdle = true
  })
  await store.next()
  await store.next()
  await new Promise((resolve) => setImmediate(resolve))
  expect(isIdle).toBe(false)
  await store.next()
  await idle
  await Promise.all(all)
  expect(store.groups.sort()).toEqual([['rep_1', 'req_4'], ['req_1'], ['req_2', 'req_3']])
})

test('what was let go before a call came is on record before it, and what is let go later is not waited for', async () => {
  const { store, accept, writer } = rig()
  const turns = async () => {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  const going = writer.letGo('req_1')
  const coming = accept('req_2')
  await turns()
  const later = writer.letGo('req_3')
  expect(store.groups).toEqual([['rep_1', 'req_1']])
  await store.next()
  await going
  await turns()
  expect(store.groups.slice(1).sort()).toEqual([['rep_1', 'req_3'], ['req_2']])
  await store.next()
  await store.next()
  await Promise.all([coming, later])
})

test('whose caller went away while others were written is not put on record, and does not count with them', async () => {
  const { store, accept, writer } = rig()
  const first = accept('req_1')
  while (store.groups.length === 0) await new Promise((resolve) => setImmediate(resolve))
  let isThere = true
  const gone = writer.accept(arrivalOf({ id: 'req_2' }), () => isThere)
  const others = [accept('req_3'), accept('req_4')]
  isThere = false
  await store.next()
  await first
  await store.next()
  expect(await gone).toEqual({ kind: 'unwanted' })
  expect(await Promise.all(others)).toEqual(['req_3', 'req_4'].map((id) => ({ kind: 'new', id })))
  expect(await writer.accept(arrivalOf(), () => false)).toEqual({ kind: 'unwanted' })
  expect(store.groups).toEqual([['req_1'], ['req_3', 'req_4']])
})

describeStores('the group writer over a real store', (rig) => {
  test('a call that cannot be stored harms nobody beside it', async () => {
    await using store = await rig.newStore()
    await store.heartbeat('rep_1', LONG_MS)
    const writer = new GroupWriter({ store, replica: 'rep_1', limits: NO_LIMITS })
    await writer.accept(arrivalOf({ id: 'req_taken' }))
    const calls = names(20).map((id, place) => arrivalOf({ id: place === 13 ? 'req_taken' : id }))
    const results = await Promise.allSettled(
      calls.map((call) =>
        writer.accept({ ...call, fingerprint: `a ${call.id}`, holder: 'rep_1', mode: 'sync' }),
      ),
    )
    expect(results.map(({ status }) => status === 'fulfilled')).toEqual(calls.map((_, place) => place !== 13))
    await writer.letGo('req_0')
    const again = await writer.accept(arrivalOf({ fingerprint: 'a req_0' }))
    expect(again).toMatchObject({ kind: 'joined', id: 'req_0' })
    expect(await store.counts()).toMatchObject({ queued: 20 })
  })
})
