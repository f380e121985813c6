import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Scenario } from '../../../src/emulator/index.ts'
import { type Death, Mortal } from './mortal.ts'
import { many, World } from './world.ts'

type Fault = Scenario['faults'][number]

const LOSABLE = [
  'POST /v1/files',
  'POST /v1/batches',
  'GET /v1/batches',
  'GET /v1/batches/{id}',
  'GET /v1/files',
  'GET /v1/files/{id}/content',
  'DELETE /v1/files/{id}',
  'POST /v1/batches/{id}/cancel',
] as const

const ODD_LINE = { code: 'invalid_request', message: 'odd', line: 1 }
const FULL = {
  code: 'token_limit_exceeded',
  message: 'Enqueued token limit reached. Limit: 60 enqueued tokens.',
}

const nth = fc.integer({ min: 1, max: 3 })
const calls: fc.Arbitrary<Fault> = fc
  .record({
    fault: fc.constantFrom('http-lose', 'http-500', 'http-429'),
    route: fc.constantFrom(...LOSABLE),
    nth,
    acts: fc.boolean(),
  })
  .map(({ fault, route, nth, acts }): Fault => {
    const when = { nth }
    if (fault === 'http-lose') return { fault, route, when, acts }
    return {
      fault: 'http-answer',
      status: fault === 'http-500' ? 500 : 429,
      route,
      when,
      acts: fault === 'http-500' && acts,
    }
  })
const replies: fc.Arbitrary<Fault> = fc
  .record({
    status: fc.constantFrom(0, 400, 429, 500),
    contains: fc.constantFrom('q0', 'q1', 'q2'),
    tries: nth,
  })
  .map(({ status, contains, tries }) => ({ fault: 'reply-status', status, contains, when: { tries } }))
const lines: fc.Arbitrary<Fault> = fc
  .record({
    is: fc.constantFrom('missing', 'duplicated', 'not-json', 'contradicted', 'both-files', 'stranger'),
    nth,
  })
  .map(({ is, nth }) => ({ fault: 'line-form', is, when: { nth } }))
const ends: fc.Arbitrary<Fault> = fc
  .record({
    as: fc.constantFrom('failed', 'expired', 'cancelled'),
    answered: fc.constantFrom(0, 0.5, 1),
    nth,
    error: fc.constantFrom(undefined, ODD_LINE, FULL),
  })
  .map(({ nth, error, ...end }) => ({
    fault: 'batch-end',
    ...end,
    errors: error ? [error] : null,
    when: { nth },
  }))
const files: fc.Arbitrary<Fault> = fc
  .record({ file: fc.constantFrom('output', 'error', 'both'), looks: nth, nth })
  .map(({ nth, ...id }) => ({ fault: 'batch-file-id', is: 'null', ...id, when: { nth } }))

const history = fc.record({
  count: fc.integer({ min: 1, max: 7 }),
  maxBatchRequests: fc.constantFrom(2, 3, 50_000),
  faults: fc.array(fc.oneof({ weight: 3, arbitrary: calls }, replies, lines, ends, files), { maxLength: 5 }),
  deaths: fc.array(
    fc.record({
      at: fc.constantFrom('commit', 'call'),
      nth: fc.integer({ min: 1, max: 25 }),
      acted: fc.boolean(),
    }),
    { maxLength: 3 },
  ),
  isCancelled: fc.boolean(),
})

/** Lets processes come and go until all has ended, and nothing is left to be looked for. */
async function play(world: World, deaths: readonly Death[], isCancelled: boolean): Promise<void> {
  for (const death of deaths) {
    const mortal = new Mortal(death)
    const engine = world.engine({}, mortal)
    await Promise.allSettled([engine.start()])
    const end = world.clock.now() + 300_000
    while (!mortal.isDead && world.clock.now() < end) await world.clock.sleep(1_000)
    await world.close(engine)
  }
  await world.engine().start()
  await world.clock.sleep(6_000)
  if (isCancelled) await world.store.cancelRequest(world.ids[0] ?? '', 'default', { status: 499, body: '{}' })
  await world.finish()
  await world.settle()
  await world.clock.sleep(300_000)
  await world.settle()
}

test('whatever happens, each request ends once, and none is in two batches at one time', async () => {
  await fc.assert(
    fc.asyncProperty(history, async ({ count, maxBatchRequests, faults, deaths, isCancelled }) => {
      const emulator = { scenario: { seed: 1, faults } }
      await using world = await World.open({ emulator, settings: { maxBatchRequests } })
      await world.ask(undefined, ...many(count))
      await play(world, deaths, isCancelled)
      const requests = await world.store.requests(world.ids)
      const results = await world.results()
      for (const [at, { ending }] of requests.entries())
        expect(ending === 'succeeded').toBe(results[at] === `re: q${at}`)
      expect(world.made.flatMap(({ doubled }) => doubled)).toEqual([])
      for (const { attempts, expiries } of requests) {
        expect(attempts).toBeLessThan(3)
        expect(expiries).toBeLessThanOrEqual(3)
      }
      expect(await world.store.tenants()).toMatchObject([{ reservedNanoUsd: 0 }])
      expect(await world.store.counts()).toMatchObject({ queued: 0, batched: 0 })
      // A file whose id was never told stays until it expires.
      const isTold = faults.every(({ fault }) => fault !== 'batch-file-id')
      const left = await world.remoteFiles()
      expect(left.filter((name) => isTold || name.startsWith('nightshift-'))).toEqual([])
      expect(await world.liveBatches()).toBe(0)
    }),
    { numRuns: 25 },
  )
}, 300_000)
