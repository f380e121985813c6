import { describe, expect, test } from 'vitest'
import type { Scenario } from '../../../src/emulator/index.ts'
import { many, World } from './world.ts'

type Route =
  | 'POST /v1/files'
  | 'POST /v1/batches'
  | 'GET /v1/batches/{id}'
  | 'GET /v1/files/{id}/content'
  | 'DELETE /v1/files/{id}'

/** Runs until the server has left a call without an answer; then closes. Gives how long that took. */
async function closedAfterMs(route: Route): Promise<number> {
  const scenario: Scenario = { seed: 1, faults: [{ fault: 'http-hang', route: [route] }] }
  await using world = await World.open({ emulator: { scenario } })
  const engine = world.engine()
  await engine.start()
  await world.ask(engine, ...many(3))
  const isCalled = () => world.calls.some((call) => route.startsWith(call.replace(':id', '{id}')))
  while (!isCalled()) await world.clock.sleep(500)
  const begun = world.clock.now()
  let closed: number | undefined
  const closing = world.close(engine).then(() => {
    closed = world.clock.now()
  })
  while (closed === undefined && world.clock.now() - begun < 60_000) await world.clock.sleep(500)
  await closing
  return (closed ?? Number.POSITIVE_INFINITY) - begun
}

describe('closing takes ten seconds at the most, though the server never answers', () => {
  test.each<Route>([
    'POST /v1/files',
    'POST /v1/batches',
    'GET /v1/batches/{id}',
    'GET /v1/files/{id}/content',
    'DELETE /v1/files/{id}',
  ])('%s', async (route) => {
    expect(await closedAfterMs(route)).toBeLessThanOrEqual(11_000)
  })
})

test('closing takes no longer when there is much to take from an ended batch', async () => {
  await using world = await World.open()
  let settled = 0
  const engine = world.engine(
    {},
    {
      fetch: (next) => next,
      store: (store) =>
        new Proxy(store, {
          get: (target, name) => {
            const value: unknown = Reflect.get(target, name)
            if (name !== 'settle' || typeof value !== 'function') return value
            return async (...given: unknown[]): Promise<unknown> => {
              settled++
              await world.clock.sleep(6_000)
              return Reflect.apply(value, target, given)
            }
          },
        }),
    },
  )
  await engine.start()
  await world.ask(engine, ...many(2_600))
  while (settled === 0) await world.clock.sleep(500)
  const begun = world.clock.now()
  await world.close(engine)
  expect(world.clock.now() - begun).toBeLessThanOrEqual(11_000)
  await world.engine().start()
  await world.finish()
  expect([...world.asks.values()].every((times) => times === 1)).toBe(true)
})
