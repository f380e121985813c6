import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Arrival } from '../../../src/gateway/domain/arrival.ts'
import type { Engine } from '../../../src/gateway/engine/engine.ts'
import { createWholeEngine } from '../../../src/gateway/engine/whole-engine.ts'
import { World, type WorldOptions } from '../engine/world.ts'
import { MOST, priced } from './call-world.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/** A whole gateway, but for its HTTP side. */
async function open(options: WorldOptions) {
  const world = await World.open(options)
  const { store, settings, clock, log } = world
  const spoolDir = join(world.dir, 'spool')
  const engine: Engine = createWholeEngine({
    store,
    api: world.api(),
    settings,
    clock,
    log,
    replica: 'rep_1',
    spoolDir,
  })
  await engine.start()
  const ask = (texts: readonly string[], parts: Partial<Arrival>) =>
    world.ask(
      engine,
      ...texts.map((text) => ({ text, arrival: priced({ route: 'batch', ...inGroup(parts) }) })),
    )
  return {
    world,
    ask,
    /** Lets time pass until they have ended, in large steps. */
    finish: async (ids: readonly string[], mostMs: number) => {
      const end = clock.now() + mostMs
      while ((await store.finishedAmong(ids)).length < ids.length && clock.now() < end)
        await clock.sleep(20_000)
      await world.finish(ids, 0)
    },
    /** Routes by which they were answered. */
    routes: async (ids: readonly string[]) => {
      const answers = await store.answers(ids)
      return ids.map((id) => answers.get(id)?.route)
    },
    lateness: async (ids: readonly string[]) => {
      const requests = await store.requests(ids)
      return requests.map(({ finishedAt = 0, deadlineAt = 0 }) => finishedAt - deadlineAt)
    },
    [Symbol.asyncDispose]: async () => {
      await engine.close()
      await world[Symbol.asyncDispose]()
    },
  }
}

const inGroup = (parts: Partial<Arrival>): Partial<Arrival> => ({
  ...parts,
  hasDeadline: parts.deadlineAt !== undefined,
})

/** A batch that does one request after another. */
const slow = (perRequestMs: number) => ({
  runMs: 0,
  perRequestMs,
  validateMs: 1_000,
  finalizeMs: 1_000,
  cancelMs: 5 * MINUTE_MS,
})

describe('a deadline', () => {
  test('that a batch will not keep calls it back: what it answered is kept, the rest goes by flex', async () => {
    await using gateway = await open({ emulator: { latency: slow(15 * MINUTE_MS) } })
    const { world, ask, finish, routes, lateness } = gateway
    const deadlineAt = world.clock.now() + 50 * MINUTE_MS
    const ids = await ask(['a', 'b', 'c', 'd'], { deadlineAt })
    await finish(ids, 4 * HOUR_MS)
    expect(await world.results(ids)).toEqual(['re: a', 're: b', 're: c', 're: d'])
    expect((await routes(ids)).toSorted()).toEqual(['batch', 'batch', 'flex', 'flex'])
    for (const ms of await lateness(ids)) expect(ms).toBeLessThan(0)
    expect(world.made).toHaveLength(1)
    expect(world.events('deadline_cancel')).toHaveLength(1)
  })

  test('goes directly when there is no room in flex, at the last moment', async () => {
    const scenario = { faults: [{ fault: 'reply-flex-refused' } as const] }
    await using gateway = await open({ emulator: { latency: slow(HOUR_MS), scenario } })
    const { world, ask, finish, routes, lateness } = gateway
    const ids = await ask(['a', 'b'], { deadlineAt: world.clock.now() + 25 * MINUTE_MS })
    await finish(ids, HOUR_MS)
    expect(await routes(ids)).toEqual(['direct', 'direct'])
    for (const ms of await lateness(ids)) expect(ms).toBeLessThan(0)
    expect(world.calls.filter((call) => call === 'POST /v1/chat/completions').length).toBeGreaterThan(4)
  })

  test('that a batch keeps costs nothing more', async () => {
    await using gateway = await open({ emulator: { latency: slow(MINUTE_MS) } })
    const { world, ask, finish, routes } = gateway
    const ids = await ask(['a', 'b'], { deadlineAt: world.clock.now() + 2 * HOUR_MS })
    await finish(ids, 2 * HOUR_MS)
    expect(await routes(ids)).toEqual(['batch', 'batch'])
    expect(world.calls).not.toContain('POST /v1/chat/completions')
  })

  test('of a minute from now is met by a call at once', async () => {
    await using gateway = await open({ emulator: { latency: slow(HOUR_MS) } })
    const { world, ask, finish, routes, lateness } = gateway
    const ids = await ask(['a'], { deadlineAt: world.clock.now() + MINUTE_MS })
    await finish(ids, HOUR_MS)
    expect(await routes(ids)).toEqual(['direct'])
    for (const ms of await lateness(ids)) expect(ms).toBeLessThan(0)
    expect(world.made).toEqual([])
  })

  test('that batches of late would not have kept is met by flex from the beginning', async () => {
    await using gateway = await open({ emulator: { latency: slow(40 * MINUTE_MS) } })
    const { world, ask, finish, routes } = gateway
    await finish(await ask(['first'], {}), HOUR_MS)
    await world.settle()
    await world.clock.sleep(5 * MINUTE_MS)
    const ids = await ask(['second'], { deadlineAt: world.clock.now() + 35 * MINUTE_MS })
    await finish(ids, 10 * MINUTE_MS)
    expect(await routes(ids)).toEqual(['flex'])
    expect(world.made).toHaveLength(1)
  })

  test('is missed by a request that may not cost more than a batch, or is of low priority, and that is said', async () => {
    await using gateway = await open({ emulator: { latency: slow(15 * MINUTE_MS) } })
    const { world, ask, finish, routes } = gateway
    const deadlineAt = world.clock.now() + 20 * MINUTE_MS
    const ids = [
      ...(await ask(['poor'], { deadlineAt, maxNanoUsd: MOST.batch })),
      ...(await ask(['low'], { deadlineAt, priority: 'low' })),
    ]
    await finish(ids, 10 * HOUR_MS)
    expect(await routes(ids)).toEqual(['batch', 'batch'])
    expect(world.made).toHaveLength(1)
    expect(world.events('deadline_unaffordable')).toMatchObject([{ batch: 1, requests: 2 }])
  })

  test('is missed by a request whose tenant cannot pay for it, and its limit is kept', async () => {
    await using gateway = await open({
      emulator: { latency: slow(10 * MINUTE_MS) },
      settings: { windowMs: 30 * MINUTE_MS },
    })
    const { world, ask, finish, routes } = gateway
    await world.store.putTenant({ name: 'default', maxNanoUsd: MOST.batch, callsPerMinute: undefined })
    const ids = await ask(['poor'], { deadlineAt: world.clock.now() + 10 * MINUTE_MS })
    await finish(ids, 10 * HOUR_MS)
    expect(await routes(ids)).toEqual(['batch'])
    expect(world.events('deadline_reroute')[0]).toMatchObject({ requests: 0, held: 1 })
  })

  test('of a request that comes in beside many others does not wait for them', async () => {
    await using gateway = await open({ emulator: { latency: slow(1_000) } })
    const { world, ask, finish } = gateway
    const many = await ask(
      Array.from({ length: 300 }, (_, index) => `q${index}`),
      {},
    )
    const [id = ''] = await ask(['urgent'], { route: 'direct', priority: 'high' })
    const began = world.clock.now()
    await finish([id], HOUR_MS)
    expect(world.clock.now() - began).toBeLessThan(MINUTE_MS)
    await finish(many, HOUR_MS)
  })
})
