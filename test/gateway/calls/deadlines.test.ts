import { describe, expect, test } from 'vitest'
import { MOST } from './call-world.ts'
import { openWhole } from './whole-gateway.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

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
    await using gateway = await openWhole({ emulator: { latency: slow(15 * MINUTE_MS) } })
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
    await using gateway = await openWhole({ emulator: { latency: slow(HOUR_MS), scenario } })
    const { world, ask, finish, routes, lateness } = gateway
    const ids = await ask(['a', 'b'], { deadlineAt: world.clock.now() + 25 * MINUTE_MS })
    await finish(ids, HOUR_MS)
    expect(await routes(ids)).toEqual(['direct', 'direct'])
    for (const ms of await lateness(ids)) expect(ms).toBeLessThan(0)
    expect(world.calls.filter((call) => call === 'POST /v1/chat/completions').length).toBeGreaterThan(4)
  })

  test('that a batch keeps costs nothing more', async () => {
    await using gateway = await openWhole({ emulator: { latency: slow(MINUTE_MS) } })
    const { world, ask, finish, routes } = gateway
    const ids = await ask(['a', 'b'], { deadlineAt: world.clock.now() + 2 * HOUR_MS })
    await finish(ids, 2 * HOUR_MS)
    expect(await routes(ids)).toEqual(['batch', 'batch'])
    expect(world.calls).not.toContain('POST /v1/chat/completions')
  })

  test('of a minute from now is met by a call at once', async () => {
    await using gateway = await openWhole({ emulator: { latency: slow(HOUR_MS) } })
    const { world, ask, finish, routes, lateness } = gateway
    const ids = await ask(['a'], { deadlineAt: world.clock.now() + MINUTE_MS })
    await finish(ids, HOUR_MS)
    expect(await routes(ids)).toEqual(['direct'])
    for (const ms of await lateness(ids)) expect(ms).toBeLessThan(0)
    expect(world.made).toEqual([])
  })

  test('that batches of late would not have kept is met by flex from the beginning', async () => {
    await using gateway = await openWhole({ emulator: { latency: slow(40 * MINUTE_MS) } })
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
    await using gateway = await openWhole({ emulator: { latency: slow(15 * MINUTE_MS) } })
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
    await using gateway = await openWhole({
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

  test('is missed by a batch whose tenant cannot pay for calls: it is not called back for nothing', async () => {
    await using gateway = await openWhole({ emulator: { latency: slow(10 * MINUTE_MS) } })
    const { world, ask, finish, routes } = gateway
    await world.store.putTenant({ name: 'default', maxNanoUsd: MOST.batch, callsPerMinute: undefined })
    const ids = await ask(['poor'], { deadlineAt: world.clock.now() + 16 * MINUTE_MS })
    await finish(ids, 10 * HOUR_MS)
    expect(await routes(ids)).toEqual(['batch'])
    expect(world.made).toHaveLength(1)
    expect(world.events('deadline_unaffordable')).toMatchObject([{ batch: 1, requests: 1 }])
  })

  test('is kept though flex has no room for longer than there is time', async () => {
    const error = { message: 'Resource unavailable', code: 'resource_unavailable' }
    const headers = { 'retry-after': '7200' }
    const fault = { fault: 'http-answer', status: 429, error, headers, contains: '"flex"' } as const
    await using gateway = await openWhole({
      emulator: { latency: slow(HOUR_MS), scenario: { faults: [fault] } },
    })
    const { world, ask, finish, routes, lateness } = gateway
    const ids = await ask(['a', 'b'], { deadlineAt: world.clock.now() + 15 * MINUTE_MS })
    await finish(ids, 4 * HOUR_MS)
    expect(await routes(ids)).toEqual(['direct', 'direct'])
    for (const ms of await lateness(ids)) expect(ms).toBeLessThan(0)
  })

  test('of a request that comes in beside many others does not wait for them', async () => {
    await using gateway = await openWhole({ emulator: { latency: slow(1_000) } })
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
