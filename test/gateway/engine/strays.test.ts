import { describe, expect, test } from 'vitest'
import type { Scenario } from '../../../src/emulator/index.ts'
import { clockOfFastDisk } from '../../support/virtual-clock.ts'
import { many, World } from './world.ts'

type Fault = Scenario['faults'][number]

/** The answer to the first create is lost, and its batch cannot be seen for some minutes. */
const unseen: readonly Fault[] = [
  { fault: 'http-lose', route: 'POST /v1/batches', when: { nth: 1 }, acts: true },
  { fault: 'listing-lag', what: 'batch', from: ['list', 'get'], ms: 240_000, when: { nth: 1 } },
]

async function open(faults: readonly Fault[], latency = {}): Promise<World> {
  return await World.open({ emulator: { latency, scenario: { seed: 1, faults: [...faults] } } })
}

describe('a batch that turns up after its create was given up', () => {
  test('is settled beside the one that took its place', async () => {
    await using world = await open(unseen)
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(3))
    await world.finish()
    expect(await world.results()).toEqual(['re: q0', 're: q1', 're: q2'])
    expect([...world.asks.values()]).toEqual([2, 2, 2])
    while (world.events('stray_settled').length === 0) await world.clock.sleep(5_000)
    await world.settle()
    expect(await world.remoteFiles()).toEqual([])
    expect(world.events('stray_batch')).toHaveLength(1)
  })

  test('gives its answers to requests that still wait', async () => {
    const stuck: Fault = { fault: 'batch-stuck', in: 'in_progress', ms: 3_600_000, when: { nth: 2 } }
    await using world = await open([...unseen, stuck])
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(3))
    const begun = world.clock.now()
    await world.finish()
    expect(world.clock.now() - begun).toBeLessThan(900_000)
    expect(await world.results()).toEqual(['re: q0', 're: q1', 're: q2'])
    while (world.events('stray_settled').length === 0) await world.clock.sleep(5_000)
    expect(world.events('stray_settled')).toMatchObject([{ served: 3 }])
    await world.settle()
    expect(await world.remoteFiles()).toEqual([])
  })

  test('is cancelled while it works', async () => {
    const latency = { runMs: 3_600_000 }
    await using world = await open(unseen, latency)
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(3))
    await world.finish()
    expect(world.calls.filter((call) => call === 'POST /v1/batches/:id/cancel')).toHaveLength(1)
    expect(world.events('stray_settled')).toMatchObject([{ status: 'cancelled', served: 0 }])
  })

  test('is found by a later process, too', async () => {
    await using world = await open(unseen)
    const first = world.engine()
    await first.start()
    await world.ask(first, ...many(3))
    await world.finish()
    await world.close(first)
    await world.clock.sleep(600_000)
    expect(world.events('stray_batch')).toEqual([])
    await world.engine().start()
    while (world.events('stray_settled').length === 0) await world.clock.sleep(5_000)
    await world.settle()
    expect(await world.remoteFiles()).toEqual([])
  })

  test('is forgotten after a month', async () => {
    const lost: Fault = { fault: 'http-lose', route: 'POST /v1/batches', when: { nth: 1 } }
    const clock = clockOfFastDisk()
    await using world = await World.open({ clock, emulator: { scenario: { seed: 1, faults: [lost] } } })
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(1))
    await world.finish()
    expect(await world.store.retiredTags()).toHaveLength(1)
    clock.jump(32 * 24 * 3_600_000)
    while ((await world.store.retiredTags()).length > 0) await world.clock.sleep(5_000)
    expect(world.events('stray_batch')).toEqual([])
  })
})

test('two batches of one create: one is taken, the other is cancelled', async () => {
  let creates = 0
  await using world = await World.open({
    fetch: (next) => async (input, init) => {
      const isCreate = init?.method === 'POST' && /\/batches$/i.test(String(input))
      if (!isCreate || ++creates > 1) return next(input, init)
      // A proxy that sends it twice, and loses both answers.
      await next(input, init)
      await next(input, init)
      throw new TypeError('connection lost')
    },
  })
  const engine = world.engine()
  await engine.start()
  await world.ask(engine, ...many(2))
  await world.finish()
  expect(await world.results()).toEqual(['re: q0', 're: q1'])
  expect(world.made).toHaveLength(2)
  while (world.events('stray_settled').length === 0) await world.clock.sleep(5_000)
  expect(await world.liveBatches()).toBe(0)
})

describe('what a stray answered', () => {
  const LATE = { runMs: 60_000, perRequestMs: 30_000, cancelMs: 400_000 }
  const stuck: Fault = { fault: 'batch-stuck', in: 'in_progress', ms: 36_000_000, when: { nth: 2 } }

  test.each<readonly [string, Fault]>([
    [
      'though its files are named late, after a long cancellation',
      { fault: 'batch-file-id', file: 'both', is: 'null', looks: 2, when: { nth: 1 } },
    ],
    [
      'though its output cannot be fetched at once',
      { fault: 'http-answer', status: 404, route: ['GET /v1/files/{id}/content'], when: { first: 2 } },
    ],
  ])('is taken, %s', async (_, fault) => {
    await using world = await open([...unseen, stuck, fault], LATE)
    const engine = world.engine()
    await engine.start()
    await world.ask(engine, ...many(12))
    while (world.events('stray_settled').length === 0) await world.clock.sleep(5_000)
    const [settled] = world.events('stray_settled')
    expect(settled?.status).toBe('cancelled')
    expect(settled?.served).toBeGreaterThan(0)
  })
})

test('old attempts are looked for seldom, however many new ones there are', async () => {
  const DAY_MS = 86_400_000
  await using world = await World.open()
  await world.ask(undefined, { text: 'q' })
  const [load] = await world.store.loads()
  if (!load) throw new Error('nothing waits')
  const batch = await world.store.cut(load, { requests: 1, bytes: 1e6, tokens: 1e6, inputs: 1 })
  const claim = await world.store.claim(batch?.number ?? 0, 'rep_test', 365 * DAY_MS)
  if (!claim) throw new Error('no claim')
  const retire = async (tag: string, ageMs: number) => {
    const since = Math.floor((world.clock.now() - ageMs) / 1000)
    const retired = { tag, batch: claim.batch.number, inputFileId: `file-${tag}`, since }
    await world.store.change(claim.batch.number, claim.epoch, { retire: retired })
  }
  await retire('old', 20 * DAY_MS)
  const listed = { id: '', endpoint: '', input_file_id: '', status: 'completed' } as const
  let pages = 0
  const api = {
    ...world.api(),
    fingerprint: 'x',
    /** One batch for each hour of the last month, two days on a page. */
    listBatches: async ({ after = '0' }: { readonly after?: string }) => {
      pages++
      const from = Number(after)
      const items = Array.from({ length: 48 }, (_, at) => ({
        ...listed,
        id: `${from + at + 1}`,
        created_at: Math.floor(world.clock.now() / 1000) - (from + at) * 3_600,
      }))
      return { items, ...(from < 720 && { next: `${from + 48}` }) }
    },
  }
  await world.engine({ api: Object.assign(world.api(), api), sweepMs: 60_000 }).start()
  await world.clock.sleep(60_000)
  const first = pages
  for (let hour = 0; hour < 6; hour++) {
    await retire(`young ${hour}`, 0)
    await world.clock.sleep(3_600_000)
  }
  expect(first).toBeGreaterThanOrEqual(10)
  // Looks for young ones take a page or so each.
  expect(pages - first).toBeLessThan(400)
})
