import { describe, expect, test } from 'vitest'
import { moneyOf } from '../../support/gateway-stores.ts'
import { MOST } from '../calls/call-world.ts'
import { openWhole } from '../calls/whole-gateway.ts'

const MINUTE_MS = 60_000
const SLOW = { latency: { runMs: 0, perRequestMs: 10 * MINUTE_MS, cancelMs: MINUTE_MS } }

/** A gateway with four requests of one tenant in a batch, that has no more than they may cost. */
async function openSent() {
  const gateway = await openWhole({ emulator: SLOW })
  const { world, ask } = gateway
  const maxNanoUsd = 4 * MOST.batch
  await world.store.putTenant({ name: 'default', maxNanoUsd, callsPerMinute: undefined })
  const ids = await ask(['a', 'b', 'c', 'd'], {})
  while (world.made.length === 0) await world.clock.sleep(1_000)
  await world.clock.sleep(25 * MINUTE_MS)
  const settled = async () => {
    await world.settle()
    const requests = await world.store.requests(ids)
    const costs = requests.map(({ costNanoUsd = 0 }) => costNanoUsd)
    expect(requests.map(({ state, reservedNanoUsd }) => [state, reservedNanoUsd])).toEqual(
      ids.map(() => ['done', 0]),
    )
    const spent = costs.reduce((sum, cost) => sum + cost, 0)
    expect(await moneyOf(world.store)).toEqual({ spent, reserved: 0 })
    expect(spent).toBeLessThanOrEqual(maxNanoUsd)
    return costs
  }
  return { ...gateway, ids, batchId: world.made[0]?.id ?? '', settled }
}

describe('what a tenant is charged', () => {
  test('for a batch that is cancelled half way is what was answered', async () => {
    await using gateway = await openSent()
    const { world, engine, ids, batchId, settled } = gateway
    await engine.cancel('default', batchId)
    await world.finish(ids)
    const [costs, results] = [await settled(), await world.results(ids)]
    expect(results.filter((result) => result.startsWith('re: '))).toHaveLength(2)
    expect(costs.map((cost) => cost > 0)).toEqual(results.map((result) => result.startsWith('re: ')))
  })

  test('for requests that are cancelled in a batch is what the server has done of them', async () => {
    await using gateway = await openSent()
    const { world, ids, settled } = gateway
    for (const id of ids.slice(0, 3))
      expect(await world.store.cancelRequest(id, 'default', { status: 499, body: '{}' })).toBe('sent')
    expect(await moneyOf(world.store)).toEqual({ spent: 0, reserved: 4 * MOST.batch })
    await world.finish(ids)
    // All four were answered, though one only was still waited for.
    for (const cost of await settled()) expect(cost).toBeGreaterThan(0)
    expect((await world.results(ids)).filter((result) => result.startsWith('re: '))).toHaveLength(1)
  })

  test('for requests that are cancelled in a batch which is cancelled, too, is what was answered by then', async () => {
    await using gateway = await openSent()
    const { world, engine, ids, batchId, settled } = gateway
    for (const id of [ids[0], ids[3]])
      await world.store.cancelRequest(id ?? '', 'default', { status: 499, body: '{}' })
    await engine.cancel('default', batchId)
    await world.finish(ids)
    const costs = await settled()
    expect(costs.filter((cost) => cost > 0)).toHaveLength(2)
    const answered = (await world.results(ids)).map((result) => result.startsWith('re: '))
    for (const at of [1, 2]) expect((costs[at] ?? 0) > 0).toBe(answered[at])
  })
})
