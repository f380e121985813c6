import { describe, expect, test } from 'vitest'
import type { Scenario } from '../../../src/emulator/index.ts'
import { clockOfFastDisk } from '../../support/virtual-clock.ts'
import { many, World } from './world.ts'

type Fault = Scenario['faults'][number]

/** The answer to the first create is lost, and its batch cannot be seen for some minutes. */
const unseen: readonly Fault[] = [
  { fault: 'http-lose', route: 'POST /v1/batches', when: { nth: 1 }, acts: true },
  { fault: 'listing-lag', what: 'batch', from: ['list', 'get'], ms: 240_000, when: { nth: 1 } },
]

async function open(faults: readonly Fault[], latency = {}): Promise<World> {
  return await World.open({ emulator: { latency, scenario: { seed: 1, faults: [...faults] } } })
}

describe('a batch that turns up after its create was given up', () => {
  test('is settled beside the one that took its place', async () => {
    await using world = await open(unseen)
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(3))
    await world.finish()
    expect(await world.results()).toEqual(['re: q0', 're: q1', 're: q2'])
    expect([...world.asks.values()]).toEqual([2, 2, 2])
    while (world.events('stray_settled').length === 0) await world.clock.sleep(5_000)
    await world.settle()
    expect(await world.remoteFiles()).toEqual([])
    expect(world.events('stray_batch')).toHaveLength(1)
  })

  test('gives its answers to requests that still wait', async () => {
    const stuck: Fault = { fault: 'batch-stuck', in: 'in_progress', ms: 3_600_000, when: { nth: 2 } }
    await using world = await open([...unseen, stuck])
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(3))
    const begun = world.clock.now()
    await world.finish()
    expect(world.clock.now() - begun).toBeLessThan(900_000)
    expect(await world.results()).toEqual(['re: q0', 're: q1', 're: q2'])
    while (world.events('stray_settled').length === 0) await world.clock.sleep(5_000)
    expect(world.events('stray_settled')).toMatchObject([{ served: 3 }])
    await world.settle()
    expect(await world.remoteFiles()).toEqual([])
  })

  test('is cancelled while it works', async () => {
    const latency = { runMs: 3_600_000 }
    await using world = await open(unseen, latency)
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(3))
    await world.finish()
    expect(world.calls.filter((call) => call === 'POST /v1/batches/:id/cancel')).toHaveLength(1)
    expect(world.events('stray_settled')).toMatchObject([{ status: 'cancelled', served: 0 }])
  })

  test('is found by a later process, too', async () => {
    await using world = await open(unseen)
    const first = world.engine()
    await first.start()
    await world.ask(first, ...many(3))
    await world.finish()
    await world.close(first)
    await world.clock.sleep(600_000)
    expect(world.events('stray_batch')).toEqual([])
    await world.engine().start()
    while (world.events('stray_settled').length === 0) await world.clock.sleep(5_000)
    await world.settle()
    expect(await world.remoteFiles()).toEqual([])
  })

  test('is forgotten after a month', async () => {
    const lost: Fault = { fault: 'http-lose', route: 'POST /v1/batches', when: { nth: 1 } }
    const clock = clockOfFastDisk()
    await using world = await World.open({ clock, emulator: { scenario: { seed: 1, faults: [lost] } } })
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(1))
    await world.finish()
    expect(await world.store.retiredTags()).toHaveLength(1)
    clock.jump(32 * 24 * 3_600_000)
    while ((await world.store.retiredTags()).length > 0) await world.clock.sleep(5_000)
    expect(world.events('stray_batch')).toEqual([])
  })
})

test('two batches of one create: one is taken, the other is cancelled', async () => {
  let creates = 0
  await using world = await World.open({
    fetch: (next) => async (input, init) => {
      const isCreate = init?.method === 'POST' && /\/batches$/i.test(String(input))
      if (!isCreate || ++creates > 1) return next(input, init)
      // A proxy that sends it twice, and loses both answers.
      await next(input, init)
      await next(input, init)
      throw new TypeError('connection lost')
    },
  })
  const engine = world.engine()
  await engine.start()
  await world.ask(engine, ...many(2))
  await world.finish()
  expect(await world.results()).toEqual(['re: q0', 're: q1'])
  expect(world.made).toHaveLength(2)
  while (world.events('stray_settled').length === 0) await world.clock.sleep(5_000)
  expect(await world.liveBatches()).toBe(0)
})
