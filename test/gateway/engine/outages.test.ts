import { describe, expect, test } from 'vitest'
import type { Scenario } from '../../../src/emulator/index.ts'
import { Absences } from '../../../src/gateway/engine/absences.ts'
import { newTag } from '../../../src/gateway/engine/attempt.ts'
import { StoreTime } from '../../../src/gateway/engine/store-time.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { StoreError } from '../../../src/gateway/store/store-error.ts'
import { randomFrom } from '../../support/random.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'
import { many, settingsOf, World } from './world.ts'

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

test('a batch is looked at again though the store was away while another was being claimed', async () => {
  await using world = await World.open({ settings: { maxBatchRequests: 1 } })
  let polls = 0
  const engine = world.engine(
    {},
    {
      fetch: (next) => next,
      store: (store) =>
        new Proxy(store, {
          get: (target, name) => {
            const value: unknown = Reflect.get(target, name)
            if (typeof value !== 'function' || name !== 'claim') return value
            return async (number: number, ...given: unknown[]): Promise<unknown> => {
              const batch = (await store.openBatches()).find((one) => one.number === number)
              if (batch?.phase === 'remote' && ++polls === 2)
                throw new StoreError('store_unavailable', 'away', { retryable: true })
              return Reflect.apply(value, target, [number, ...given])
            }
          },
        }),
    },
  )
  await engine.start()
  await world.ask(engine, ...many(3))
  await world.finish(world.ids, 3_600_000)
  expect(polls).toBeGreaterThan(2)
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

describe('word that a batch is not there', () => {
  const MINUTE_MS = 60_000
  const api = { fingerprint: 'sha256:abcdef' }
  const batch = { number: 1, tag: newTag(api.fingerprint), phaseAt: 0 }

  function absences() {
    const clock = new VirtualClock(0)
    const time = new StoreTime({ now: async () => clock.now() }, clock)
    return { clock, absences: new Absences({ time, settings: settingsOf(''), api }) }
  }

  test('is believed when it is said again and again for ten minutes', () => {
    const { clock, absences: known } = absences()
    for (let minute = 0; minute < 10; minute++, clock.jump(MINUTE_MS))
      expect(known.isLasting(batch)).toBe(false)
    expect(known.isLasting(batch)).toBe(true)
  })

  test('is no proof when it was said long ago: another replica may have seen the batch since', () => {
    const { clock, absences: known } = absences()
    expect(known.isLasting(batch)).toBe(false)
    clock.jump(60 * MINUTE_MS)
    expect(known.isLasting(batch)).toBe(false)
    clock.jump(MINUTE_MS)
    expect(known.isLasting(batch)).toBe(false)
  })
})

describe('a file of answers that the server does not have', () => {
  const content = 'GET /v1/files/{id}/content'

  test("is waited for, not given up, when another key's account has it", async () => {
    const hidden: Scenario['faults'][number] = {
      fault: 'http-answer',
      status: 404,
      route: [content],
      when: { untilMs: 3_600_000 },
    }
    await using world = await World.open({ emulator: { scenario: { seed: 1, faults: [hidden] } } })
    const first = world.engine()
    await first.start()
    await world.ask(first, ...many(2))
    while (world.events('batch_ended').length === 0) await world.clock.sleep(1_000)
    await world.close(first)
    await world.engine({ api: world.api(undefined, 'sk-other') }).start()
    await world.finish()
    expect(await world.results()).toEqual(['re: q0', 're: q1'])
    expect([...world.asks.values()]).toEqual([1, 1])
  })

  test('of a batch that expired leaves its requests charged for what it may have cost', async () => {
    const expired = { fault: 'batch-end', as: 'expired', answered: 0.5, when: { nth: 1 } } as const
    let gone: string | undefined
    await using world = await World.open({
      emulator: { scenario: { seed: 1, faults: [expired] } },
      fetch: (next) => async (input, init) => {
        const url = String(input)
        if (!url.endsWith('/content')) return next(input, init)
        gone ??= url
        return url === gone
          ? Response.json({ error: { message: 'no such file' } }, { status: 404 })
          : next(input, init)
      },
    })
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(2))
    await world.finish()
    expect(await world.results()).toEqual(['re: q0', 're: q1'])
    const requests = await world.store.requests(world.ids)
    expect(requests.map(({ expiries }) => expiries)).toEqual([1, 1])
    // The one whose answer is lost is charged twice, the one that was never tried once.
    const answers = await world.store.answers(world.ids)
    const extra = requests.map(({ id, costNanoUsd = 0 }) => {
      const { usage } = JSON.parse(answers.get(id)?.body ?? '')
      return costNanoUsd - usage.prompt_tokens * 125 - usage.completion_tokens * 1000
    })
    expect(extra.sort()).toEqual([0, 1000])
  })
})
