import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { httpAnswer, type Intercept, type Scenario } from '../../src/emulator/index.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, kindOf, names, stepsOf } from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse) {
    return accept(key)
  }
}

const noMoney = { message: 'You exceeded your current quota', code: 'insufficient_quota' }
const isCreate = (request: Request): boolean => {
  const { method, path } = kindOf(request)
  return method === 'POST' && path === '/v1/batches'
}

describe('lines of a batch that were refused for want of money', () => {
  test('go again after a while, without using up attempts, and do not trip the breaker', async () => {
    let refused = 25
    const { options, dir, clock } = harness({
      answer: () => (refused-- > 0 ? httpAnswer(429, { error: noMoney }) : { content: 'yes' }),
    })
    const before = clock.now()
    const summary = await new Ten(options({ maxRetries: 0, maxExpiries: 0, maxPassFailures: 1 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
    expect(new Set(stepsOf(dir, 'requeue').map(({ why }) => why))).toEqual(new Set(['refused']))
    expect(clock.now() - before).toBeGreaterThan(60_000)
  })

  test('stop the run after maxWait, so that it can go on when there is money', async () => {
    let broke = true
    const { options, count } = harness({
      answer: () => (broke ? httpAnswer(429, { error: noMoney }) : { content: 'yes' }),
    })
    const summary = await new Ten(options({ maxWait: 600 })).run()
    expect(summary).toMatchObject({ complete: false, outcome: 'waited', pending: 10, failed: 0 })
    expect(summary.details).toEqual([expect.stringContaining('exceeded your current quota')])
    expect(count('POST', '/v1/batches')).toBeLessThan(25)
    broke = false
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, failed: 0 })
  })
})

test('single lines that were refused in every batch do not stop a run that goes on, however long it takes', async () => {
  const { options, clock } = harness({
    latency: { runMs: 3_600_000 },
    scenario: {
      faults: [
        { fault: 'reply-status', status: 429, error: { message: 'Slow down.' }, line: 1, when: { tries: 1 } },
      ],
    },
  })
  const before = clock.now()
  const pace = { maxBatchRequests: 2, maxRemoteBatches: 1, maxWait: 1_200, remoteUpdateInterval: 600 }
  expect(await new Ten(options(pace)).run()).toMatchObject({ outcome: 'complete', succeeded: 10 })
  expect(clock.now() - before).toBeGreaterThan(1_200_000)
})

describe('an answer with HTTP 200 that says that the money is out', () => {
  const broke: Scenario = {
    faults: [{ fault: 'reply-status', status: 200, error: noMoney, when: { untilMs: 1_800_000 } }],
  }

  test.each([
    ['directly', { forceDirect: true }, 10],
    ['in a batch', {}, 1],
  ])('%s is waited for, and uses up no attempt', async (_, way, atOnce) => {
    const { options, count, dir } = harness({ scenario: broke })
    const summary = await new Ten(options({ ...way, maxRetries: 0, remoteUpdateInterval: 60 })).run()
    expect(summary).toMatchObject({ outcome: 'complete', succeeded: 10, retries: 0 })
    // Half an hour of it, tried once a minute in the end.
    expect(count('POST', /^\/v1\/(chat\/completions|batches)$/)).toBeLessThan(45 * atOnce)
    expect(stepsOf(dir, 'rejected')).toEqual([])
  })
})

test('a line that was refused for its key fails alone when others of its batch were answered', async () => {
  const { options } = harness({
    answer: ({ body }) =>
      JSON.stringify(body).includes('k-7') ? httpAnswer(403, { error: { code: 'odd' } }) : { content: 'yes' },
  })
  expect(await new Ten(options()).run()).toMatchObject({
    complete: true,
    succeeded: 9,
    failed: 1,
    batches: 1,
  })
})

describe('a create that is refused for want of money', () => {
  const broken = (howLong: { left: number }): Intercept => {
    return async (request, next) =>
      isCreate(request) && howLong.left-- > 0 ? Response.json({ error: noMoney }, { status: 429 }) : next()
  }

  test('is sent again with the same upload', async () => {
    const { options, count } = harness({ intercept: broken({ left: 5 }) })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
    expect(count('POST', '/v1/files')).toBe(1)
    expect(count('POST', '/v1/batches')).toBe(6)
  })

  test('for longer than maxWait stops the run; nothing is left at the server, and the next run goes on', async () => {
    const howLong = { left: Number.POSITIVE_INFINITY }
    const { options, emulator } = harness({ intercept: broken(howLong) })
    const summary = await new Ten(options({ maxWait: 300 })).run()
    expect(summary).toMatchObject({ complete: false, outcome: 'waited', pending: 10 })
    howLong.left = 0
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
    const files = await (await emulator.fetch('http://x/v1/files')).json()
    expect(files).toMatchObject({ data: [] })
  })
})
