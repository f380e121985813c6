import { expect, test } from 'vitest'
import type { StoredRequest } from '../../../src/gateway/domain/request.ts'
import { accepted, claimedBatch, describeStores, endOf, GROUP } from '../../support/gateway-stores.ts'

const HOUR_MS = 3_600_000

describeStores('what the ladder asks the store', ({ newStore }) => {
  test('requests are pressed whose deadline is near and not past, page by page, the nearest first', async () => {
    await using store = await newStore()
    const now = await store.now()
    const at = (deadlineAt: number | undefined) => ({ deadlineAt, hasDeadline: deadlineAt !== undefined })
    const near = await accepted(store, ...[3, 1, 2, 2, 2].map((hours) => at(now + hours * HOUR_MS)), {
      ...at(now + 2 * HOUR_MS),
      route: 'flex',
    })
    await accepted(
      store,
      at(now - 1),
      at(now + 9 * HOUR_MS),
      at(undefined),
      { ...at(now + HOUR_MS), priority: 'low' },
      { ...at(now + HOUR_MS), route: 'direct' },
    )
    const seen: StoredRequest[] = []
    for (let page = await store.pressed(4 * HOUR_MS, 2); page.length > 0; ) {
      seen.push(...page)
      page = await store.pressed(4 * HOUR_MS, 2, page.at(-1))
    }
    expect(seen.map(({ id }) => id).toSorted()).toEqual(near.toSorted())
    const deadlines = seen.map(({ deadlineAt = 0 }) => deadlineAt)
    expect(deadlines).toEqual(deadlines.toSorted((a, b) => a - b))
  })

  test('batches that were carried out say how long they took, the newest first', async () => {
    await using store = await newStore()
    for (const status of ['completed', 'failed', 'expired', 'cancelled']) {
      const [id = ''] = await accepted(store, {})
      const { number, epoch } = await claimedBatch(store, GROUP)
      await store.settle(number, epoch, [endOf(id)])
      await store.change(number, epoch, { phase: 'done', status })
    }
    const times = await store.batchTimes(10)
    expect(times).toHaveLength(2)
    for (const ms of times) expect(ms).toBeGreaterThanOrEqual(0)
    expect(await store.batchTimes(1)).toHaveLength(1)
  })
})
