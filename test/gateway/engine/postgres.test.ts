import { beforeAll, describe, expect, test } from 'vitest'
import { BossJobs } from '../../../src/gateway/engine/boss-jobs.ts'
import type { EngineOptions } from '../../../src/gateway/engine/create-engine.ts'
import type { Engine } from '../../../src/gateway/engine/engine.ts'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { Secret } from '../../../src/util/secret.ts'
import { startPostgres, type TestPostgres, temporarySchema, withClient } from '../../support/postgres.ts'
import { Suspended } from './mortal.ts'
import { many, World, type WorldOptions } from './world.ts'

let server: TestPostgres

beforeAll(async () => {
  server = await startPostgres()
}, 120_000)

interface Replicas {
  readonly world: World
  replica(between?: Suspended): Promise<Engine>
}

/** Replicas with stores of their own on one database, and real time. */
async function replicated(stack: AsyncDisposableStack, options: WorldOptions = {}): Promise<Replicas> {
  const schema = stack.use(await temporarySchema(server))
  const jobSchema = `${schema.name}_jobs`
  stack.defer(() =>
    withClient(server.url, (client) => client.query(`drop schema if exists ${jobSchema} cascade`)),
  )
  const stores: GatewayStore[] = []
  stack.defer(async () => {
    for (const store of stores) await store.close()
  })
  const newStore = async (): Promise<GatewayStore> => {
    const store = await openStore({ kind: 'postgres', url: server.url, schema: schema.name }, systemClock)
    stores.push(store)
    return store
  }
  const settings = { windowMs: 100, pollMinMs: 100, pollMaxMs: 300, createGraceMs: 500, ...options.settings }
  const store = await newStore()
  const world = stack.use(await World.open({ clock: systemClock, stepMs: 50, ...options, settings, store }))
  const jobs: EngineOptions['jobs'] = (time) =>
    new BossJobs({ url: new Secret(server.url), schema: jobSchema, now: () => time.now(), log: world.log })
  const replica = async (between?: Suspended): Promise<Engine> => {
    const own = await newStore()
    const engine = world.engine(
      { jobs, leaseMs: 2_000, sweepMs: 1_000, store: between ? between.store(own) : own },
      between,
    )
    await engine.start()
    return engine
  }
  return { world, replica }
}

describe('on PostgreSQL, with pg-boss', () => {
  test('two replicas share the work, and each batch is made once', async () => {
    await using stack = new AsyncDisposableStack()
    const { world, replica } = await replicated(stack, { settings: { maxBatchRequests: 3 } })
    const engines = [await replica(), await replica()]
    for (const [at, question] of many(20).entries()) await world.ask(engines[at % 2], question)
    await world.finish()
    await world.settle()
    expect(await world.results()).toEqual(many(20).map(({ text }) => `re: ${text}`))
    expect([...world.asks.values()]).toEqual(world.ids.map(() => 1))
    expect(world.made.flatMap(({ doubled }) => doubled)).toEqual([])
    expect(await world.remoteFiles()).toEqual([])
    expect(world.events('jobs_trouble')).toEqual([])
  }, 60_000)

  test('what one replica began another one ends', async () => {
    await using stack = new AsyncDisposableStack()
    const { world, replica } = await replicated(stack, { emulator: { latency: { runMs: 3_000 } } })
    const first = await replica()
    await world.ask(first, ...many(5))
    while (world.made.length === 0) await world.clock.sleep(20)
    await world.close(first)
    await replica()
    await world.finish()
    expect(await world.results()).toEqual(many(5).map(({ text }) => `re: ${text}`))
    expect([...world.asks.values()]).toEqual(world.ids.map(() => 1))
  }, 60_000)

  test('a replica that sleeps in its create until another has taken over makes no second batch', async () => {
    await using stack = new AsyncDisposableStack()
    const { world, replica } = await replicated(stack)
    const sleeper = new Suspended((call) => /^POST .*\/batches$/i.test(call), false)
    const slow = await replica(sleeper)
    await world.ask(slow, ...many(3))
    while (!sleeper.isAsleep) await world.clock.sleep(20)
    await replica()
    await world.finish()
    sleeper.wake()
    while (world.events('claim_lost').length === 0) await world.clock.sleep(20)
    expect(await world.results()).toEqual(['re: q0', 're: q1', 're: q2'])
    expect([...world.asks.values()]).toEqual([1, 1, 1])
    expect(await world.liveBatches()).toBe(0)
  }, 120_000)
})
