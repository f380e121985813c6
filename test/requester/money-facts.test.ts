import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { type EmulatedRequest, rawBody, type Scenario, withUsage } from '../../src/emulator/index.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import type { Fetch } from '../../src/util/fetch.ts'
import { moments } from '../support/money-world.ts'
import { type Harness, harness, ledgerSteps, names, readTaskFile, stepsOf } from '../support/task-harness.ts'

interface Plan {
  readonly count?: number
  readonly model?: string
  readonly limited?: boolean
  readonly flex?: boolean
}

/** What each answer cost, as the task is told, in USD. */
const tasksOf = ({ count = 50, model = 'gpt-5-mini', limited = true, flex = false }: Plan = {}) => {
  const costs: (number | undefined)[] = []
  class Fifty extends TaskManager {
    *generateRequests() {
      for (const key of names(count)) {
        const messages = [{ role: 'user' as const, content: key }]
        const limit = limited ? { max_completion_tokens: 100 } : {}
        yield { key, body: { model, messages, ...limit, ...(flex && { service_tier: 'flex' as const }) } }
      }
    }

    processResponse({ key, cost }: TaskResponse) {
      costs.push(cost)
      return accept(key)
    }
  }
  return { Fifty, costs }
}

/** A server that counts but one token of each batch. */
const miscounting =
  (fetch: Fetch = globalThis.fetch): Fetch =>
  async (input, init) => {
    const response = await fetch(input, init)
    const path = new URL(input instanceof Request ? input.url : input).pathname
    if (!/^\/v1\/batches\/?/.test(path)) return response
    const text = await response.text()
    const counted = text.replace(/"(input|output|total)_tokens":\d+/g, '"$1_tokens":1')
    return new Response(counted, { status: response.status, headers: { 'content-type': 'application/json' } })
  }

const spending = ({ dir }: Harness) => moments(dir).state.spending
const DIRECT = { forceDirect: true } as const

/** 900 of 1,000 prompt tokens come from the cache. */
const cachedAnswer = (input: number) => (request: EmulatedRequest) => {
  const flex = request.via === 'direct' && request.body.service_tier === 'flex'
  const usage = { input, cachedInput: (input * 9) / 10, output: 10 }
  return flex ? rawBody(flexBody(usage)) : withUsage('yes', usage)
}

/** The tier that an answer was given at stands in it. */
const flexBody = ({
  input,
  cachedInput,
  output,
}: {
  input: number
  cachedInput: number
  output: number
}) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'gpt-5-mini',
  service_tier: 'flex',
  choices: [{ index: 0, message: { role: 'assistant', content: 'yes' }, finish_reason: 'stop' }],
  usage: {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cachedInput },
  },
})

describe('50 requests of 1,000 prompt tokens, 900 of them cached, and 10 output tokens', () => {
  /* gpt-5-mini, USD per million tokens: 0.25 input, 0.025 cached, 2 output.
     One call: 100 x 0.25 + 900 x 0.025 + 10 x 2 = 25 + 22.5 + 20 = 67.5 USD per million calls, 67,500 nano-USD. */
  const CALL_NANO_USD = 67_500

  test.each([
    ['by calls', DIRECT, false, CALL_NANO_USD],
    ['by batch, for half', {}, false, CALL_NANO_USD / 2],
    ['by flex, for half', DIRECT, true, CALL_NANO_USD / 2],
  ])('cost %s what the price list says, each and together', async (_, way, flex, each) => {
    const rig = harness({ answer: cachedAnswer(1000) })
    const { Fifty, costs } = tasksOf({ flex })
    const summary = await new Fifty(rig.options(way)).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 50 })
    expect(costs).toHaveLength(50)
    for (const cost of costs) expect(cost).toBe(each / 1e9)
    const { costNanoUsd, judgedNanoUsd, listNanoUsd } = spending(rig)
    expect([costNanoUsd, judgedNanoUsd, listNanoUsd]).toEqual([50 * each, 50 * each, 50 * CALL_NANO_USD])
    expect(summary.cost).toBeCloseTo((50 * each) / 1e9, 12)
    expect(rig.warnings('usage_differs')).toEqual([])
  })

  test('each class by its own flag', async () => {
    const rig = harness({ answer: cachedAnswer(1000) })
    const { Fifty } = tasksOf({ model: 'nobody-knows-1' })
    const prices = { costInputDirectMtoken: 3, costInputCachedMtoken: 1, costOutputDirectMtoken: 7 }
    await new Fifty(rig.options({ ...DIRECT, ...prices })).run()
    // 100 x 3 + 900 x 1 + 10 x 7 = 1,270 USD per million calls.
    expect(spending(rig).costNanoUsd).toBe(50 * 1_270_000)
  })

  test('each class by its own flag for batches', async () => {
    const rig = harness({ answer: cachedAnswer(1000) })
    const { Fifty } = tasksOf()
    const prices = { costInputBatchMtoken: 2, costInputCachedBatchMtoken: 0.5, costOutputBatchMtoken: 4 }
    await new Fifty(rig.options(prices)).run()
    // 100 x 2 + 900 x 0.5 + 10 x 4 = 690 USD per million requests.
    expect(spending(rig).costNanoUsd).toBe(50 * 690_000)
  })
})

test('a long prompt makes all of its request dearer, and only that request', async () => {
  /* gpt-6-luna, USD per million tokens: 0.10 input, 0.01 cached, 0.50 output; above 272,000 prompt tokens 0.20, 0.02, 0.75. */
  const answer = ({ body }: EmulatedRequest) =>
    withUsage('yes', { input: JSON.stringify(body).includes('k-0') ? 300_000 : 200_000, output: 100 })
  const rig = harness({ answer })
  const { Fifty } = tasksOf({ count: 2, model: 'gpt-6-luna' })
  await new Fifty(rig.options(DIRECT)).run()
  // 300,000 x 0.20 + 100 x 0.75 = 60,075; 200,000 x 0.10 + 100 x 0.50 = 20,050: USD per million such calls.
  expect(spending(rig).costNanoUsd).toBe(60_075_000 + 20_050_000)
})

test('a batch costs what it cost on the day it was submitted, however long it takes', async () => {
  /* gpt-5.6-luna, USD per million tokens: 1.00 input and 6 output until 2026-07-29, then 0.20 and 1.20. */
  const DAY_MS = 86_400_000
  const rig = harness({
    answer: () => withUsage('yes', { input: 1000, output: 10 }),
    latency: { runMs: 20 * 3_600_000 },
  })
  rig.clock.jump(Date.UTC(2026, 6, 30) - DAY_MS / 2 - rig.clock.now())
  const { Fifty, costs } = tasksOf({ count: 2, model: 'gpt-5.6-luna' })
  await new Fifty(rig.options({ remoteUpdateInterval: 3600 })).run()
  expect(rig.clock.now()).toBeGreaterThan(Date.UTC(2026, 6, 30))
  // Half of 1,000 x 1.00 + 10 x 6 = 530 USD per million requests.
  expect(spending(rig).costNanoUsd).toBe(2 * 530_000)
  expect(costs).toEqual([530_000 / 1e9, 530_000 / 1e9])
})

describe('what cannot be said to be within the cap', () => {
  const before = ({ dir }: Harness) => [
    readTaskFile(dir, '_ledger.jsonl'),
    readTaskFile(dir, '_batch1.jsonl'),
  ]

  test('an unknown model is an error that names the flags', async () => {
    const rig = harness()
    const { Fifty } = tasksOf({ model: 'nobody-knows-1' })
    const run = new Fifty(rig.options()).run()
    await expect(run).rejects.toMatchObject({
      code: 'unknown_price',
      message: expect.stringMatching(
        /"k-0".*"nobody-knows-1".*--cost-input-direct-mtoken.*--cost-output-direct-mtoken/,
      ),
    })
    expect(rig.count('POST', /./)).toBe(0)
  })

  test('a request without a maximum of output tokens is an error that says so; nothing was added or sent', async () => {
    const rig = harness()
    const { Fifty } = tasksOf({ limited: false })
    const run = new Fifty(rig.options({ maxSpend: 10 })).run()
    await expect(run).rejects.toMatchObject({
      code: 'no_output_limit',
      message: expect.stringMatching(/--max-spend.*max_completion_tokens/),
    })
    expect(stepsOf(rig.dir, 'add')).toEqual([])
    expect(before(rig)[1]).toBe('')
    expect(rig.count('POST', /./)).toBe(0)
  })

  test('such requests of a run without a cap stay pending under one, and cost nothing', async () => {
    const rig = harness()
    const { Fifty } = tasksOf({ count: 3, limited: false })
    await new Fifty(rig.options({ maxTaskRequests: 1 })).run()
    const { pending } = moments(rig.dir).state.counters
    expect(pending).toBe(3)
    const summary = await new Fifty(rig.options({ maxSpend: 10 })).run()
    expect(summary).toMatchObject({ outcome: 'limits', pending: 3, cost: 0 })
    expect(rig.count('POST', /./)).toBe(0)
  })
})

test('a server that charges nothing needs no money: a cap of 0 holds nothing back', async () => {
  const scenario: Scenario = { faults: [{ fault: 'reply-form', is: 'no-usage', when: { nth: 2 } }] }
  const rig = harness({ scenario })
  const { Fifty, costs } = tasksOf({ count: 3, model: 'my-own' })
  const free = { costInputDirectMtoken: 0, costOutputDirectMtoken: 0, maxSpend: 0 }
  const summary = await new Fifty(rig.options(free)).run()
  expect(summary).toMatchObject({ complete: true, succeeded: 3, cost: 0 })
  expect(costs).toEqual([0, 0, 0])
})

describe('answers without usage', () => {
  const scenario: Scenario = { faults: [{ fault: 'reply-form', is: 'no-usage', when: { nth: [2, 5] } }] }
  test.each([
    ['by batch', {}],
    ['by calls', DIRECT],
  ])('%s are charged the most they can have cost, and no more than was set aside', async (_, way) => {
    const rig = harness({ answer: () => withUsage('yes', { input: 20, output: 10 }), scenario })
    const { Fifty, costs } = tasksOf({ count: 10 })
    await new Fifty(rig.options({ ...way, maxSpend: 1 })).run()
    const ordinary = Math.min(...costs.map((cost) => cost ?? Number.NaN))
    const dear = costs.filter((cost) => cost !== ordinary)
    expect(dear).toHaveLength(2)
    // 100 output tokens at 2 USD per million (half of it by batch) at the least.
    for (const cost of dear) expect(cost).toBeGreaterThan(way === DIRECT ? 200e-6 : 100e-6)
    const { costNanoUsd, judgedNanoUsd, unmeteredReplies, uncertainNanoUsd } = spending(rig)
    expect([costNanoUsd, unmeteredReplies, uncertainNanoUsd]).toEqual([judgedNanoUsd, 2, 0])
  })
})

describe('the count of a batch by the server', () => {
  test('that differs from the sum of its answers is reported, and what is missing counts against the cap', async () => {
    const scenario: Scenario = { faults: [{ fault: 'line-form', is: 'missing', when: { nth: 1 } }] }
    const rig = harness({ answer: () => withUsage('yes', { input: 20, output: 10 }), scenario })
    const { Fifty } = tasksOf({ count: 4 })
    await new Fifty(rig.options()).run()
    expect(rig.warnings('usage_differs')).toEqual([expect.stringMatching(/80 prompt tokens against 60/)])
    // Half of 20 x 0.25 + 10 x 2 = 12.5 USD per million requests, and what rounding may add.
    const { uncertainNanoUsd } = spending(rig)
    expect(uncertainNanoUsd).toBeGreaterThanOrEqual(12_500)
    expect(uncertainNanoUsd).toBeLessThan(12_510)
  })

  test('that is below the sum of its answers does not tell that nothing was lost', async () => {
    const scenario: Scenario = { faults: [{ fault: 'line-form', is: 'missing', when: { nth: 1 } }] }
    const rig = harness({ answer: () => withUsage('yes', { input: 20, output: 10 }), scenario })
    const { Fifty } = tasksOf({ count: 4 })
    const { fetch, ...options } = rig.options()
    await new Fifty({ ...options, fetch: miscounting(fetch) }).run()
    // Half of 100 output tokens at 2 USD per million at the least.
    expect(spending(rig).uncertainNanoUsd).toBeGreaterThan(100_000)
  })
})

test('a call whose answer was lost is charged once, though the process ends before it is made again', async () => {
  const scenario: Scenario = {
    faults: [{ fault: 'http-lose', route: 'POST /v1/chat/completions', acts: true, when: { first: 1 } }],
  }
  const rig = harness({ answer: () => withUsage('yes', { input: 20, output: 10 }), scenario })
  const { Fifty } = tasksOf({ count: 1 })
  const stop = new AbortController()
  const stopping = { onEvent: ({ kind }: { kind: string }) => void (kind === 'waiting' && stop.abort()) }
  await new Fifty(rig.options({ ...DIRECT, maxSpend: 1, stop: stop.signal, reporters: [stopping] })).run()
  expect(stepsOf(rig.dir, 'uncertain')).toHaveLength(1)
  await new Fifty(rig.options({ ...DIRECT, maxSpend: 1 })).run()
  expect(ledgerSteps(rig.dir).filter(({ kind }) => kind === 'uncertain')).toHaveLength(1)
})

test('answers at the priority tier, for which there is no price, are warned of once', async () => {
  const rig = harness({
    answer: () =>
      rawBody({ ...flexBody({ input: 10, cachedInput: 0, output: 1 }), service_tier: 'priority' }),
  })
  const { Fifty } = tasksOf({ count: 3 })
  expect(await new Fifty(rig.options(DIRECT)).run()).toMatchObject({ complete: true })
  expect(rig.warnings('priority_tier')).toEqual([expect.stringContaining('--max-spend does not hold')])
})
