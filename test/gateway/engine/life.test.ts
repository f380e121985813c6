import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { many, World } from './world.ts'

const linesOf = (world: World) => world.made.map(({ ids }) => ids.length)

describe('requests', () => {
  test('of one group are batched when the window since the first one ends, and each gets its answer', async () => {
    await using world = await World.open()
    const engine = world.engine()
    await engine.start()
    const ids = await world.ask(engine, ...many(3))
    await world.clock.sleep(3_000)
    ids.push(...(await world.ask(engine, ...many(2, {}, 'later'))))
    await world.clock.sleep(1_000)
    expect(world.made).toEqual([])
    await world.finish()
    expect(world.made.map(({ ids: lines }) => lines)).toEqual([ids])
    expect(await world.results()).toEqual(['re: q0', 're: q1', 're: q2', 're: later0', 're: later1'])
    await world.settle()
    expect(await world.remoteFiles()).toEqual([])
    expect(readdirSync(join(world.dir, 'spool-rep_1'))).toEqual([])
  })

  test('of other tenants, endpoints, models and with deadlines are batched apart', async () => {
    await using world = await World.open()
    const engine = world.engine()
    await engine.start()
    const deadlineAt = world.clock.now() + 86_400_000
    await world.ask(
      engine,
      ...many(3),
      ...many(2, { tenant: 'acme' }),
      ...many(2, { model: 'gpt-5' }),
      ...many(2, { endpoint: '/v1/responses' }),
      ...many(2, { endpoint: '/v1/embeddings', model: 'text-embedding-3-small' }),
      ...many(2, { arrival: { deadlineAt, hasDeadline: true } }),
    )
    await world.finish()
    expect(linesOf(world).sort()).toEqual([2, 2, 2, 2, 2, 3])
    const answers = await world.store.answers(world.ids)
    expect(
      [...answers.values()].every(({ status, ending }) => status === 200 && ending === 'succeeded'),
    ).toBe(true)
    expect((await world.store.remoteBatches('acme', { limit: 10 }))?.items).toHaveLength(1)
  })

  test('that no engine heard of are found by a sweep', async () => {
    await using world = await World.open()
    await world.engine().start()
    await world.ask(undefined, ...many(2))
    await world.finish()
    expect(linesOf(world)).toEqual([2])
  })

  test('cost half of the listed price, from the usage of each answer', async () => {
    await using world = await World.open()
    const engine = world.engine()
    await engine.start()
    const [id = ''] = await world.ask(engine, { text: 'dear', model: 'gpt-5-mini' })
    await world.finish()
    const request = await world.store.request(id, 'default')
    const { usage } = JSON.parse((await world.answer(id)).body)
    // gpt-5-mini: 0.25 USD and 2 USD per million tokens, half of it in batches.
    expect(request?.costNanoUsd).toBe(usage.prompt_tokens * 125 + usage.completion_tokens * 1000)
    expect(await world.store.tenants()).toMatchObject([
      { spentNanoUsd: request?.costNanoUsd, reservedNanoUsd: 0 },
    ])
  })
})

describe('a batch is cut', () => {
  test.each([
    ['requests', { maxBatchRequests: 4 }, [4, 4, 2]],
    ['bytes', { maxBatchBytes: 800 }, [5, 5]],
    ['tokens', { maxBatchTokens: 60 }, [3, 3, 3, 1]],
  ])('by %s, at once when it is full', async (_, settings, sizes) => {
    await using world = await World.open({ settings: { windowMs: 3_600_000, ...settings } })
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(10))
    const begun = world.clock.now()
    const full = sizes.slice(0, -1)
    while (world.made.length < full.length) await world.clock.sleep(100)
    expect(world.clock.now() - begun).toBeLessThan(60_000)
    await world.finish()
    expect(linesOf(world)).toEqual(sizes)
  })

  test('by embedding inputs', async () => {
    await using world = await World.open()
    const engine = world.engine()
    await engine.start()
    const embeddings = { endpoint: '/v1/embeddings', model: 'text-embedding-3-small' } as const
    await world.ask(engine, ...many(5, { ...embeddings, arrival: { inputs: 20_000 } }))
    await world.finish()
    expect(linesOf(world).sort()).toEqual([1, 2, 2])
  })

  test('by a flush, of one tenant or of all', async () => {
    await using world = await World.open({ settings: { windowMs: 3_600_000 } })
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(2), ...many(1, { tenant: 'acme' }))
    expect(await engine.flush('acme')).toBe(1)
    expect(await engine.flush('nobody')).toBe(0)
    expect(await engine.flush(undefined)).toBe(1)
    expect(await engine.flush(undefined)).toBe(0)
    await world.finish()
    expect(linesOf(world).sort()).toEqual([1, 2])
  })

  test('not of few requests, which go out by themselves, but for those that may only be batched', async () => {
    let arrivals = 0
    const calls = { start: () => undefined, arrived: () => void arrivals++, close: () => Promise.resolve() }
    await using world = await World.open({ settings: { directBelow: 3 }, engine: { calls } })
    const engine = world.engine()
    await engine.start()
    const [normal = ''] = await world.ask(engine, { text: 'now' })
    const [low = ''] = await world.ask(engine, { text: 'later', arrival: { priority: 'low' } })
    const before = arrivals
    await world.finish([low])
    expect(arrivals).toBeGreaterThan(before)
    expect(await world.store.request(normal, 'default')).toMatchObject({ state: 'queued', route: 'direct' })
    expect(linesOf(world)).toEqual([1])
  })
})
