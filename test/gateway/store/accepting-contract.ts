import { describe, expect, test } from 'vitest'
import type { Arrival } from '../../../src/gateway/domain/arrival.ts'
import {
  accepted,
  allOf,
  arrivalOf,
  claimedBatch,
  endOf,
  GROUP,
  LONG_MS,
  moneyOf,
  NO_LIMITS,
  type StoreRig,
} from '../../support/gateway-stores.ts'

/** Two calls with one body. */
const same = (parts: Partial<Arrival> = {}) => arrivalOf({ fingerprint: 'same', ...parts })

export const acceptingContract = (rig: StoreRig) => {
  describe('accept', () => {
    test('keeps bodies to the last byte, and all that was said of a request', async () => {
      await using store = await rig.newStore()
      const bodyText = '{"b":1.50e2, "a":"\\u0000 \\ud83d 🌙 \' \\" \\\\","b":0,"x":[ ]}'
      const arrival = arrivalOf({
        bodyText,
        idempotencyKey: 'key of mine',
        mode: 'sync',
        priority: 'high',
        deadlineAt: 2_000_000_000_000,
        hasDeadline: true,
        maxNanoUsd: 77,
        webhook: 'https://example.com/hook?a=1',
        holder: 'rep_1',
        tokens: {
          requests: 1,
          input: 20.25,
          output: 50,
          mostInput: 40,
          mostOutput: 0,
          longest: 40,
          unbounded: 1,
        },
      })
      await store.accept([arrival], NO_LIMITS)
      const stored = await store.request(arrival.id, 'default')
      const { bodyText: _body, holder, cacheMs, claimMs, mostNanoUsd, ...kept } = arrival
      expect(stored).toMatchObject(kept)
      expect(stored).toMatchObject({
        state: 'queued',
        reservedNanoUsd: mostNanoUsd,
        attempts: 0,
        expiries: 0,
      })
      expect(stored?.readyAt).toBe(stored?.createdAt)
      expect(await store.requests([arrival.id, 'req_none'])).toEqual([stored])
      const { number } = await claimedBatch(store, { ...GROUP, hasDeadline: true })
      expect(await allOf(store.lines(number))).toEqual([{ id: arrival.id, bodyText }])
    })

    test('tells nothing to another tenant', async () => {
      await using store = await rig.newStore()
      const [id = ''] = await accepted(store, { tenant: 'one' })
      expect(await store.request(id, 'two')).toBeUndefined()
      expect(await store.cancelRequest(id, 'two', { status: 499, body: '{}' })).toBe('absent')
    })

    test.each([1, 5, 64, 81, 500])('takes %i at once', async (count) => {
      await using store = await rig.newStore()
      const arrivals = Array.from({ length: count }, (_, place) => arrivalOf({ bodyText: `{"n":${place}}` }))
      const acceptances = await store.accept(arrivals, NO_LIMITS)
      expect(acceptances).toEqual(arrivals.map(({ id }) => ({ kind: 'new', id })))
      expect(await store.counts()).toMatchObject({ queued: count })
      const { number } = await claimedBatch(store)
      expect(await allOf(store.lines(number))).toEqual(arrivals.map(({ id, bodyText }) => ({ id, bodyText })))
    })

    test('a call that is being waited for right now is left alone; what nobody waits for is joined', async () => {
      await using store = await rig.newStore()
      await store.heartbeat('rep_1', LONG_MS)
      const [held] = await store.accept([same({ mode: 'sync', holder: 'rep_1', id: 'req_held' })], NO_LIMITS)
      const [sample] = await store.accept(
        [same({ mode: 'sync', holder: 'rep_1', id: 'req_sample' })],
        NO_LIMITS,
      )
      expect([held, sample]).toEqual([
        { kind: 'new', id: 'req_held' },
        { kind: 'new', id: 'req_sample' },
      ])
      await store.letGo(['req_held'], 'rep_2')
      expect(await store.accept([same({ id: 'req_still' })], NO_LIMITS)).toMatchObject([{ kind: 'new' }])
      await store.letGo(['req_still', 'req_held'], 'rep_1')
      expect(await store.accept([same({ mode: 'sync', holder: 'rep_1' })], NO_LIMITS)).toEqual([
        { kind: 'joined', id: 'req_held', isDone: false },
      ])
    })

    test('what a replica held is free when its heartbeat ends, when it leaves, and when it was never heard', async () => {
      await using store = await rig.newStore()
      await store.heartbeat('rep_late', 0)
      await store.heartbeat('rep_left', LONG_MS)
      await accepted(
        store,
        { fingerprint: 'late', holder: 'rep_late', id: 'req_late' },
        { fingerprint: 'left', holder: 'rep_left', id: 'req_left' },
        { fingerprint: 'never', holder: 'rep_never', id: 'req_never' },
      )
      await store.leave('rep_left')
      const again = ['late', 'left', 'never'].map((fingerprint) => arrivalOf({ fingerprint }))
      expect(await store.accept(again, NO_LIMITS)).toEqual([
        { kind: 'joined', id: 'req_late', isDone: false },
        { kind: 'joined', id: 'req_left', isDone: false },
        { kind: 'joined', id: 'req_never', isDone: false },
      ])
    })

    test('arrivals of one group see each other', async () => {
      await using store = await rig.newStore()
      await store.heartbeat('rep_1', LONG_MS)
      const waiting = { mode: 'sync', holder: 'rep_1' } as const
      const acceptances = await store.accept(
        [
          same({ ...waiting, id: 'req_a' }),
          same({ ...waiting, id: 'req_b' }),
          arrivalOf({ fingerprint: 'free', id: 'req_c' }),
          arrivalOf({ fingerprint: 'free', id: 'req_d', ...waiting, webhook: 'https://d' }),
          arrivalOf({ fingerprint: 'free', id: 'req_e', ...waiting }),
          arrivalOf({ fingerprint: 'x', idempotencyKey: 'k', id: 'req_f' }),
          arrivalOf({ fingerprint: 'y', idempotencyKey: 'k', id: 'req_g' }),
          arrivalOf({ fingerprint: 'y', idempotencyKey: 'k', tenant: 'other', id: 'req_h' }),
        ],
        NO_LIMITS,
      )
      expect(acceptances).toEqual([
        { kind: 'new', id: 'req_a' },
        { kind: 'new', id: 'req_b' },
        { kind: 'new', id: 'req_c' },
        { kind: 'joined', id: 'req_c', isDone: false },
        { kind: 'new', id: 'req_e' },
        { kind: 'new', id: 'req_f' },
        { kind: 'conflict', id: 'req_f' },
        { kind: 'new', id: 'req_h' },
      ])
      expect(await store.request('req_c', 'default')).toMatchObject({ mode: 'sync', webhook: 'https://d' })
      expect(await store.accept([arrivalOf({ fingerprint: 'free' })], NO_LIMITS)).toMatchObject([
        { kind: 'new' },
      ])
    })

    test('a group that comes again finds each of its own, one for one', async () => {
      await using store = await rig.newStore()
      await store.heartbeat('rep_1', LONG_MS)
      await store.heartbeat('rep_2', LONG_MS)
      const twins = (holder: string) => Array.from({ length: 40 }, () => same({ mode: 'sync', holder }))
      const first = await store.accept(twins('rep_1'), NO_LIMITS)
      await store.leave('rep_1')
      const again = await store.accept(twins('rep_2').slice(0, 30), NO_LIMITS)
      const idsOf = (acceptances: readonly object[]) =>
        acceptances.map((one) => ('id' in one ? one.id : undefined))
      expect(again.every(({ kind }) => kind === 'joined')).toBe(true)
      expect(new Set(idsOf(again)).size).toBe(30)
      expect(idsOf(again)).toEqual(idsOf(first).slice(0, 30))
      const rest = await store.accept(twins('rep_2').slice(0, 20), NO_LIMITS)
      expect(rest.filter(({ kind }) => kind === 'joined')).toHaveLength(10)
    })

    test('an answer nobody got is given; one that was delivered only to those who poll, within the claim time', async () => {
      await using store = await rig.newStore()
      const [id = ''] = await accepted(store, { fingerprint: 'same', mode: 'sync' })
      const { number, epoch } = await claimedBatch(store)
      await store.settle(number, epoch, [endOf(id)])
      const joined = { kind: 'joined', id, isDone: true }
      expect(await store.accept([same({ mode: 'sync' })], NO_LIMITS)).toEqual([joined])
      await store.delivered([id])
      expect(await store.accept([same({ mode: 'poll' }), same()], NO_LIMITS)).toEqual([joined, joined])
      expect(await store.accept([same({ mode: 'poll', claimMs: -1 })], NO_LIMITS)).toMatchObject([
        { kind: 'new' },
      ])
      expect(await store.request(id, 'default')).toMatchObject({ state: 'done', mode: 'async' })
    })

    test('an answer that is young enough serves from the cache, also to keys, and in mode cache any', async () => {
      await using store = await rig.newStore()
      const [id = ''] = await accepted(store, { fingerprint: 'same' })
      expect(await store.accept([same({ mode: 'cache' }), arrivalOf({ mode: 'cache' })], NO_LIMITS)).toEqual([
        { kind: 'absent', pending: id },
        { kind: 'absent', pending: undefined },
      ])
      const { number, epoch } = await claimedBatch(store)
      await store.settle(number, epoch, [endOf(id)])
      await store.delivered([id])
      const cached = { kind: 'cached', id }
      const asks = [same({ cacheMs: LONG_MS, mode: 'sync', idempotencyKey: 'k' }), same({ mode: 'cache' })]
      expect(await store.accept(asks, NO_LIMITS)).toEqual([cached, cached])
      expect(await store.accept([same({ mode: 'sync', cacheMs: 0 })], NO_LIMITS)).toMatchObject([
        { kind: 'new' },
      ])
      expect(await store.accept([same({ mode: 'cache', tenant: 'other' })], NO_LIMITS)).toMatchObject([
        { kind: 'absent', pending: undefined },
      ])
    })

    test('an answer that is too old for the cache is left to whoever it is being delivered to', async () => {
      await using store = await rig.newStore()
      await store.heartbeat('rep_1', LONG_MS)
      const [id = ''] = await accepted(store, { fingerprint: 'same', mode: 'sync', holder: 'rep_1' })
      const { number, epoch } = await claimedBatch(store)
      await store.settle(number, epoch, [endOf(id)])
      const { finishedAt = 0 } = (await store.request(id, 'default')) ?? {}
      while ((await store.now()) <= finishedAt);
      expect(await store.accept([same({ mode: 'sync', cacheMs: 0.001 })], NO_LIMITS)).toMatchObject([
        { kind: 'new' },
      ])
    })

    test('a request that was cancelled is nobody’s answer', async () => {
      await using store = await rig.newStore()
      const [id = ''] = await accepted(store, { fingerprint: 'same' })
      await store.cancelRequest(id, 'default', { status: 499, body: '{}' })
      expect(await store.accept([same()], NO_LIMITS)).toMatchObject([{ kind: 'new' }])
    })

    test('whoever joins may hurry it, and never slows it down', async () => {
      await using store = await rig.newStore()
      const [id = ''] = await accepted(store, { fingerprint: 'same', deadlineAt: 5000, hasDeadline: true })
      await store.accept([same({ priority: 'high', deadlineAt: 4000, hasDeadline: true })], NO_LIMITS)
      await store.accept([same({ priority: 'low', deadlineAt: 9000, webhook: 'https://x' })], NO_LIMITS)
      await store.accept([same({ mode: 'poll' })], NO_LIMITS)
      expect(await store.request(id, 'default')).toMatchObject({
        priority: 'high',
        deadlineAt: 4000,
        webhook: 'https://x',
        mode: 'poll',
      })
    })

    test('a dearer way is taken with a join only when it can be paid for', async () => {
      await using store = await rig.newStore()
      await store.putTenant({ name: 'default', maxNanoUsd: 2500, callsPerMinute: undefined })
      const costs = { mostNanoUsd: 1000, mostDirectlyNanoUsd: 2000 }
      const [id = ''] = await accepted(store, { fingerprint: 'same', ...costs })
      await store.accept([same({ ...costs, route: 'direct' })], NO_LIMITS)
      expect(await store.request(id, 'default')).toMatchObject({ route: 'direct', reservedNanoUsd: 2000 })
      expect(await moneyOf(store)).toEqual({ spent: 0, reserved: 2000 })
      const [other = ''] = await accepted(store, {
        fingerprint: 'other',
        mostNanoUsd: 500,
        mostDirectlyNanoUsd: 1000,
      })
      await store.accept([arrivalOf({ fingerprint: 'other', route: 'direct' })], NO_LIMITS)
      expect(await store.request(other, 'default')).toMatchObject({ route: 'batch', reservedNanoUsd: 500 })
      expect(await moneyOf(store)).toEqual({ spent: 0, reserved: 2500 })
    })

    test('a webhook that is named when the answer is there is due at once', async () => {
      await using store = await rig.newStore()
      const [id = ''] = await accepted(store, { fingerprint: 'same' })
      const { number, epoch } = await claimedBatch(store)
      await store.settle(number, epoch, [endOf(id)])
      expect(await store.dueWebhooks(10, LONG_MS)).toEqual([])
      await store.accept([same({ webhook: 'https://late' })], NO_LIMITS)
      expect(await store.dueWebhooks(10, LONG_MS)).toEqual([{ request: id, url: 'https://late', tries: 0 }])
    })

    test('no more wait than may; what is there already is joined all the same', async () => {
      await using store = await rig.newStore()
      const limits = { maxQueued: 2 }
      const arrivals = ['a', 'b', 'c', 'a'].map((fingerprint) => arrivalOf({ fingerprint }))
      expect((await store.accept(arrivals, limits)).map(({ kind }) => kind)).toEqual([
        'new',
        'new',
        'full',
        'joined',
      ])
      const full = await store.accept(
        [arrivalOf({ tenant: 'other' }), arrivalOf({ fingerprint: 'b' })],
        limits,
      )
      expect(full).toMatchObject([{ kind: 'full', waiting: 2 }, { kind: 'joined' }])
      const { number, epoch } = await claimedBatch(store)
      await store.settle(number, epoch, [endOf(arrivals[0]?.id ?? '')])
      expect(await store.accept([arrivalOf({ tenant: 'other' })], limits)).toMatchObject([{ kind: 'new' }])
    })

    test('nothing is accepted beyond a spend limit, and nothing without a bound under one', async () => {
      await using store = await rig.newStore()
      await store.putTenant({ name: 'default', maxNanoUsd: 2000, callsPerMinute: undefined })
      const arrivals = [
        { mostNanoUsd: undefined },
        { mostNanoUsd: 1500 },
        { mostNanoUsd: 501 },
        { mostNanoUsd: 500 },
      ]
      expect(await store.accept(arrivals.map(arrivalOf), NO_LIMITS)).toMatchObject([
        { kind: 'unbounded', limit: 2000 },
        { kind: 'new' },
        { kind: 'over-limit', spent: 0, reserved: 1500, limit: 2000 },
        { kind: 'new' },
      ])
      expect(
        await store.accept([arrivalOf({ tenant: 'free', mostNanoUsd: undefined })], NO_LIMITS),
      ).toMatchObject([{ kind: 'new' }])
      expect(await moneyOf(store)).toEqual({ spent: 0, reserved: 2000 })
      expect(await store.counts()).toMatchObject({ queued: 3 })
    })
  })
}
