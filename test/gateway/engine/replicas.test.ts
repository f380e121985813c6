import { describe, expect, test } from 'vitest'
import type { Engine } from '../../../src/gateway/engine/engine.ts'
import { Suspended } from './mortal.ts'
import { many, World, type WorldOptions } from './world.ts'

const isCreate = (call: string) => /^POST .*\/batches$/i.test(call)

async function expectOnce(world: World): Promise<void> {
  expect(await world.results()).toEqual(world.ids.map((_, at) => `re: q${at}`))
  expect([...world.asks.values()]).toEqual(world.ids.map(() => 1))
  expect(world.made.flatMap(({ doubled }) => doubled)).toEqual([])
  expect(await world.remoteFiles()).toEqual([])
  expect(await world.liveBatches()).toBe(0)
}

describe('of two replicas', () => {
  test('both work, and each batch is made once', async () => {
    await using world = await World.open({ settings: { maxBatchRequests: 3 } })
    const engines = [world.engine(), world.engine()]
    await Promise.all(engines.map((engine) => engine.start()))
    const arrivals = many(30)
    for (const [at, question] of arrivals.entries()) await world.ask(engines[at % 2], question)
    await world.finish()
    await world.settle()
    await expectOnce(world)
    expect(world.made.length).toBeGreaterThanOrEqual(10)
  })

  test('one takes over what the other left, and nothing is made twice', async () => {
    await using world = await World.open({ emulator: { latency: { runMs: 600_000 } } })
    const [first, second] = [world.engine(), world.engine()]
    await first.start()
    await world.ask(first, ...many(5))
    while (world.made.length === 0) await world.clock.sleep(1_000)
    await world.close(first)
    await second.start()
    await world.finish()
    await world.settle()
    await expectOnce(world)
  })

  /** One replica sleeps in the middle of its create for as long as the other one needs. */
  async function overtaken(acted: boolean, options: WorldOptions = {}): Promise<World> {
    const world = await World.open(options)
    const sleeper = new Suspended(isCreate, acted)
    const slow: Engine = world.engine({}, sleeper)
    await slow.start()
    await world.ask(slow, ...many(4))
    while (!sleeper.isAsleep) await world.clock.sleep(1_000)
    await world.engine().start()
    await world.finish()
    sleeper.wake()
    await world.clock.sleep(180_000)
    await world.settle()
    return world
  }

  test('one that sleeps before its create arrives comes too late: its input is gone', async () => {
    await using world = await overtaken(false)
    await expectOnce(world)
    expect(world.events('claim_lost')).toHaveLength(1)
    expect(world.calls.filter((call) => call === 'POST /v1/batches')).toHaveLength(2)
  })

  test('one that sleeps after its create arrived finds its batch in the hands of the other', async () => {
    await using world = await overtaken(true)
    await expectOnce(world)
    expect(world.events('batch_created')).toMatchObject([{ adopted: true }])
    expect(world.events('claim_lost')).toHaveLength(1)
    expect(world.calls.filter((call) => call === 'POST /v1/batches')).toHaveLength(1)
  })

  test('none disturbs the other in a create that takes long', async () => {
    const fault = { fault: 'http-delay', ms: 600_000, route: 'POST /v1/batches' } as const
    await using world = await World.open({ emulator: { scenario: { seed: 1, faults: [fault] } } })
    const engines = [world.engine(), world.engine()]
    for (const engine of engines) await engine.start()
    await world.ask(engines[0], ...many(4))
    await world.finish()
    await world.settle()
    await expectOnce(world)
    expect(world.events('claim_lost')).toEqual([])
  })
})
