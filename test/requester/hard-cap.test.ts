import fc from 'fast-check'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Scenario } from '../../src/emulator/index.ts'
import type { TaskManagerOptions } from '../../src/task/task-manager.ts'
import { loadTokenCounter, type TokenCounter } from '../../src/tokens/counter.ts'
import { hurryBackoffs } from '../support/fault-world.ts'
import {
  billNanoUsd,
  bodyOf,
  cheap,
  keyOf,
  type ListPrice,
  MoneyWorld,
  moments,
  type Server,
  type Spec,
  usedFor,
} from '../support/money-world.ts'
import { fewStrikes } from '../support/strikes.ts'
import { stepsOf, taskLines } from '../support/task-harness.ts'

type Fault = Scenario['faults'][number]

let counter: TokenCounter
hurryBackoffs()
beforeAll(async () => {
  counter = await loadTokenCounter()
})

/** More, by hand, after changes to what money depends on: a hundred take a minute. */
const RUNS = 25

/** Models by endpoint, at the prices that the vendor lists. */
const MODELS = [
  {
    endpoint: '/v1/chat/completions',
    model: 'gpt-5-mini',
    direct: { input: 0.25, cached: 0.025, output: 2 },
  },
  {
    endpoint: '/v1/chat/completions',
    model: 'gpt-6-luna',
    direct: { input: 0.1, cached: 0.01, cacheWrite: 0.125, output: 0.5 },
  },
  { endpoint: '/v1/responses', model: 'gpt-5-mini', direct: { input: 0.25, cached: 0.025, output: 2 } },
  { endpoint: '/v1/embeddings', model: 'text-embedding-3-small', direct: { input: 0.02, output: 0 } },
] as const

const half = ({ input, cached, cacheWrite, output }: ListPrice): ListPrice => ({
  input: input / 2,
  output: output / 2,
  ...(cached !== undefined && { cached: cached / 2 }),
  ...(cacheWrite !== undefined && { cacheWrite: cacheWrite / 2 }),
})

/** Prices that flags give: a cache that is written at four times the price, batches that cost as much as calls. */
const PRICED: ListPrice = { input: 3, cached: 1, cacheWrite: 12, output: 5 }
const PRICED_BATCH: ListPrice = { input: 3, cached: 3, cacheWrite: 3, output: 5 }
const PRICE_FLAGS: Partial<TaskManagerOptions> = {
  costInputDirectMtoken: 3,
  costInputCachedMtoken: 1,
  costInputCacheWriteMtoken: 12,
  costOutputDirectMtoken: 5,
  costInputBatchMtoken: 3,
  costInputCachedBatchMtoken: 3,
  costInputCacheWriteBatchMtoken: 3,
  costOutputBatchMtoken: 5,
}

const share = fc.constantFrom(0, 0.1, 0.5, 1)

const specs = fc.array(
  fc.record({
    words: fc.oneof({ weight: 4, arbitrary: fc.nat(40) }, fc.integer({ min: 500, max: 3000 })),
    mostOutput: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 16, max: 400 }) }, fc.constant(20_000)),
    choices: fc.constantFrom(1, 1, 1, 3),
    outputShare: share,
    cachedShare: share,
    writtenShare: share,
    wrapping: fc.nat(32),
    picture: fc.option(fc.constantFrom('small' as const, 'large' as const), { nil: undefined, freq: 6 }),
    failures: fc.constantFrom(0, 0, 0, 1),
    status: fc.constantFrom(429, 500, 503),
    again: fc.constantFrom(false, false, false, true),
  }),
  { minLength: 1, maxLength: 12 },
)

const few = fewStrikes(3)

const error = { message: 'Not now.' }
const CALLS = ['POST /v1/chat/completions', 'POST /v1/responses', 'POST /v1/embeddings'] as const
const CREATES = ['POST /v1/batches', 'POST /v1/files'] as const

const faults = fc.array(
  fc
    .tuple(
      fc.constantFrom<Fault[]>(
        { fault: 'http-lose', route: [...CALLS], acts: true },
        { fault: 'http-lose', route: [...CALLS], acts: false },
        { fault: 'http-lose', route: [...CREATES], acts: true },
        { fault: 'http-lose', route: [...CREATES], acts: false },
        { fault: 'http-answer', route: [...CALLS], status: 502, error, acts: true },
        { fault: 'http-answer', route: [...CALLS], status: 429, error },
        { fault: 'http-answer', route: [...CREATES], status: 503, error },
        { fault: 'http-cut', route: [...CALLS], bytes: 20, ends: 'broken' },
        { fault: 'http-cut', route: [...CALLS], bytes: 20, ends: 'clean', contentLength: false },
        { fault: 'http-garble', route: [...CALLS] },
        { fault: 'batch-end', as: 'expired', answered: 0.5 },
        { fault: 'batch-end', as: 'cancelled', answered: 0.7 },
        { fault: 'batch-end', as: 'failed', errors: [{ code: 'token_limit_exceeded', message: 'Full.' }] },
        { fault: 'batch-end', as: 'failed', answered: 0.5 },
        { fault: 'batch-usage', is: 'missing' },
        { fault: 'batch-file-id', file: 'both', is: 'null', looks: 2 },
        { fault: 'reply-form', is: 'no-usage' },
        { fault: 'reply-form', is: 'null-usage' },
        { fault: 'reply-form', is: 'empty' },
        { fault: 'line-form', is: 'missing' },
        { fault: 'line-form', is: 'duplicated' },
        { fault: 'line-form', is: 'not-json' },
        { fault: 'line-form', is: 'contradicted' },
      ),
      few,
    )
    .map(([fault, when]) => ({ ...fault, when })),
  { maxLength: 4 },
)

const runs = fc.array(
  fc.record({
    /** Of what the whole task can cost by calls. */
    capShare: fc.constantFrom(0.001, 0.05, 0.2, 0.5, 0.9, 1.2),
    forceDirect: fc.boolean(),
    minBatchRequests: fc.constantFrom(1, 1, 3),
    crashAt: fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined }),
    acted: fc.boolean(),
  }),
  { minLength: 1, maxLength: 4 },
)

const lives = fc.record({
  of: fc.constantFrom(...MODELS),
  isPriced: fc.constantFrom(false, false, true),
  specs,
  faults,
  runs,
  directConcurrency: fc.constantFrom(1, 4),
  maxBatchRequests: fc.constantFrom(2, 5, 100),
})
type Life = typeof lives extends fc.Arbitrary<infer Value> ? Value : never

const serverOf = ({ of: { endpoint, model, direct }, isPriced }: Life): Server => ({
  endpoint,
  model,
  direct: isPriced ? PRICED : direct,
  batch: isPriced ? PRICED_BATCH : half(direct),
  counter,
})

/** The most that one request can cost by a call, were its prompt known to the token: less than what has to be set aside for it. */
function leastWorst(spec: Spec, index: number, server: Server, price: ListPrice): number {
  const { cached = price.input, cacheWrite = price.input } = price
  const dearest = Math.max(price.input, cached, cacheWrite)
  const most = { ...spec, outputShare: 1, wrapping: 0 }
  const { input, output } = usedFor(most, bodyOf(index, spec, server), server)
  return billNanoUsd({ input, cached: 0, written: 0, output }, { input: dearest, output: price.output })
}

/** What is always set aside beside what can be counted, generously. */
const ROUND_UP = 1.3
const TOKENS_ON_TOP = 400

interface Told {
  readonly dir: string
  readonly capNanoUsd: number
  readonly fromSeq: number
}

const lastSeq = (dir: string): number => moments(dir).moments.at(-1)?.seq ?? 0

/** Lives through all runs; after each of them the money must be in order. */
async function live(life: Life): Promise<void> {
  const server = serverOf(life)
  const world = new MoneyWorld(life.specs, server, { scenario: { faults: [...life.faults] } })
  const worst = life.specs.map((spec, index) => leastWorst(spec, index, server, server.direct))
  const total = worst.reduce((sum, one) => sum + one, 0)
  const common: Partial<TaskManagerOptions> = {
    directConcurrency: life.directConcurrency,
    maxBatchRequests: life.maxBatchRequests,
    maxRetries: 30,
    maxExpiries: 30,
    createGraceMs: 2_000,
    ...(life.isPriced && PRICE_FLAGS),
  }
  let dir = world.rig.dir
  let most = 0
  for (const { capShare, crashAt, acted, ...ways } of life.runs) {
    // Of nothing at all nobody could say that it was kept.
    const capNanoUsd = Math.max(1, Math.round(capShare * total))
    const over = { ...common, ...ways, taskDir: dir, maxSpend: capNanoUsd / 1e9 }
    const fromSeq = lastSeq(dir)
    most = Math.max(most, capNanoUsd)
    if (crashAt === undefined) {
      const summary = await world.run(over)
      expect(['complete', 'limits', 'failed-batches']).toContain(summary.outcome)
      if (summary.outcome === 'limits') expectNoRoom(life, server, { dir, capNanoUsd, fromSeq })
    } else dir = await world.runUntil(crashAt, acted, over)
    expectWithin({ dir, capNanoUsd, fromSeq })
    await expectAccounted(world, dir, most)
  }
  const ample = 100 * total + 1_000_000_000
  const last = { ...common, taskDir: dir, maxSpend: ample / 1e9, processFailedBatches: 100 }
  expect(await world.run(last)).toMatchObject({ complete: true, requests: life.specs.length })
  await expectAccounted(world, dir, ample)
  expectSettled(dir, most)
  const before = lastSeq(dir)
  const calls = world.calls
  expect(await world.run(last)).toMatchObject({ complete: true, judged: 0 })
  expect([lastSeq(dir), world.calls]).toEqual([before, calls])
}

/** After every line of the ledger: never more than the cap, or than what was there already when a lower one came. */
function expectWithin({ dir, capNanoUsd, fromSeq }: Told): void {
  const all = moments(dir).moments
  const before = all.findLast(({ seq }) => seq <= fromSeq)?.sumNanoUsd ?? 0
  for (const { seq, sumNanoUsd, kinds } of all) {
    if (seq <= fromSeq || sumNanoUsd <= Math.max(capNanoUsd, before)) continue
    expect.fail(
      `line ${seq} (${kinds.join(', ')}): ${sumNanoUsd} nano-USD under a cap of ${capNanoUsd}, before ${before}`,
    )
  }
}

/** All that the server bills is spent, uncertain, or still reserved. */
async function expectAccounted(world: MoneyWorld, dir: string, most: number): Promise<void> {
  const billed = await world.billedNanoUsd()
  expect(billed, 'what the server bills against the cap').toBeLessThanOrEqual(most)
  const { sumNanoUsd = 0 } = moments(dir).moments.at(-1) ?? {}
  expect(sumNanoUsd + 2 * world.rig.seen.length + 200, 'what is accounted for').toBeGreaterThanOrEqual(billed)
}

/** A run that ended for want of money had nothing left to send that would have fitted. */
function expectNoRoom(life: Life, server: Server, { dir, capNanoUsd }: Told): void {
  const { moments: all, state } = moments(dir)
  const { sumNanoUsd = 0, reservedNanoUsd = 0 } = all.at(-1) ?? {}
  expect(reservedNanoUsd).toBe(0)
  const done = new Set(
    [...taskLines(dir, '_output.jsonl'), ...taskLines(dir, '_failed.jsonl')].map(({ key }) => key),
  )
  const price = Math.max(server.direct.input, server.direct.cacheWrite ?? 0)
  const onTop = TOKENS_ON_TOP * price * 1000
  for (const [index, spec] of life.specs.entries()) {
    if (done.has(keyOf(index))) continue
    const needed = ROUND_UP * leastWorst(spec, index, server, server.direct) + onTop
    expect(needed, `${keyOf(index)} would have fitted`).toBeGreaterThan(capNanoUsd - sumNanoUsd)
  }
  expect(state.counters.pending).toBeGreaterThan(0)
}

/** At the end nothing is set aside, every cost belongs to a request, and only what never fitted has failed. */
function expectSettled(dir: string, most: number): void {
  const { moments: all, state } = moments(dir)
  expect(all.at(-1)?.reservedNanoUsd).toBe(0)
  const { costNanoUsd, judgedNanoUsd } = state.spending
  if (state.strays.size === 0) expect(judgedNanoUsd).toBe(costNanoUsd)
  for (const { reason } of taskLines(dir, '_failed.jsonl'))
    expect(reason).toMatch(/--max-spend|^batch_failed/)
  expect(most).toBeGreaterThan(0)
}

describe('under a hard cap, whatever happens', () => {
  test('the task never spends more, loses no cost, and goes on as long as anything fits', async () => {
    await fc.assert(fc.asyncProperty(lives, live), { numRuns: RUNS })
  }, 300_000)
})

/** 2 USD per million output tokens, half of it by batch: 1,000 of them cost 1,000,000 nano-USD at most. */
const TEN_AT_A_TIME_USD = 0.0105

test.each([
  ['one file', { maxBatchRequests: 100 }, 3],
  ['several files', { maxBatchRequests: 10 }, 3],
  ['a file of several chunks', { maxBatchRequests: 100, maxSpend: 0.09 }, 9000],
])(
  'batches are carved from %s round by round; what is left over is not written again each time',
  async (_, over, words) => {
    const [{ endpoint, model, direct }] = MODELS
    const server = { endpoint, model, direct, batch: half(direct), counter }
    const specs = Array.from({ length: 60 }, () => cheap(words))
    const world = new MoneyWorld(specs, server, {})
    const summary = await world.run({ maxSpend: TEN_AT_A_TIME_USD, ...over })
    expect(summary).toMatchObject({ complete: true, succeeded: 60, failed: 0 })
    const moved = stepsOf(world.rig.dir, 'requeue').flatMap(({ requests }) => requests)
    expect(moved.length).toBeGreaterThan(0)
    expect(moved.length).toBeLessThanOrEqual(120)
    expect(summary.batches).toBeLessThanOrEqual(16)
  },
)

test('a cap with room for a small part of the batch at a time is warned of once', async () => {
  const [{ endpoint, model, direct }] = MODELS
  const server = { endpoint, model, direct, batch: half(direct), counter }
  const world = new MoneyWorld(
    Array.from({ length: 40 }, () => cheap(3)),
    server,
    {},
  )
  expect(await world.run({ maxBatchRequests: 100, maxSpend: 0.0031 })).toMatchObject({ complete: true })
  expect(world.rig.warnings('tight_cap')).toEqual([
    expect.stringContaining('--max-spend has room for 3 of 40 requests at a time'),
  ])
})

test('calls that wait for what others may give back go on, one after another if need be', async () => {
  const [{ endpoint, model, direct }] = MODELS
  const server = { endpoint, model, direct, batch: half(direct), counter }
  const specs = Array.from({ length: 40 }, () => cheap(3))
  const world = new MoneyWorld(specs, server, {})
  // Room for one call at a time, at 2,000,000 nano-USD, and for what all of them cost in the end.
  const over = { forceDirect: true, directConcurrency: 8, maxSpend: 0.0032 }
  expect(await world.run(over)).toMatchObject({ complete: true, succeeded: 40 })
  expect(moments(world.rig.dir).moments.length).toBeLessThan(40 * 5)
})
