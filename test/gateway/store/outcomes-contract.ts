import { describe, expect, test } from 'vitest'
import {
  accepted,
  againOf,
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

const CANCELLED = { status: 499, body: '{"error":{"code":"request_cancelled"}}' }

export const outcomesContract = (rig: StoreRig) => {
  describe('settling a batch', () => {
    test('gives each its own answer, to the last byte, and takes its body away', async () => {
      await using store = await rig.newStore()
      const [a = '', b = '', c = ''] = await accepted(store, {}, { webhook: 'https://hook' }, {})
      const { number, epoch } = await claimedBatch(store)
      await store.change(number, epoch, { phase: 'remote', batchId: 'batch_7' })
      const body = '{"z":1.0,  "text":"\\u0000 🌙 é","a":0}'
      const bad = endOf(b, { ending: 'failed', status: 400, body: '{"error":{}}', costNanoUsd: 0 })
      expect(await store.settle(number, epoch, [endOf(a, { body, requestId: 'req-x' }), bad])).toEqual([a, b])
      const answers = await store.answers([a, b, c, 'req_none'])
      expect([...answers.keys()].sort()).toEqual([a, b].sort())
      expect(answers.get(a)).toEqual({
        id: a,
        ending: 'succeeded',
        status: 200,
        body,
        requestId: 'req-x',
        route: 'batch',
        batchId: 'batch_7',
        finishedAt: expect.any(Number),
      })
      expect(answers.get(b)).toMatchObject({ ending: 'failed', status: 400, requestId: undefined })
      expect(await store.requests([a, b, c])).toMatchObject([
        { state: 'done', ending: 'succeeded', costNanoUsd: 100, reservedNanoUsd: 0, batch: undefined },
        { state: 'done', ending: 'failed', costNanoUsd: 0 },
        { state: 'batched', batch: number },
      ])
      expect((await allOf(store.lines(number))).map(({ id }) => id)).toEqual([c])
      expect(await store.openBatches()).toMatchObject([{ requests: 3, live: 1 }])
      expect(await store.finishedAmong([c, b, a, 'req_none'])).toHaveLength(2)
      expect(await store.dueWebhooks(9, LONG_MS)).toEqual([{ request: b, url: 'https://hook', tries: 0 }])
    })

    test('the first outcome wins: of one call, and of all calls', async () => {
      await using store = await rig.newStore()
      const [a = '', b = ''] = await accepted(store, {}, {})
      const [other = ''] = await accepted(store, { model: 'gpt-5' })
      const { number, epoch } = await claimedBatch(store)
      const twice = [endOf(a), endOf(a, { body: '"second"' }), againOf(a), endOf(other), endOf('req_none')]
      expect(await store.settle(number, epoch, twice)).toEqual([a])
      expect(await store.settle(number, epoch, [...twice, againOf(b), endOf(b)])).toEqual([b])
      expect((await store.answers([a])).get(a)?.body).toContain(a)
      expect(await store.requests([a, b, other])).toMatchObject([
        { state: 'done' },
        { state: 'queued', attempts: 1 },
        { state: 'queued' },
      ])
      expect(await moneyOf(store)).toEqual({ spent: 100, reserved: 2000 })
      expect(await store.settle(number, epoch, [endOf(b)])).toEqual([])
    })

    test('what is used up is counted; who comes back is grouped by its deadline', async () => {
      await using store = await rig.newStore()
      const [a = '', b = '', c = ''] = await accepted(store, { fingerprint: 'a' }, {}, {})
      const { number, epoch } = await claimedBatch(store)
      await store.accept([arrivalOf({ fingerprint: 'a', deadlineAt: 5000 })], NO_LIMITS)
      const outcomes = [
        againOf(a),
        againOf(b, { uses: 'expiry', route: 'flex' }),
        againOf(c, { uses: 'nothing', costNanoUsd: 30 }),
      ]
      await store.settle(number, epoch, outcomes)
      expect(await store.requests([a, b, c])).toMatchObject([
        { state: 'queued', attempts: 1, expiries: 0, deadlineAt: 5000, hasDeadline: true },
        { state: 'queued', attempts: 0, expiries: 1, route: 'flex', hasDeadline: false },
        { state: 'queued', attempts: 0, expiries: 0, costNanoUsd: 30 },
      ])
      expect(await moneyOf(store)).toEqual({ spent: 30, reserved: 3000 })
    })

    test('those who listen hear of it once it is there', async () => {
      await using store = await rig.newStore()
      const [a = '', b = ''] = await accepted(store, {}, {})
      const { number, epoch } = await claimedBatch(store)
      const heard: string[] = []
      const first = Promise.withResolvers<readonly string[]>()
      const stop = store.onDone((ids) => {
        heard.push(...ids)
        first.resolve(store.finishedAmong(ids))
      })
      await store.settle(number, epoch, [endOf(a), againOf(b)])
      expect(await first.promise).toEqual([a])
      stop()
      await store.cancelRequest(b, 'default', CANCELLED)
      await store.settle(number, epoch, [endOf(a)])
      expect(heard).toEqual([a])
    })
  })

  describe('money', () => {
    test('a good answer of unknown cost is charged the most; a failure without tokens nothing', async () => {
      await using store = await rig.newStore()
      const costs = [1, 10, 100, 1000].map((mostNanoUsd) => ({ mostNanoUsd }))
      const [a = '', b = '', c = '', d = ''] = await accepted(store, ...costs)
      const { number, epoch } = await claimedBatch(store)
      const unknown = { costNanoUsd: undefined }
      const usage = { input: 1, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 }
      await store.settle(number, epoch, [
        endOf(a, unknown),
        endOf(b, { ...unknown, ending: 'failed', status: 500 }),
        endOf(c, { ...unknown, ending: 'failed', status: 500, usage }),
        againOf(d),
      ])
      expect(await moneyOf(store)).toEqual({ spent: 101, reserved: 1000 })
    })

    test('a try that was charged must be paid for once more, or the request ends', async () => {
      await using store = await rig.newStore()
      await store.putTenant({ name: 'default', maxNanoUsd: 1500, callsPerMinute: undefined })
      const [a = '', b = ''] = await accepted(store, { mostNanoUsd: 1000 }, { mostNanoUsd: 300 })
      const { number, epoch } = await claimedBatch(store)
      await store.settle(number, epoch, [againOf(b, { costNanoUsd: 200 }), againOf(a, { costNanoUsd: 900 })])
      expect(await store.requests([a, b])).toMatchObject([
        { state: 'done', ending: 'failed', costNanoUsd: 900 },
        { state: 'queued', costNanoUsd: 200, reservedNanoUsd: 300 },
      ])
      const answer = (await store.answers([a])).get(a)
      expect(answer?.status).toBe(429)
      expect(JSON.parse(answer?.body ?? '')).toMatchObject({ error: { code: 'spend_limit_reached' } })
      expect(await moneyOf(store)).toEqual({ spent: 1100, reserved: 300 })
    })

    test('a dearer way that cannot be paid for is not taken', async () => {
      await using store = await rig.newStore()
      await store.putTenant({ name: 'default', maxNanoUsd: 3500, callsPerMinute: undefined })
      const costs = { mostNanoUsd: 1000, mostDirectlyNanoUsd: 2000 }
      const [a = '', b = ''] = await accepted(store, costs, costs)
      const { number, epoch } = await claimedBatch(store)
      await store.settle(number, epoch, [againOf(a, { route: 'direct' }), againOf(b, { route: 'direct' })])
      expect(await store.requests([a, b])).toMatchObject([
        { route: 'direct', reservedNanoUsd: 2000 },
        { route: 'batch', reservedNanoUsd: 1000 },
      ])
      expect(await store.reroute([b], 'flex')).toEqual([])
      expect(await store.reroute([a], 'batch')).toEqual([a])
      expect(await store.reroute([b, 'req_none'], 'flex')).toEqual([b])
      expect(await moneyOf(store)).toEqual({ spent: 0, reserved: 3000 })
    })

    test('a limit that is lowered stops what is new, and takes nothing back', async () => {
      await using store = await rig.newStore()
      await accepted(store, {}, {})
      await store.putTenant({ name: 'default', maxNanoUsd: 500, callsPerMinute: 7 })
      expect(await store.accept([arrivalOf()], NO_LIMITS)).toEqual([
        { kind: 'over-limit', spent: 0, reserved: 2000, limit: 500 },
      ])
      const { number, epoch } = await claimedBatch(store)
      expect(await store.requeue(number, epoch, 'nothing', 'batch')).toBe(2)
      expect(await store.tenants()).toEqual([
        { name: 'default', maxNanoUsd: 500, callsPerMinute: 7, spentNanoUsd: 0, reservedNanoUsd: 2000 },
      ])
    })
  })

  describe('cancelling a request', () => {
    test('one that waits ends, and costs nothing', async () => {
      await using store = await rig.newStore()
      const [id = ''] = await accepted(store, { webhook: 'https://hook' })
      expect(await store.cancelRequest(id, 'default', CANCELLED)).toBe('ended')
      expect(await store.cancelRequest(id, 'default', CANCELLED)).toBe('done')
      expect((await store.answers([id])).get(id)).toMatchObject({ ...CANCELLED, ending: 'cancelled' })
      expect(await moneyOf(store)).toEqual({ spent: 0, reserved: 0 })
      expect(await store.cut(GROUP, { requests: 9, bytes: 9e9, tokens: 9e9, inputs: 9 })).toBeUndefined()
      expect(await store.dueWebhooks(9, LONG_MS)).toHaveLength(1)
    })

    test('one that is in a batch ends for its caller; what it costs is charged when it is known', async () => {
      await using store = await rig.newStore()
      const [a = '', b = '', c = ''] = await accepted(store, {}, {}, {})
      const { number, epoch } = await claimedBatch(store)
      expect(await store.cancelRequest(a, 'default', CANCELLED)).toBe('sent')
      expect(await store.cancelRequest(b, 'default', CANCELLED)).toBe('sent')
      expect(await store.openBatches()).toMatchObject([{ requests: 3, live: 1 }])
      expect(await store.waitingFor(number)).toEqual([c])
      expect(await moneyOf(store)).toEqual({ spent: 0, reserved: 3000 })
      expect(await store.settle(number, epoch, [endOf(a), endOf(c)])).toEqual([c])
      expect(await moneyOf(store)).toEqual({ spent: 200, reserved: 1000 })
      expect((await store.answers([a])).get(a)).toMatchObject(CANCELLED)
      expect(await store.settle(number, epoch, [endOf(a)])).toEqual([])
      expect(await moneyOf(store)).toEqual({ spent: 200, reserved: 1000 })
      await store.change(number, epoch, { phase: 'done' })
      expect(await moneyOf(store)).toEqual({ spent: 200, reserved: 0 })
      expect(await store.requests([a, b])).toMatchObject([
        { ending: 'cancelled', costNanoUsd: 100, reservedNanoUsd: 0 },
        { ending: 'cancelled', costNanoUsd: undefined, reservedNanoUsd: 0 },
      ])
    })

    test('one whose batch was never sent costs nothing when the batch is taken apart', async () => {
      await using store = await rig.newStore()
      const [a = ''] = await accepted(store, {}, {})
      const { number, epoch } = await claimedBatch(store)
      await store.cancelRequest(a, 'default', CANCELLED)
      expect(await store.requeue(number, epoch, 'nothing')).toBe(1)
      expect(await moneyOf(store)).toEqual({ spent: 0, reserved: 1000 })
    })
  })

  describe('a stray batch', () => {
    const stray = async (store: Awaited<ReturnType<StoreRig['newStore']>>) => {
      const [a = '', b = ''] = await accepted(store, {}, {})
      const claimed = await claimedBatch(store)
      const retire = { tag: 'old', batch: claimed.number, inputFileId: 'f', since: 1 }
      await store.change(claimed.number, claimed.epoch, { phase: 'sealed', retire })
      return { a, b, ...claimed }
    }

    test('answers what waits in the queue, and nothing that another batch has', async () => {
      await using store = await rig.newStore()
      const { a, b, number, epoch } = await stray(store)
      await store.requeue(number, epoch, 'nothing')
      await store.cut(GROUP, { requests: 1, bytes: 9e9, tokens: 9e9, inputs: 9 })
      expect(await store.settleStray('old', [endOf(a), againOf(b), endOf(b), endOf(b)])).toEqual([b])
      expect(await store.settleStray('old', [endOf(a), endOf(b)])).toEqual([])
      expect(await store.requests([a, b])).toMatchObject([{ state: 'batched' }, { state: 'done' }])
      expect(await moneyOf(store)).toEqual({ spent: 100, reserved: 1000 })
    })

    test('that its failures say nothing of what waits', async () => {
      await using store = await rig.newStore()
      const { a, number, epoch } = await stray(store)
      await store.requeue(number, epoch, 'nothing')
      expect(await store.settleStray('old', [againOf(a)])).toEqual([])
      expect(await store.requests([a])).toMatchObject([{ attempts: 0 }])
    })

    test('answers requests of its own batch before that is sent again', async () => {
      await using store = await rig.newStore()
      const { a, b, number } = await stray(store)
      expect(await store.settleStray('old', [endOf(a)])).toEqual([a])
      expect(await store.openBatches()).toMatchObject([{ number, requests: 2, live: 1 }])
      expect(await store.waitingFor(number)).toEqual([b])
      expect(await moneyOf(store)).toEqual({ spent: 100, reserved: 1000 })
    })

    test('of a batch that was sent again both are paid for', async () => {
      await using store = await rig.newStore()
      const { a, b, number, epoch } = await stray(store)
      await store.change(number, epoch, { phase: 'remote', batchId: 'batch_2' })
      expect(await store.settleStray('old', [endOf(a)])).toEqual([a])
      expect(await moneyOf(store)).toEqual({ spent: 100, reserved: 2000 })
      expect(await store.settle(number, epoch, [endOf(a, { costNanoUsd: 70 }), endOf(b)])).toEqual([b])
      expect(await moneyOf(store)).toEqual({ spent: 270, reserved: 0 })
      expect(await store.settleStray('unknown', [endOf(a)])).toEqual([])
    })
  })
}
