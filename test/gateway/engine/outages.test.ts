import { describe, expect, test } from 'vitest'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { StoreError } from '../../../src/gateway/store/store-error.ts'
import { randomFrom } from '../../support/random.ts'
import { many, World } from './world.ts'

/** A database that is away now and then: before a statement, or in the middle of a commit that is carried out all the same. */
class Flaky {
  readonly #random = randomFrom(7)
  isBad = false

  store(store: GatewayStore): GatewayStore {
    return new Proxy(store, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function' || name === 'lines' || name === 'onDone') return value
        return async (...given: unknown[]): Promise<unknown> => {
          const turn = this.isBad ? this.#random() : 1
          if (turn < 0.15) throw new StoreError('store_unavailable', 'away', { retryable: true })
          const result: unknown = await Reflect.apply(value, target, given)
          if (turn < 0.3) throw new StoreError('in_doubt', 'away', { retryable: true })
          return result
        }
      },
    })
  }

  fetch = <Next>(next: Next): Next => next
}

describe('a database that is away', () => {
  test('now and then costs time, and nothing else', async () => {
    await using world = await World.open({ settings: { maxBatchRequests: 2 } })
    const flaky = new Flaky()
    const engine = world.engine({}, flaky)
    await engine.start()
    flaky.isBad = true
    await world.ask(engine, ...many(6))
    await world.finish()
    flaky.isBad = false
    await world.settle()
    await world.clock.sleep(180_000)
    await world.settle()
    expect(await world.results()).toEqual(many(6).map(({ text }) => `re: ${text}`))
    expect([...world.asks.values()]).toEqual(world.ids.map(() => 1))
    expect(world.made.flatMap(({ doubled }) => doubled)).toEqual([])
    expect(await world.remoteFiles()).toEqual([])
  })
})

describe('a batch that the server does not know any more', () => {
  /** Runs until a batch is at the server, which then forgets everything. */
  async function forgotten(apiKey?: string) {
    const engineOptions = { sweepMs: 600_000 }
    const world = await World.open({ emulator: { latency: { runMs: 600_000 } }, engine: engineOptions })
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(2))
    while (world.made.length === 0) await world.clock.sleep(1_000)
    await world.close(engine)
    await world.emulator.close()
    world.serve()
    await world.engine(apiKey === undefined ? {} : { api: world.api(undefined, apiKey) }).start()
    return world
  }

  test('is believed to be gone after a while, and its requests are sent again', async () => {
    await using world = await forgotten()
    const begun = world.clock.now()
    await world.finish()
    expect(world.clock.now() - begun).toBeGreaterThan(600_000)
    expect(await world.results()).toEqual(['re: q0', 're: q1'])
    const [first] = await world.store.requests(world.ids)
    expect(first).toMatchObject({ attempts: 1 })
    // What it may have cost is charged.
    expect(first?.costNanoUsd).toBeGreaterThan(1000)
  })

  test("since the key is another one's, is waited for until it must be over", async () => {
    await using world = await forgotten('sk-other')
    const begun = world.clock.now()
    await world.finish()
    expect(world.clock.now() - begun).toBeGreaterThan(24 * 3_600_000)
    expect(world.events('batch_gone')).toHaveLength(1)
  })
})
