import { describe, expect, test } from 'vitest'
import { moneyOf } from '../../support/gateway-stores.ts'
import { MOST } from './call-world.ts'
import { openWhole } from './whole-gateway.ts'

const HOUR_MS = 3_600_000

describe('a group with fewer requests than are worth a batch', () => {
  test('is called directly when its window ends, and one that is large enough is not', async () => {
    await using gateway = await openWhole({ settings: { directBelow: 3 } })
    const { world, ask, finish, routes } = gateway
    const few = await ask(['a', 'b'], {})
    await finish(few, HOUR_MS)
    expect(await routes(few)).toEqual(['direct', 'direct'])
    expect(world.made).toEqual([])
    const enough = await ask(['c', 'd', 'e'], {})
    await finish(enough, HOUR_MS)
    expect(await routes(enough)).toEqual(['batch', 'batch', 'batch'])
    expect(world.made).toHaveLength(1)
  })

  test('goes by batch as far as it may not be called: for its priority, or what it may cost', async () => {
    await using gateway = await openWhole({ settings: { directBelow: 4 } })
    const { world, ask, finish, routes } = gateway
    const ids = [
      ...(await ask(['low'], { priority: 'low' })),
      ...(await ask(['poor'], { maxNanoUsd: MOST.batch })),
      ...(await ask(['other'], {})),
    ]
    await finish(ids, HOUR_MS)
    expect(await routes(ids)).toEqual(['batch', 'batch', 'direct'])
    expect(world.made).toHaveLength(1)
  })

  test('goes by batch as far as its tenant cannot pay for calls', async () => {
    await using gateway = await openWhole({ settings: { directBelow: 3 } })
    const { world, ask, finish, routes } = gateway
    const maxNanoUsd = 2 * MOST.batch
    await world.store.putTenant({ name: 'default', maxNanoUsd, callsPerMinute: undefined })
    const ids = await ask(['a', 'b'], {})
    await finish(ids, HOUR_MS)
    expect(await routes(ids)).toEqual(['batch', 'batch'])
    expect(world.made).toHaveLength(1)
    // One that was to be called, and the one that it became.
    expect(world.events('batch_cut').length).toBeLessThanOrEqual(2)
    const { spent, reserved } = await moneyOf(world.store)
    expect(reserved).toBe(0)
    expect(spent).toBeLessThanOrEqual(maxNanoUsd)
  })
})
