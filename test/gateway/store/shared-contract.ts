import { describe, expect, test } from 'vitest'
import { EMPTY_BOARD, hold, learn } from '../../../src/batch/quota.ts'
import {
  accepted,
  arrivalOf,
  claimedBatch,
  endOf,
  LONG_MS,
  NO_LIMITS,
  type StoreRig,
} from '../../support/gateway-stores.ts'

export const sharedContract = (rig: StoreRig) => {
  describe('access', () => {
    test('keys are kept by their hash, and revoked once', async () => {
      await using store = await rig.newStore()
      const key = {
        id: 'key_1',
        tenant: 'team',
        name: 'laptop',
        hash: 'h1',
        createdAt: 5,
        revokedAt: undefined,
      }
      await store.addKey(key)
      await store.addKey({ ...key, id: 'key_2', hash: 'h2', createdAt: 6 })
      await expect(store.addKey({ ...key, id: 'key_3' })).rejects.toMatchObject({ name: 'StoreError' })
      expect(await store.revokeKey('key_1')).toBe(true)
      expect(await store.revokeKey('key_1')).toBe(false)
      expect(await store.revokeKey('key_none')).toBe(false)
      expect(await store.keys()).toEqual([
        { ...key, revokedAt: expect.any(Number) },
        { ...key, id: 'key_2', hash: 'h2', createdAt: 6 },
      ])
      expect(await store.tenants()).toMatchObject([{ name: 'team', maxNanoUsd: undefined, spentNanoUsd: 0 }])
    })

    test('limits of a tenant are set and lifted; what it has spent stays', async () => {
      await using store = await rig.newStore()
      const [id = ''] = await accepted(store, {})
      const { number, epoch } = await claimedBatch(store)
      await store.settle(number, epoch, [endOf(id)])
      const money = { spentNanoUsd: 100, reservedNanoUsd: 0 }
      await store.putTenant({ name: 'default', maxNanoUsd: 9_000_000_000_000, callsPerMinute: 60 })
      expect(await store.tenants()).toEqual([
        { name: 'default', maxNanoUsd: 9_000_000_000_000, callsPerMinute: 60, ...money },
      ])
      await store.putTenant({ name: 'default', maxNanoUsd: undefined, callsPerMinute: undefined })
      expect(await store.tenants()).toEqual([
        { name: 'default', maxNanoUsd: undefined, callsPerMinute: undefined, ...money },
      ])
    })
  })

  describe('what replicas share', () => {
    test('a named lease has one owner, who may make it last', async () => {
      await using store = await rig.newStore()
      expect(await store.lease('sweep', 'rep_1', LONG_MS)).toBe(true)
      expect(await store.lease('sweep', 'rep_2', LONG_MS)).toBe(false)
      expect(await store.lease('other', 'rep_2', LONG_MS)).toBe(true)
      expect(await store.lease('sweep', 'rep_1', 0)).toBe(true)
      expect(await store.lease('sweep', 'rep_2', LONG_MS)).toBe(true)
      await store.leave('rep_2')
      expect(await store.lease('sweep', 'rep_3', LONG_MS)).toBe(true)
    })

    test('the board of limits is read and changed in one step', async () => {
      await using store = await rig.newStore()
      const reserve = (tag: string) =>
        store.quota((board) => {
          const request = { tag, model: 'constructor', tokens: 10, task: 'gateway', now: 1 }
          const next = learn(hold(board, request), {
            model: '__proto__x',
            tokens: 5,
            source: 'admin',
            now: 1,
          })
          return { board: next, result: Object.keys(next.reservations).length }
        })
      expect(await store.quota((board) => ({ board, result: board }))).toEqual(EMPTY_BOARD)
      const counts = await Promise.all(Array.from({ length: 8 }, (_, place) => reserve(`tag ${place}`)))
      expect(counts.toSorted()).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
      const board = await store.quota((board) => ({ board, result: board }))
      expect(Object.keys(board.reservations)).toHaveLength(8)
      await expect(
        store.quota(() => {
          throw new Error('no')
        }),
      ).rejects.toThrow('no')
      expect(await store.quota((board) => ({ board, result: board }))).toEqual(board)
    })

    test('models that the server refused are known by endpoint, with its last words', async () => {
      await using store = await rig.newStore()
      await store.refuseModel('/v1/responses', 'm', 'first')
      await store.refuseModel('/v1/responses', 'm', 'last \0')
      await store.refuseModel('/v1/embeddings', 'm', 'other')
      expect([...(await store.refusedModels())].sort()).toEqual([
        ['/v1/embeddings m', 'other'],
        ['/v1/responses m', 'last \ufffd'],
      ])
    })

    test('its time is that of a clock', async () => {
      await using store = await rig.newStore()
      const now = await store.now()
      expect(Math.abs(now - Date.now())).toBeLessThan(60_000)
    })
  })

  describe('after the work', () => {
    test('webhooks are taken for a while, and tried until they are over', async () => {
      await using store = await rig.newStore()
      const ids = await accepted(store, { webhook: 'https://a' }, { webhook: 'https://b' }, {})
      const { number, epoch } = await claimedBatch(store)
      await store.settle(
        number,
        epoch,
        ids.map((id) => endOf(id)),
      )
      const [a = '', b = ''] = ids
      expect(await store.dueWebhooks(1, 0)).toEqual([{ request: a, url: 'https://a', tries: 0 }])
      expect(await store.dueWebhooks(9, LONG_MS)).toHaveLength(2)
      expect(await store.dueWebhooks(9, LONG_MS)).toEqual([])
      await store.webhookTried(a, 5)
      await store.webhookTried(b, undefined)
      await store.webhookTried(b, 5)
      expect(await store.dueWebhooks(9, LONG_MS)).toEqual([{ request: a, url: 'https://a', tries: 1 }])
    })

    test('what is done and old is forgotten, a few at a time, with all that belongs to it', async () => {
      await using store = await rig.newStore()
      const ids = await accepted(store, {}, {}, {}, { webhook: 'https://a' }, {})
      const [a = '', b = '', c = '', hooked = '', waiting = ''] = ids
      const { number, epoch } = await claimedBatch(store)
      await store.cancelRequest(b, 'default', { status: 499, body: '{}' })
      await store.settle(number, epoch, [endOf(a), endOf(c), endOf(hooked)])
      expect(await store.forget((await store.now()) - LONG_MS, 100)).toBe(0)
      const later = (await store.now()) + LONG_MS
      expect(await store.forget(later, 1)).toBe(1)
      expect(await store.forget(later, 100)).toBe(1)
      expect((await store.requests(ids)).map(({ id }) => id).sort()).toEqual([b, hooked, waiting].sort())
      expect((await store.answers(ids)).size).toBe(2)
      await store.webhookTried(hooked, undefined)
      await store.requeue(number, epoch, 'nothing')
      await store.change(number, epoch, { phase: 'done', batchId: 'batch_1' })
      expect(await store.forget(later, 100)).toBe(2)
      expect(await store.requests(ids)).toMatchObject([{ id: waiting }])
      expect(await store.batchByRemoteId('batch_1', 'default')).toBeUndefined()
      expect(await store.counts()).toMatchObject({ queued: 1, batched: 0 })
    })

    test('a replica that is gone for long is forgotten, and what it held stays free', async () => {
      await using store = await rig.newStore()
      await store.heartbeat('rep_old', -LONG_MS)
      await store.heartbeat('rep_new', LONG_MS)
      const twins = { fingerprint: 'same', mode: 'sync' } as const
      const ids = await accepted(
        store,
        { ...twins, holder: 'rep_old' },
        { fingerprint: 'other', holder: 'rep_new' },
      )
      for (const _ of [1, 2, 3]) await store.forget(await store.now(), 10)
      const joined = await store.accept([arrivalOf({ ...twins, holder: 'rep_old' })], NO_LIMITS)
      expect(joined).toEqual([{ kind: 'joined', id: ids[0], isDone: false }])
      const held = await store.accept([arrivalOf({ fingerprint: 'other' })], NO_LIMITS)
      expect(held).toMatchObject([{ kind: 'new' }])
    })

    test('one that is gone for an hour is forgotten, however long requests are kept', async () => {
      await using store = await rig.newStore()
      await store.heartbeat('rep_old', -2 * LONG_MS)
      await store.heartbeat('rep_new', -1)
      const ids = await accepted(
        store,
        { fingerprint: 'a', holder: 'rep_old' },
        { fingerprint: 'b', holder: 'rep_new' },
      )
      // Whatever else is kept for long.
      for (const _ of [1, 2]) await store.forget(0, 10)
      // A replica that is known once more holds again what it held; one that was forgotten does not.
      for (const replica of ['rep_old', 'rep_new']) await store.heartbeat(replica, LONG_MS)
      const retries = ['a', 'b'].map((fingerprint) => arrivalOf({ fingerprint }))
      expect(await store.accept(retries, NO_LIMITS)).toMatchObject([
        { kind: 'joined', id: ids[0] },
        { kind: 'new' },
      ])
    })

    test('the counts of an empty store', async () => {
      await using store = await rig.newStore()
      const nothing = { queued: 0, batched: 0, calling: 0, batches: {}, oldestUnsentAt: undefined }
      expect(await store.counts()).toEqual(nothing)
      const [id = ''] = await accepted(store, {})
      const { createdAt } = (await store.request(id, 'default')) ?? {}
      expect(await store.counts()).toEqual({ ...nothing, queued: 1, oldestUnsentAt: createdAt })
    })

    test('the counts tell of batches that the server does not have yet', async () => {
      await using store = await rig.newStore()
      await accepted(store, {}, {})
      const { number, epoch } = await claimedBatch(store)
      const oldestUnsentAt = (await store.openBatches())[0]?.createdAt
      expect(await store.counts()).toMatchObject({ batched: 2, batches: { unsent: 1 }, oldestUnsentAt })
      await store.change(number, epoch, { phase: 'remote', batchId: 'batch_1', status: 'in_progress' })
      expect(await store.counts()).toMatchObject({
        batched: 2,
        batches: { in_progress: 1 },
        oldestUnsentAt: undefined,
      })
    })
  })
}
