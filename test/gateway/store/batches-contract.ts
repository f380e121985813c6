import { describe, expect, test } from 'vitest'
import type { BatchChange, GatewayBatch } from '../../../src/gateway/domain/batch.ts'
import {
  ANY_SIZE,
  accepted,
  allOf,
  arrivalOf,
  claimedBatch,
  GROUP,
  LONG_MS,
  type StoreRig,
} from '../../support/gateway-stores.ts'

/** Every field that a change may name, with a value of its own. */
const EVERYTHING: BatchChange = {
  phase: 'remote',
  tag: 'tag-1',
  uploadInDoubt: true,
  inputFileId: 'file-in',
  since: 1_700_000_000,
  fencedAt: 5,
  batchId: 'batch_1',
  adopted: true,
  status: 'in_progress',
  remote: '{"id":"batch_1","n":1.0}',
  outputFileId: 'file-out',
  errorFileId: 'file-err',
  faults: [
    { code: 'bad', message: 'line 2', line: 2 },
    { code: 'worse', message: '' },
  ],
  looks: 3,
  failures: 4,
  cancel: 'deadline',
  deadlineAt: 77,
  nextAt: 99,
  note: 'a "note"',
}
const CLEARED = {
  tag: undefined,
  uploadInDoubt: false,
  inputFileId: undefined,
  since: undefined,
  fencedAt: undefined,
  batchId: undefined,
  adopted: false,
  status: undefined,
  remote: undefined,
  outputFileId: undefined,
  errorFileId: undefined,
  cancel: undefined,
  deadlineAt: undefined,
  note: undefined,
} as const

const numbersOf = (batches: readonly GatewayBatch[] | undefined) => batches?.map(({ number }) => number)

export const batchesContract = (rig: StoreRig) => {
  describe('the queue', () => {
    test('is added up by group, and what is not ready is left out', async () => {
      await using store = await rig.newStore()
      const now = await store.now()
      const [first = '', second = ''] = await accepted(
        store,
        { lineBytes: 100, tokens: { ...arrivalOf().tokens, input: 10.5 } },
        { lineBytes: 50 },
        { tenant: 'other' },
        { hasDeadline: true, deadlineAt: now + 9000 },
        { hasDeadline: true, deadlineAt: now + 5000 },
        { route: 'direct' },
      )
      const loads = await store.loads()
      expect(loads).toHaveLength(3)
      const plain = { ...GROUP, requests: 2, bytes: 150, tokens: 31, deadlineAt: undefined }
      expect(loads).toContainEqual({ ...plain, oldestAt: (await store.request(first, 'default'))?.createdAt })
      expect(loads).toContainEqual(expect.objectContaining({ tenant: 'other', requests: 1 }))
      expect(loads).toContainEqual(
        expect.objectContaining({ hasDeadline: true, requests: 2, deadlineAt: now + 5000 }),
      )
      expect(await store.nextReadyAt()).toBeUndefined()
      const { number, epoch } = await claimedBatch(store)
      const later = now + LONG_MS
      const again = (id: string, readyAt: number) =>
        ({ kind: 'again', id, uses: 'attempt', readyAt, route: 'batch' }) as const
      await store.settle(number, epoch, [again(first, later), again(second, 1)])
      expect(await store.nextReadyAt()).toBe(later)
      expect(await store.loads()).toContainEqual(
        expect.objectContaining({ ...GROUP, requests: 1, bytes: 50 }),
      )
      expect(await store.request(first, 'default')).toMatchObject({
        attempts: 1,
        readyAt: later,
        state: 'queued',
      })
    })

    test('a batch is made of the oldest, as many as fit, and one at least', async () => {
      await using store = await rig.newStore()
      const sizes = { lineBytes: 100, inputs: 3, tokens: { ...arrivalOf().tokens, input: 10 } }
      const ids = await accepted(store, ...Array.from({ length: 20 }, () => sizes))
      const limits = [
        { ...ANY_SIZE, requests: 3 },
        { ...ANY_SIZE, bytes: 250 },
        { ...ANY_SIZE, tokens: 40 },
        { ...ANY_SIZE, inputs: 11 },
        { requests: 1, bytes: 1, tokens: 1, inputs: 1 },
        ANY_SIZE,
      ]
      let at = 0
      for (const [place, count] of [3, 2, 4, 3, 1, 7].entries()) {
        const batch = await store.cut(GROUP, limits[place] ?? ANY_SIZE)
        expect(batch).toMatchObject({ ...GROUP, phase: 'sealed', epoch: 0, requests: count, live: count })
        expect(batch).toMatchObject({ bytes: 100 * count, tokens: 10 * count, faults: [], cancel: undefined })
        expect(await store.waitingFor(batch?.number ?? 0)).toEqual(ids.slice(at, at + count))
        at += count
      }
      expect(await store.cut(GROUP, ANY_SIZE)).toBeUndefined()
      expect(await store.counts()).toMatchObject({ queued: 0, batched: 20 })
    })

    test('a batch is of one group, and has the earliest deadline of its requests', async () => {
      await using store = await rig.newStore()
      const hurried = { hasDeadline: true, deadlineAt: 9000 }
      const [, ours = '', sooner = ''] = await accepted(
        store,
        { tenant: 'other' },
        {},
        { ...hurried, deadlineAt: 8000 },
        hurried,
        { model: 'gpt-5' },
        { endpoint: '/v1/embeddings' },
        { route: 'flex' },
      )
      const plain = await store.cut(GROUP, ANY_SIZE)
      expect(plain).toMatchObject({ requests: 1, deadlineAt: undefined })
      expect(await store.request(ours, 'default')).toMatchObject({ state: 'batched', batch: plain?.number })
      const batch = await store.cut({ ...GROUP, hasDeadline: true }, ANY_SIZE)
      expect(batch).toMatchObject({ requests: 2, deadlineAt: 8000 })
      expect(await store.request(sooner, 'default')).toMatchObject({ batch: batch?.number })
      expect(await store.loads()).toHaveLength(3)
    })

    test('large bodies come a page at a time, in order', async () => {
      await using store = await rig.newStore()
      const text = 'x'.repeat(1_500_000)
      const ids = await accepted(
        store,
        ...Array.from({ length: 9 }, () => ({ bodyText: `"${text}"`, lineBytes: text.length })),
      )
      const { number } = await claimedBatch(store)
      const lines = await allOf(store.lines(number))
      expect(lines.map(({ id }) => id)).toEqual(ids)
      expect(lines.every(({ bodyText }) => bodyText.length === text.length + 2)).toBe(true)
    })
  })

  describe('a batch', () => {
    test('is changed in every field, and cleared again', async () => {
      await using store = await rig.newStore()
      await accepted(store, {})
      const { number, epoch, batch } = await claimedBatch(store)
      const changed = await store.change(number, epoch, EVERYTHING)
      expect(changed).toMatchObject({
        ...batch,
        ...EVERYTHING,
        phaseEpoch: epoch,
        phaseAt: expect.any(Number),
      })
      expect(await store.openBatches()).toEqual([changed])
      expect(await store.change(number, epoch, {})).toEqual(changed)
      expect(await store.change(number, epoch, CLEARED)).toEqual({ ...changed, ...CLEARED })
    })

    test('keeps litter and retired tags in the same commit', async () => {
      await using store = await rig.newStore()
      await accepted(store, {})
      const { number, epoch } = await claimedBatch(store)
      const retire = { tag: 't1', batch: number, inputFileId: 'f1', since: 12 }
      await store.change(number, epoch, { litter: ['f1', 'f2'], retire })
      await store.change(number, epoch, {
        litter: ['f2', 'f3'],
        retire: { ...retire, tag: 't2', inputFileId: undefined },
      })
      await store.addLitter(['f0', 'f1'])
      expect(await store.litter(3)).toEqual(['f1', 'f2', 'f3'])
      await store.forgetLitter(['f1', 'f3'])
      expect(await store.litter(10)).toEqual(['f2', 'f0'])
      expect(await store.retiredTags()).toEqual([retire, { ...retire, tag: 't2', inputFileId: undefined }])
      await store.forgetTags(['t1', 'none'])
      expect(await store.retiredTags()).toMatchObject([{ tag: 't2' }])
    })

    test('belongs to one claim at a time, and an old epoch changes nothing', async () => {
      await using store = await rig.newStore()
      await accepted(store, {}, {})
      const number = (await store.cut(GROUP, ANY_SIZE))?.number ?? 0
      const first = await store.claim(number, 'rep_1', LONG_MS)
      expect(first?.epoch).toBe(1)
      expect(await store.claim(number, 'rep_2', LONG_MS)).toBeUndefined()
      expect(await store.claim(number, 'rep_1', LONG_MS)).toBeUndefined()
      expect(await store.claim(number + 1, 'rep_1', LONG_MS)).toBeUndefined()
      expect(await store.renew(number, 1, 0)).toBe(true)
      const second = await store.claim(number, 'rep_2', LONG_MS)
      expect(second?.epoch).toBe(2)
      const before = await store.openBatches()
      const [id = ''] = await store.waitingFor(number)
      expect(await store.renew(number, 1, LONG_MS)).toBe(false)
      expect(
        await store.change(number, 1, { ...EVERYTHING, litter: ['f'], retire: retired(number) }),
      ).toBeUndefined()
      expect(
        await store.settle(number, 1, [{ kind: 'again', id, uses: 'attempt', readyAt: 0, route: 'batch' }]),
      ).toBeUndefined()
      expect(await store.requeue(number, 1, 'expiry')).toBeUndefined()
      await store.release(number, 1, 5)
      expect(await store.openBatches()).toEqual(before)
      expect(await store.litter(5)).toEqual([])
      expect(await store.retiredTags()).toEqual([])
      expect(await store.request(id, 'default')).toMatchObject({ state: 'batched', attempts: 0, expiries: 0 })
    })

    test('is due when its time has come and nobody has it', async () => {
      await using store = await rig.newStore()
      await accepted(store, {}, {}, {})
      const cut = () => store.cut(GROUP, { ...ANY_SIZE, requests: 1 })
      const [a, b, c] = [await cut(), await cut(), await cut()]
      expect(numbersOf(await store.dueBatches(2))).toEqual(numbersOf([a, b].flatMap((one) => one ?? [])))
      const claim = await store.claim(a?.number ?? 0, 'rep_1', LONG_MS)
      await store.claim(b?.number ?? 0, 'rep_1', 0)
      expect(numbersOf(await store.dueBatches(9))).toEqual([b?.number, c?.number])
      await store.release(a?.number ?? 0, claim?.epoch ?? 0, (await store.now()) + LONG_MS)
      expect(numbersOf(await store.dueBatches(9))).toEqual([b?.number, c?.number])
      await store.askCancel(a?.number ?? 0, 'deadline')
      expect(numbersOf(await store.dueBatches(9))).toContain(a?.number)
      expect(await store.claim(a?.number ?? 0, 'rep_2', LONG_MS)).toMatchObject({ epoch: 2 })
    })

    test('to cancel it is not put off by whoever had it claimed before', async () => {
      await using store = await rig.newStore()
      await accepted(store, {})
      const { number, epoch } = await claimedBatch(store)
      await store.askCancel(number, 'deadline')
      await store.release(number, epoch, (await store.now()) + LONG_MS)
      expect(numbersOf(await store.dueBatches(9))).toEqual([number])
      const seen = await store.claim(number, 'rep_2', LONG_MS)
      await store.release(number, seen?.epoch ?? 0, (await store.now()) + LONG_MS)
      expect(await store.dueBatches(9)).toEqual([])
    })

    test('the wish of a caller to cancel it goes before that of a deadline', async () => {
      await using store = await rig.newStore()
      await accepted(store, {})
      const { number, epoch } = await claimedBatch(store)
      const cancel = async () => (await store.openBatches())[0]?.cancel
      await store.askCancel(number, 'deadline')
      expect(await cancel()).toBe('deadline')
      await store.askCancel(number, 'caller')
      await store.askCancel(number, 'deadline')
      expect(await cancel()).toBe('caller')
      await store.requeue(number, epoch, 'nothing')
      expect(await store.change(number, epoch, { phase: 'done' })).toMatchObject({ phase: 'done', live: 0 })
      expect(await store.claim(number, 'rep_1', LONG_MS)).toBeUndefined()
      expect(await store.openBatches()).toEqual([])
    })

    test('is not done while a request waits for it', async () => {
      await using store = await rig.newStore()
      await accepted(store, {})
      const { number, epoch } = await claimedBatch(store)
      await expect(store.change(number, epoch, { phase: 'done', note: 'x' })).rejects.toMatchObject({
        code: 'unfinished_batch',
        message: expect.stringContaining(`batch ${number}`),
      })
      expect(await store.openBatches()).toMatchObject([{ phase: 'sealed', note: undefined }])
    })

    test('all that waits for it goes back into the queue, by another way if that can be paid for', async () => {
      await using store = await rig.newStore()
      await store.putTenant({ name: 'default', maxNanoUsd: 5000, callsPerMinute: undefined })
      const costs = { mostNanoUsd: 1000, mostDirectlyNanoUsd: 2000 }
      const ids = await accepted(store, costs, { ...costs, deadlineAt: 5000 })
      const first = await claimedBatch(store)
      expect(await store.requeue(first.number, first.epoch, 'expiry', 'direct')).toBe(2)
      const states = await store.requests(ids)
      expect(states).toMatchObject([
        {
          state: 'queued',
          route: 'direct',
          expiries: 1,
          reservedNanoUsd: 2000,
          batch: undefined,
          hasDeadline: false,
        },
        { state: 'queued', route: 'direct', expiries: 1, reservedNanoUsd: 2000, hasDeadline: true },
      ])
      expect(await store.reroute(ids, 'batch')).toEqual(ids)
      await accepted(store, costs, costs)
      await claimedBatch(store, { ...GROUP, hasDeadline: true })
      const { number, epoch } = await claimedBatch(store)
      expect(await store.requeue(number, epoch, 'nothing', 'direct')).toBe(3)
      expect(await store.requests(ids)).toMatchObject([
        { state: 'queued', route: 'batch', expiries: 1, reservedNanoUsd: 1000 },
        { state: 'batched' },
      ])
      expect(await store.requeue(number, epoch, 'nothing')).toBe(0)
    })

    test('tells how long those took that were carried out, the newest first', async () => {
      await using store = await rig.newStore()
      const ended = ['completed', 'failed', 'expired', undefined]
      for (const status of ended) {
        await accepted(store, {})
        const { number, epoch } = await claimedBatch(store)
        await store.requeue(number, epoch, 'nothing')
        const done = await store.change(number, epoch, { phase: 'done', status })
        expect(done).toMatchObject({ phase: 'done', status })
      }
      const batches = await store.batchTimes(9)
      expect(batches).toHaveLength(2)
      expect(batches.every((ms) => ms >= 0 && ms < LONG_MS)).toBe(true)
      expect(await store.batchTimes(1)).toHaveLength(1)
    })

    test('is listed by its remote id, newest first, to its own tenant', async () => {
      await using store = await rig.newStore()
      await accepted(store, {}, {}, {}, {}, { tenant: 'other' })
      for (const name of ['a', 'b', 'c', 'd']) {
        const batch = await store.cut(GROUP, { ...ANY_SIZE, requests: 1 })
        const claim = await store.claim(batch?.number ?? 0, 'rep_1', LONG_MS)
        await store.change(batch?.number ?? 0, claim?.epoch ?? 0, {
          ...(name !== 'b' && {
            batchId: `batch_${name}`,
            status: name === 'a' ? 'validating' : 'in_progress',
          }),
        })
      }
      await claimedBatch(store, { ...GROUP, tenant: 'other' })
      const page = async (after: string | undefined, limit: number) => {
        const found = await store.remoteBatches('default', { after, limit })
        return found && [...found.items.map(({ batchId }) => batchId), found.hasMore]
      }
      expect(await page(undefined, 2)).toEqual(['batch_d', 'batch_c', true])
      expect(await page('batch_d', 2)).toEqual(['batch_c', 'batch_a', false])
      expect(await page('batch_a', 2)).toEqual([false])
      expect(await page('batch_none', 2)).toBeUndefined()
      expect(await store.remoteBatches('other', { after: 'batch_d', limit: 2 })).toBeUndefined()
      expect(await store.batchByRemoteId('batch_c', 'default')).toMatchObject({ batchId: 'batch_c' })
      expect(await store.batchByRemoteId('batch_c', 'other')).toBeUndefined()
      expect((await store.counts()).batches).toEqual({ unsent: 2, in_progress: 2, validating: 1 })
    })
  })
}

const retired = (batch: number) => ({ tag: 't', batch, inputFileId: undefined, since: 1 })
