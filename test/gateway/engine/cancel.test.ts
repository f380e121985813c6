import { describe, expect, test } from 'vitest'
import { RemoteError } from '../../../src/errors.ts'
import { many, World, type WorldOptions } from './world.ts'

const SLOW = { latency: { runMs: 600_000, perRequestMs: 60_000 } }

/** A world whose engine has some requests in a batch that is worked on. */
async function working(options: WorldOptions = {}, count = 4) {
  const world = await World.open({ emulator: SLOW, ...options })
  const engine = world.engine()
  await engine.start()
  const ids = await world.ask(engine, ...many(count))
  while (world.made.length === 0) await world.clock.sleep(1_000)
  // The store learns of it a moment after the server.
  await world.clock.sleep(1_000)
  return { world, engine, ids, batchId: world.made[0]?.id ?? '' }
}

describe('cancelling a batch', () => {
  test('ends what it has not answered, and keeps the rest', async () => {
    const { world, engine, batchId } = await working()
    await using _ = world
    await world.clock.sleep(700_000)
    const batch = await engine.cancel('default', batchId)
    expect(batch).toMatchObject({ batchId, status: 'cancelling' })
    expect(JSON.parse(batch?.remote ?? '')).toMatchObject({
      object: 'batch',
      completion_window: '24h',
      status: 'cancelling',
    })
    await world.finish()
    const results = await world.results()
    for (const [at, result] of results.entries())
      expect([`re: q${at}`, '499 batch_cancelled']).toContain(result)
    expect(new Set(results).size).toBeGreaterThan(1)
    expect(results.filter((one) => one === '499 batch_cancelled').length).toBeGreaterThan(0)
    expect(world.made).toHaveLength(1)
    const cancelled = world.ids[results.indexOf('499 batch_cancelled')]
    expect((await world.answer(cancelled)).ending).toBe('cancelled')
  })

  test('of another tenant, or that there is not, is not possible', async () => {
    const { world, engine, batchId } = await working()
    await using _ = world
    expect(await engine.cancel('acme', batchId)).toBeUndefined()
    expect(await engine.cancel('default', 'batch_none')).toBeUndefined()
    expect(await engine.look('acme', batchId)).toBeUndefined()
    expect(world.calls).not.toContain('POST /v1/batches/:id/cancel')
  })

  test('that is over is refused, in the words of the server', async () => {
    const { world, engine, batchId } = await working({ emulator: {} })
    await using _ = world
    await world.finish()
    await expect(engine.cancel('default', batchId)).rejects.toThrow(RemoteError)
    expect(await world.results()).toEqual(['re: q0', 're: q1', 're: q2', 're: q3'])
  })

  test('is carried out later when the server did not hear of it', async () => {
    const fault = { fault: 'http-lose', route: 'POST /v1/batches/{id}/cancel', when: { first: 3 } } as const
    const emulator = { latency: { runMs: 36_000_000 }, scenario: { seed: 1, faults: [fault] } }
    const { world, engine, batchId } = await working({ emulator })
    await using _ = world
    await expect(engine.cancel('default', batchId)).rejects.toMatchObject({ retryable: true })
    await world.finish()
    expect(new Set(await world.results())).toEqual(new Set(['499 batch_cancelled']))
  })

  test('for a deadline sends what it has not answered another way', async () => {
    let arrivals = 0
    const calls = { start: () => undefined, arrived: () => void arrivals++, close: () => Promise.resolve() }
    const { world, ids } = await working({ engine: { calls } })
    await using _ = world
    const [batch] = await world.store.openBatches()
    await world.store.askCancel(batch?.number ?? 0, 'deadline')
    while ((await world.store.openBatches()).length > 0) await world.clock.sleep(1_000)
    expect(arrivals).toBeGreaterThan(0)
    const requests = await world.store.requests(ids)
    expect(
      requests.map(({ state, route, attempts, expiries }) => [state, route, attempts, expiries]),
    ).toEqual(ids.map(() => ['queued', 'direct', 0, 0]))
  })

  test('that waits for room ends it without a word to the server', async () => {
    await using world = await World.open({ emulator: SLOW })
    const engine = world.engine()
    await world.store.quota((board) => ({
      board: {
        ...board,
        models: { 'gpt-5-mini': { tokens: 10, learnedAt: world.clock.now(), source: 'refusal' } },
        reservations: { other: { pool: 'gpt-5-mini', tokens: 10, at: world.clock.now(), task: 'other' } },
      },
      result: undefined,
    }))
    await engine.start()
    await world.ask(engine, { text: 'waits' })
    while (world.events('batch_cut').length === 0) await world.clock.sleep(1_000)
    const [batch] = await world.store.openBatches()
    await world.store.askCancel(batch?.number ?? 0, 'caller')
    await world.finish()
    expect(await world.results()).toEqual(['499 batch_cancelled'])
    expect(world.calls).not.toContain('POST /v1/batches')
  })
})

describe('a look at a batch', () => {
  test("shows it as the server has it now, in the server's own words", async () => {
    const { world, engine, batchId } = await working()
    await using _ = world
    const batch = await engine.look('default', batchId)
    const response = await world.emulator.fetch(`http://api.test/v1/batches/${batchId}`)
    expect(JSON.parse(batch?.remote ?? '')).toEqual(await response.json())
    expect(Object.keys(JSON.parse(batch?.remote ?? ''))).toContain('request_counts')
  })

  test('shows it as it was last seen while the server is away', async () => {
    const fault = { fault: 'http-lose', when: { afterMs: 30_000 } } as const
    const { world, engine, batchId } = await working({
      emulator: { ...SLOW, scenario: { seed: 1, faults: [fault] } },
    })
    await using _ = world
    await world.clock.sleep(60_000)
    const batch = await engine.look('default', batchId)
    expect(JSON.parse(batch?.remote ?? '')).toMatchObject({ id: batchId })
  })

  test('shows it as it was last seen when the server does not answer', async () => {
    const fault = { fault: 'http-hang', when: { afterMs: 30_000 } } as const
    const { world, engine, batchId } = await working({
      emulator: { ...SLOW, scenario: { seed: 1, faults: [fault] } },
    })
    await using _ = world
    await world.clock.sleep(60_000)
    const begun = world.clock.now()
    let seen: string | undefined
    const looking = engine.look('default', batchId).then((batch) => {
      seen = batch?.remote
    })
    while (seen === undefined && world.clock.now() - begun < 55_000) await world.clock.sleep(1_000)
    await looking
    expect(JSON.parse(seen ?? '')).toMatchObject({ id: batchId })
    expect(world.clock.now() - begun).toBeLessThan(15_000)
  })
})
