import { describe, expect, test } from 'vitest'
import type { CallTurn } from '../../../src/gateway/store/store.ts'
import { accepted, againOf, endOf, LONG_MS, moneyOf, type StoreRig } from '../../support/gateway-stores.ts'

export const callsContract = (rig: StoreRig) => {
  describe('calls', () => {
    test('the most urgent and the oldest are taken first, with their bodies', async () => {
      await using store = await rig.newStore()
      const [low = '', normal = '', , soon = '', sooner = '', high = ''] = await accepted(
        store,
        { route: 'flex', priority: 'low', bodyText: '{"n": 1.0}' },
        { route: 'flex' },
        { route: 'batch', priority: 'high' },
        { route: 'direct', deadlineAt: 9000 },
        { route: 'direct', deadlineAt: 8000 },
        { route: 'direct', priority: 'high' },
      )
      const first = await store.takeCalls(3, 'rep_1', LONG_MS)
      expect(first.map(({ request }) => request.id)).toEqual([high, sooner, soon])
      expect(first).toMatchObject(Array(3).fill({ epoch: 1, request: { state: 'calling' } }))
      const rest = await store.takeCalls(9, 'rep_1', LONG_MS)
      expect(rest.map(({ request }) => request.id)).toEqual([normal, low])
      expect(rest[1]?.bodyText).toBe('{"n": 1.0}')
      expect(await store.takeCalls(9, 'rep_2', LONG_MS)).toEqual([])
      expect(await store.counts()).toMatchObject({ queued: 1, calling: 5 })
      expect(await store.recoverCalls()).toBe(0)
    })

    test('of all tenants have their turn, whoever has how many', async () => {
      await using store = await rig.newStore()
      const of = (tenant: string, count: number) => Array<object>(count).fill({ tenant, route: 'direct' })
      const ids = await accepted(store, ...of('b', 9), ...of('a', 2), ...of('c', 3))
      const taken: string[] = []
      const take = async (limit: number, turn?: CallTurn) => {
        const calls = await store.takeCalls(limit, 'rep_1', LONG_MS, turn)
        taken.push(...calls.map(({ request }) => request.id))
        return calls.map(({ request }) => request.tenant).join('')
      }
      expect(await take(1)).toBe('a')
      expect(await take(1, { afterTenant: 'a' })).toBe('b')
      expect(await take(2, { afterTenant: 'b' })).toBe('ca')
      expect(await take(5, { afterTenant: 'a' })).toBe('bcbcb')
      expect(await take(9, { afterTenant: 'somebody' })).toBe('bbbbb')
      expect(taken.toSorted()).toEqual(ids.toSorted())
      const ofEach = (tenant: string) =>
        taken.filter((id) => ids.slice(0, 9).includes(id) === (tenant === 'b'))
      expect(ofEach('b')).toEqual(ids.slice(0, 9))
    })

    test('that have to wait give their turn to others', async () => {
      await using store = await rig.newStore()
      const later = (await store.now()) + LONG_MS
      const [a = ''] = await accepted(store, { tenant: 'a', route: 'direct' })
      await store.takeCalls(1, 'rep_1', LONG_MS)
      await store.settleCall(1, againOf(a, { route: 'direct', readyAt: later }))
      const [, c = ''] = await accepted(
        store,
        { tenant: 'b', route: 'direct', model: 'slow' },
        { tenant: 'c', route: 'flex' },
      )
      const turn = { exceptModels: ['slow'], afterTenant: 'c' }
      expect(await store.takeCalls(1, 'rep_1', LONG_MS, turn)).toMatchObject([{ request: { id: c } }])
      expect(await store.takeCalls(1, 'rep_1', LONG_MS, turn)).toEqual([])
    })

    test('end once, or are queued again for later', async () => {
      await using store = await rig.newStore()
      const [a = '', b = ''] = await accepted(store, { route: 'direct' }, { route: 'flex' })
      await store.takeCalls(9, 'rep_1', LONG_MS)
      expect(await store.settleCall(1, endOf(a, { route: 'direct' }))).toBe(true)
      expect(await store.settleCall(1, endOf(a, { route: 'direct' }))).toBe(false)
      expect(await store.settleCall(2, endOf(b))).toBe(false)
      const later = (await store.now()) + LONG_MS
      expect(await store.settleCall(1, againOf(b, { route: 'direct', readyAt: later }))).toBe(true)
      expect(await store.takeCalls(9, 'rep_1', LONG_MS)).toEqual([])
      expect(await store.nextReadyAt()).toBe(later)
      expect(await store.requests([a, b])).toMatchObject([
        { state: 'done', route: 'direct' },
        { state: 'queued', route: 'direct', attempts: 1 },
      ])
      expect((await store.answers([a])).get(a)).toMatchObject({ route: 'direct', batchId: undefined })
      expect(await moneyOf(store)).toEqual({ spent: 100, reserved: 1000 })
    })

    test('whose replica is gone are charged at the most and taken again; what it says later is not heard', async () => {
      await using store = await rig.newStore()
      const [a = '', b = ''] = await accepted(store, { route: 'direct' }, { route: 'direct' })
      await store.takeCalls(9, 'rep_1', 0)
      await store.renewCalls([b], 'rep_2', LONG_MS)
      await store.renewCalls([b], 'rep_1', LONG_MS)
      expect(await store.recoverCalls()).toBe(1)
      expect(await store.recoverCalls()).toBe(0)
      expect(await moneyOf(store)).toEqual({ spent: 1000, reserved: 2000 })
      expect(await store.settleCall(1, endOf(a))).toBe(false)
      expect(await store.takeCalls(9, 'rep_2', LONG_MS)).toMatchObject([
        { epoch: 2, request: { id: a, attempts: 1 } },
      ])
      expect(await store.settleCall(1, endOf(a))).toBe(false)
      expect(await store.settleCall(2, endOf(a))).toBe(true)
      expect(await store.request(a, 'default')).toMatchObject({ costNanoUsd: 1100 })
      expect(await moneyOf(store)).toEqual({ spent: 1100, reserved: 1000 })
    })

    test('that are cancelled on the wire are charged, whether an answer comes or the replica is gone', async () => {
      await using store = await rig.newStore()
      const [a = '', b = ''] = await accepted(store, { route: 'direct' }, { route: 'direct' })
      await store.takeCalls(9, 'rep_1', 0)
      const answer = { status: 499, body: '{}' }
      expect(await store.cancelRequest(a, 'default', answer)).toBe('sent')
      expect(await store.cancelRequest(b, 'default', answer)).toBe('sent')
      expect(await store.counts()).toMatchObject({ calling: 0 })
      expect(await moneyOf(store)).toEqual({ spent: 0, reserved: 2000 })
      expect(await store.settleCall(1, endOf(a))).toBe(true)
      expect(await store.settleCall(1, endOf(a))).toBe(false)
      expect(await moneyOf(store)).toEqual({ spent: 100, reserved: 1000 })
      expect(await store.recoverCalls()).toBe(0)
      expect(await moneyOf(store)).toEqual({ spent: 1100, reserved: 0 })
      expect((await store.answers([a, b])).get(a)).toMatchObject({ ending: 'cancelled', status: 499 })
    })

    test('a near deadline is told for those that another way may help', async () => {
      await using store = await rig.newStore()
      const now = await store.now()
      const [later = '', soon = ''] = await accepted(
        store,
        { deadlineAt: now + 50_000 },
        { deadlineAt: now + 40_000, route: 'flex' },
        { deadlineAt: now + 40_000, route: 'direct' },
        { deadlineAt: now + 40_000, priority: 'low' },
        { deadlineAt: now + LONG_MS },
        { deadlineAt: now - 1 },
        {},
      )
      expect(await store.pressed(60_000, 9)).toMatchObject([{ id: soon }, { id: later }])
      const [first, ...none] = await store.pressed(60_000, 1)
      expect([first?.id, none]).toEqual([soon, []])
      expect(await store.pressed(60_000, 1, first)).toMatchObject([{ id: later }])
      expect(await store.pressed(60_000.5, 9, { id: later, deadlineAt: now + 50_000 })).toEqual([])
      expect(await store.pressed(1000, 9)).toEqual([])
      expect(await store.reroute([soon, later], 'direct')).toEqual([later, soon])
      expect(await store.pressed(60_000, 9)).toEqual([])
      await store.takeCalls(1, 'rep_1', LONG_MS)
      expect(await store.reroute([soon], 'batch')).toHaveLength(0)
    })
  })
}
