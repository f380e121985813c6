import { describe, expect, test } from 'vitest'
import type { Scenario } from '../../../src/emulator/index.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { type Between, many, World } from './world.ts'

type Fault = Scenario['faults'][number]

const linesOf = (world: World): number[] => world.made.map(({ ids }) => ids.length)

/** Does something after each call of one method of the store. */
const after = (method: keyof GatewayStore, act: () => Promise<unknown>): Between => ({
  fetch: (next) => next,
  store: (store) =>
    new Proxy(store, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function' || name !== method) return value
        return async (...given: unknown[]): Promise<unknown> => {
          const result: unknown = await Reflect.apply(value, target, given)
          await act()
          return result
        }
      },
    }),
})

describe('a flush', () => {
  test('ends though requests keep coming, and batches what was there when it was asked for', async () => {
    await using world = await World.open({ settings: { windowMs: 3_600_000 }, engine: { sweepMs: 600_000 } })
    let late = 0
    const engine = world.engine(
      {},
      after('cut', async () => {
        if (late++ < 20) await world.ask(undefined, { text: `late ${late}` })
      }),
    )
    await engine.start()
    await world.ask(engine, ...many(3))
    expect(await engine.flush(undefined)).toBe(1)
    expect((await world.store.openBatches()).map(({ requests }) => requests)).toEqual([3])
  })

  test('batches all that waits of a group that is larger than one batch', async () => {
    await using world = await World.open({
      settings: { windowMs: 3_600_000, maxBatchRequests: 4, directBelow: 9 },
    })
    const engine = world.engine()
    await world.ask(undefined, ...many(10), ...many(3, { tenant: 'acme' }))
    expect(await engine.flush(undefined)).toBe(4)
    expect((await world.store.openBatches()).map(({ requests }) => requests).sort()).toEqual([2, 3, 4, 4])
  })

  test('while the account is full says how many batches wait for room', async () => {
    await using world = await World.open({ settings: { windowMs: 3_600_000, maxBatchTokens: 25 } })
    const engine = world.engine()
    await world.store.quota((board) => ({
      board: {
        ...board,
        models: { 'gpt-5-mini': { tokens: 30, learnedAt: world.clock.now(), source: 'refusal' } },
        reservations: { other: { pool: 'gpt-5-mini', tokens: 30, at: world.clock.now(), task: 'other' } },
      },
      result: undefined,
    }))
    await world.ask(undefined, ...many(4))
    expect(await engine.flush(undefined)).toBe(4)
    expect(await engine.flush(undefined)).toBe(0)
  })
})

describe('a window', () => {
  test('begins with the first request, whatever is put off until later', async () => {
    const exhausted: Fault = {
      fault: 'reply-status',
      status: 429,
      contains: 'poor',
      error: { code: 'insufficient_quota' },
      when: { tries: 1 },
    }
    await using world = await World.open({
      emulator: { scenario: { seed: 1, faults: [exhausted] } },
      engine: { sweepMs: 3_600_000 },
    })
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, { text: 'poor' })
    while ((await world.store.nextReadyAt()) === undefined) await world.clock.sleep(500)
    await world.clock.sleep(2_000)
    const asked = world.clock.now()
    const [id = ''] = await world.ask(engine, { text: 'new' })
    while (!world.made.some(({ ids }) => ids.includes(id))) await world.clock.sleep(500)
    expect(world.clock.now() - asked).toBeLessThan(10_000)
  })
})

describe('requests that failed together', () => {
  test('are sent again together, however long it takes to put that on record', async () => {
    const failing: Fault = { fault: 'reply-status', status: 500, when: { tries: 1 } }
    await using world = await World.open({ emulator: { scenario: { seed: 1, faults: [failing] } } })
    const engine = world.engine(
      {},
      after('settle', () => world.clock.sleep(100)),
    )
    await engine.start()
    await world.ask(engine, ...many(1_200))
    await world.finish()
    expect(linesOf(world)).toEqual([1_200, 1_200])
  })
})

describe('a group that is too small for a batch', () => {
  test('leaves what may only be batched to a batch of its own, at once', async () => {
    const calls = { start: () => undefined, arrived: () => undefined, close: () => Promise.resolve() }
    await using world = await World.open({
      settings: { directBelow: 5 },
      engine: { calls, sweepMs: 3_600_000 },
    })
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, { text: 'normal' })
    const low = await world.ask(engine, { text: 'low', arrival: { priority: 'low' } })
    await world.finish(low, 60_000)
    expect(linesOf(world)).toEqual([1])
  })
})
