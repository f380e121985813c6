import { describe, expect, test } from 'vitest'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { moneyOf } from '../../support/gateway-stores.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'
import { CallWorld, MOST } from './call-world.ts'

const MINUTE_MS = 60_000

class Dead extends Error {}

/** The store as a process sees it that dies at its `nth` commit, before or after that is durable. */
function dyingAt(nth: number, when: 'before' | 'after') {
  let commits = 0
  let isDead = false
  const wrap = (store: GatewayStore): GatewayStore => {
    const mortal: GatewayStore = { ...store }
    const guarded =
      <Arguments extends readonly unknown[], Result>(act: (...given: Arguments) => Promise<Result>) =>
      async (...given: Arguments): Promise<Result> => {
        if (isDead) throw new Dead('it is dead')
        const isLast = ++commits === nth
        if (isLast && when === 'before') isDead = true
        if (isDead) throw new Dead('it dies')
        const result = await act(...given)
        if (isLast) isDead = true
        if (isDead) throw new Dead('it dies')
        return result
      }
    return {
      ...mortal,
      takeCalls: guarded(store.takeCalls),
      settleCall: guarded(store.settleCall),
      renewCalls: guarded(store.renewCalls),
      recoverCalls: guarded(store.recoverCalls),
    }
  }
  return { wrap, isDead: () => isDead, commits: () => commits }
}

describe('a process that dies', () => {
  const LAST = 32

  test.each(
    Array.from({ length: LAST }, (_, index) => index + 1).flatMap((nth) => [
      [nth, 'before'] as const,
      [nth, 'after'] as const,
    ]),
  )(
    'at commit %i, %s it is durable: each request ends once, and no call is made twice but those on the wire',
    async (nth, when) => {
      const concurrency = 2
      await using world = await CallWorld.open({
        settings: { callConcurrency: concurrency, maxAttempts: 5 },
        emulator: { latency: { directMs: 40_000 } },
      })
      const ids = await world.ask(['a', 'b', 'c', 'd'])
      const dying = dyingAt(nth, when)
      const first = world.start(dying.wrap)
      for (let waited = 0; waited < 20 && !dying.isDead(); waited++) await world.clock.sleep(10_000)
      await world.close(first)
      world.start()
      await world.world.finish(ids, 60 * MINUTE_MS)
      expect(await world.world.results(ids)).toEqual(['re: a', 're: b', 're: c', 're: d'])
      expect(world.bodies.length).toBeLessThanOrEqual(ids.length + concurrency)
      const requests = await world.store.requests(ids)
      // What was sent, or may have been, is charged: at least what the server has done.
      expect(requests.filter(({ attempts }) => attempts > 0).length).toBeLessThanOrEqual(concurrency)
      const { spent, reserved } = await moneyOf(world.store)
      expect(reserved).toBe(0)
      expect(spent).toBe(requests.reduce((sum, { costNanoUsd = 0 }) => sum + costNanoUsd, 0))
      const uncertain = requests.reduce((sum, { attempts }) => sum + attempts, 0)
      expect(spent).toBeGreaterThan(uncertain * MOST.direct)
    },
  )

  test('the table above goes through a whole run', async () => {
    await using world = await CallWorld.open({
      settings: { callConcurrency: 2 },
      emulator: { latency: { directMs: 40_000 } },
    })
    await world.ask(['a', 'b', 'c', 'd'])
    const counting = dyingAt(Number.POSITIVE_INFINITY, 'before')
    world.start(counting.wrap)
    await world.world.finish()
    expect(counting.commits()).toBeLessThanOrEqual(LAST)
  })

  test('again and again with the same request is not let do so for ever', async () => {
    await using world = await CallWorld.open({ settings: { maxAttempts: 3 } })
    const [id = ''] = await world.ask(['deadly'])
    for (let run = 0; run < 3; run++) {
      const [taken] = await world.store.takeCalls(1, `rep_${run}`, MINUTE_MS)
      expect(taken?.request.attempts).toBe(run)
      await world.clock.sleep(2 * MINUTE_MS)
      expect(await world.store.recoverCalls()).toBe(1)
    }
    world.start()
    await world.world.finish([id], MINUTE_MS)
    const answer = await world.world.answer(id)
    expect([answer.status, JSON.parse(answer.body).error.code]).toEqual([502, 'outcome_unknown'])
    expect(world.sent).toBe(0)
    expect(await moneyOf(world.store)).toEqual({ spent: 3 * MOST.direct, reserved: 0 })
  })
})

describe('several processes', () => {
  test('call each request once', async () => {
    await using world = await CallWorld.open({
      settings: { callConcurrency: 3 },
      emulator: { latency: { directMs: 10_000 } },
    })
    const ids = await world.ask(Array.from({ length: 30 }, (_, index) => `q${index}`))
    for (let replica = 0; replica < 3; replica++) world.start()
    await world.world.finish()
    expect(world.sent).toBe(30)
    expect((await world.store.requests(ids)).every(({ attempts }) => attempts === 0)).toBe(true)
  })

  test('leave a call to who makes it, however long it takes', async () => {
    await using world = await CallWorld.open({ emulator: { latency: { directMs: 50 * MINUTE_MS } } })
    const [id = ''] = await world.ask(['long'])
    world.start()
    while (world.sent === 0) await world.clock.sleep(100)
    world.start()
    await world.world.finish([id], 60 * MINUTE_MS)
    expect(world.sent).toBe(1)
    expect((await world.request(id)).attempts).toBe(0)
  })

  test('take over from one that was asleep, whose answer comes too late then', async () => {
    await using world = await CallWorld.open({ emulator: { latency: { directMs: 5 * MINUTE_MS } } })
    const [id = ''] = await world.ask(['long'])
    let isAsleep = false
    world.start((store) => ({
      ...store,
      renewCalls: async () => undefined,
      takeCalls: (limit, ...rest) => (isAsleep ? Promise.resolve([]) : store.takeCalls(limit, ...rest)),
    }))
    while (world.sent === 0) await world.clock.sleep(100)
    isAsleep = true
    world.start()
    await world.world.finish([id], 60 * MINUTE_MS)
    expect(world.sent).toBe(2)
    expect(await world.request(id)).toMatchObject({ ending: 'succeeded', attempts: 1 })
    expect(world.world.events('call_lost')).toEqual([{ request: id, kind: 'ended' }])
    expect((await moneyOf(world.store)).spent).toBeGreaterThan(MOST.direct)
  })
})

describe('a process that is closed', () => {
  test('waits for what is about to come back', async () => {
    await using world = await CallWorld.open({ emulator: { latency: { directMs: 3_000 } } })
    const [id = ''] = await world.ask(['short'])
    const runner = world.start()
    while (world.sent === 0) await world.clock.sleep(100)
    await world.close(runner)
    expect(await world.request(id)).toMatchObject({ ending: 'succeeded', attempts: 0 })
  })

  test('breaks off what takes longer: it is charged, and the next process makes it again', async () => {
    await using world = await CallWorld.open({ emulator: { latency: { directMs: 50_000 } } })
    const [id = '', unsent = ''] = await world.ask(['long', 'unsent'])
    const runner = world.start((store) => ({
      ...store,
      takeCalls: (_, ...rest) => store.takeCalls(1, ...rest),
    }))
    while (world.sent === 0) await world.clock.sleep(100)
    const closed = world.close(runner)
    await closed
    const broken = await world.request(id)
    const [other] = await world.store.requests([unsent])
    expect(broken.state).toBe('queued')
    expect(broken.costNanoUsd).toBe((broken.attempts || 0) * MOST.direct)
    expect(other?.state).toBe('queued')
    world.start()
    await world.world.finish([id, unsent])
    expect(await world.world.results([id, unsent])).toEqual(['re: long', 're: unsent'])
  })
})

describe('a store that is away', () => {
  test('keeps nobody from closing, not even while calls are to be given back', async () => {
    const { StoreError } = await import('../../../src/gateway/store/store-error.ts')
    const headers = { 'retry-after': '5' }
    const fault = { fault: 'http-answer', status: 429, headers, when: { first: 8 } } as const
    await using world = await CallWorld.open({
      settings: { callConcurrency: 8 },
      emulator: { scenario: { faults: [fault] } },
    })
    await world.ask(Array.from({ length: 8 }, (_, index) => `q${index}`))
    let settled = 0
    const runner = world.start((store) => ({
      ...store,
      settleCall: async (...given) => {
        // All were refused. Of those that are taken next, most are too many for a server that is in trouble.
        if (settled === 8) throw new StoreError('store_unavailable', 'it is away', { retryable: true })
        settled++
        return store.settleCall(...given)
      },
    }))
    while (settled < 8) await world.clock.sleep(100)
    await world.clock.sleep(8_000)
    expect(world.sent).toBeLessThan(16)
    await world.close(runner)
    expect((await world.store.counts()).calling).toBe(8)
  })

  test('gets what came back as soon as it is there again', async () => {
    const { StoreError } = await import('../../../src/gateway/store/store-error.ts')
    await using world = await CallWorld.open()
    const [id = ''] = await world.ask(['question'])
    let failures = 0
    world.start((store) => ({
      ...store,
      settleCall: async (...given) => {
        if (failures++ < 8) throw new StoreError('store_unavailable', 'it is away', { retryable: true })
        return store.settleCall(...given)
      },
    }))
    await world.world.finish([id], 60 * MINUTE_MS)
    expect(world.sent).toBe(1)
    expect(await world.request(id)).toMatchObject({ ending: 'succeeded', attempts: 0 })
  })
})

test('a machine that was asleep takes its own calls for its own', async () => {
  const clock = new VirtualClock()
  await using world = await CallWorld.open({ clock, emulator: { latency: { directMs: 50_000 } } })
  const [id = ''] = await world.ask(['question'])
  const runner = world.start()
  while (world.sent === 0) await world.clock.sleep(100)
  clock.jump(8 * 60 * MINUTE_MS)
  runner.arrived()
  await world.world.finish([id])
  expect(world.sent).toBe(1)
  expect((await world.request(id)).attempts).toBe(0)
})
