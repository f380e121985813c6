import { expect, test } from 'vitest'
import { Retention } from '../../../src/gateway/engine/retention.ts'
import { StoreTime } from '../../../src/gateway/engine/store-time.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { arrivalOf, claimedBatch, endOf } from '../../support/gateway-stores.ts'
import { World } from '../engine/world.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

async function open(settings: { retentionMs: number; cacheMs?: number; claimMs?: number }) {
  const world = await World.open()
  const { clock, log } = world
  const steps: number[] = []
  const started = new Set<Retention>()
  const start = (replica: string) => {
    const store: GatewayStore = {
      ...world.store,
      forget: async (beforeMs, limit) => {
        steps.push(limit)
        return world.store.forget(beforeMs, limit)
      },
    }
    const retention = new Retention({
      ...{ store, time: new StoreTime(store, clock), clock, log, replica },
      settings: { cacheMs: 0, claimMs: 0, ...settings },
    })
    started.add(retention)
    retention.start()
  }
  const end = async (count: number) => {
    const arrivals = Array.from({ length: count }, () => arrivalOf())
    await world.store.accept(arrivals, { maxQueued: 1e6 })
    const { number, epoch } = await claimedBatch(world.store)
    await world.store.settle(
      number,
      epoch,
      arrivals.map(({ id }) => endOf(id)),
    )
    return arrivals.map(({ id }) => id)
  }
  const kept = async (ids: readonly string[]) => (await world.store.requests(ids)).length
  return {
    ...{ world, steps, start, end, kept },
    [Symbol.asyncDispose]: async () => {
      for (const one of started) await one.close()
      await world[Symbol.asyncDispose]()
    },
  }
}

test('what is done is forgotten when its time is over, in bounded steps, and what waits is not', async () => {
  await using gateway = await open({ retentionMs: 7 * DAY_MS })
  const { world, start, end, kept, steps } = gateway
  const old = await end(1_200)
  await world.clock.sleep(2 * DAY_MS)
  const [young, waiting] = [await end(5), arrivalOf()]
  await world.store.accept([waiting], { maxQueued: 1e6 })
  start('rep_1')
  await world.clock.sleep(HOUR_MS)
  expect(await kept(old)).toBe(1_200)
  await world.clock.sleep(5 * DAY_MS)
  while ((await kept(old)) > 0) await world.clock.sleep(600_000)
  expect(await kept(young)).toBe(5)
  expect(await kept([waiting.id])).toBe(1)
  expect(Math.max(...steps)).toBeLessThanOrEqual(500)
  await world.clock.sleep(3 * DAY_MS)
  while ((await kept(young)) > 0) await world.clock.sleep(600_000)
  expect(await kept([waiting.id])).toBe(1)
})

test('what was promised to be given again is kept for that', async () => {
  await using gateway = await open({ retentionMs: HOUR_MS, cacheMs: 3 * HOUR_MS, claimMs: 2 * HOUR_MS })
  const { world, start, end, kept } = gateway
  const ids = await end(1)
  start('rep_1')
  for (let minutes = 0; minutes < 170; minutes += 10) await world.clock.sleep(600_000)
  expect(await kept(ids)).toBe(1)
  while ((await kept(ids)) > 0) await world.clock.sleep(600_000)
  expect(world.clock.now() - Date.UTC(2026, 0, 1)).toBeGreaterThan(3 * HOUR_MS)
})

test('one process at a time forgets', async () => {
  await using gateway = await open({ retentionMs: HOUR_MS })
  const { world, start, steps } = gateway
  start('rep_1')
  await world.clock.sleep(1_000)
  start('rep_2')
  await world.clock.sleep(60_000)
  expect(steps).toHaveLength(1)
})
