import { expect, test } from 'vitest'
import { many, World } from './world.ts'

const LIMIT = 400

/** A world whose account may have few tokens enqueued, and whose gateway knows that. */
async function full(): Promise<World> {
  const world = await World.open({
    settings: { maxBatchRequests: 10 },
    emulator: { limits: { enqueuedTokens: LIMIT }, latency: { runMs: 600_000 } },
  })
  await world.store.quota((board) => ({
    board: {
      ...board,
      models: { 'gpt-5-mini': { tokens: LIMIT, learnedAt: world.clock.now(), source: 'refusal' } },
    },
    result: undefined,
  }))
  return world
}

test('a tenant with little to do is not kept waiting by one with much: they take turns', async () => {
  await using world = await full()
  const engine = world.engine()
  await engine.start()
  await world.ask(engine, ...many(80, { tenant: 'large' }))
  // All of it stands in line before the other one comes.
  await world.clock.sleep(120_000)
  const small = await world.ask(engine, ...many(10, { tenant: 'small' }))
  await world.finish()
  const at = world.made.findIndex(({ ids }) => ids.includes(small[0] ?? ''))
  expect(world.made).toHaveLength(9)
  expect(at).toBeLessThan(4)
})

test("a tenant's own batches are let in in their order, the large ones too", async () => {
  await using world = await full()
  const engine = world.engine()
  await engine.start()
  const big = { text: 'x'.repeat(900) }
  await world.ask(engine, ...many(10))
  await world.clock.sleep(30_000)
  const [last = ''] = await world.ask(engine, big)
  await world.clock.sleep(30_000)
  await world.ask(engine, ...many(60, {}, 'more'))
  await world.finish()
  const at = world.made.findIndex(({ ids }) => ids.includes(last))
  expect(at).toBeLessThanOrEqual(2)
})

test('a batch that is put back leaves its place in line to others', async () => {
  await using world = await full()
  const engine = world.engine()
  await world.store.quota((board) => ({
    board: {
      ...board,
      reservations: { other: { pool: 'gpt-5-mini', tokens: LIMIT, at: world.clock.now(), task: 'other' } },
    },
    result: undefined,
  }))
  await engine.start()
  await world.ask(engine, ...many(5))
  await world.clock.sleep(20_000)
  const [waiting] = await world.store.openBatches()
  await world.ask(engine, { text: 'next', tenant: 'other' })
  await world.clock.sleep(20_000)
  await world.store.askCancel(waiting?.number ?? 0, 'caller')
  while ((await world.store.openBatches()).length > 1) await world.clock.sleep(1_000)
  const line = await world.store.quota((board) => ({ board, result: Object.values(board.waiting) }))
  expect(line.map(({ pool, task }) => [pool, task])).toEqual([
    ['gpt-5-mini', 'other'],
    ['gpt-5-mini for other', 'batch 2'],
  ])
})
