import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { httpAnswer, type Intercept } from '../../src/emulator/index.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import {
  ask,
  harness,
  isKind,
  kindOf,
  ledgerSteps,
  names,
  stepsOf,
  taskLines,
} from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key, attempt }: TaskResponse) {
    return accept({ key, attempt })
  }
}

const CHAT = '/v1/chat/completions'
const isCall = (request: Request): boolean => isKind(kindOf(request), 'POST', CHAT)

describe('direct calls', () => {
  test('serve the whole task with forceDirect, and nothing goes by batch', async () => {
    const { options, count, dir } = harness()
    const summary = await new Ten(options({ forceDirect: true, maxDirectRequests: 4 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, batches: 0 })
    expect(count('POST', CHAT)).toBe(10)
    expect(count('POST', /batches|files/)).toBe(0)
    expect(
      taskLines<{ key: string }>(dir, '_output.jsonl')
        .map(({ key }) => key)
        .sort(),
    ).toEqual(names(10))
    expect(ledgerSteps(dir).findIndex(({ kind }) => kind === 'sent')).toBeLessThan(
      ledgerSteps(dir).findIndex(({ kind }) => kind === 'received'),
    )
  })

  test('are never more at once than directConcurrency', async () => {
    let atOnce = 0
    let most = 0
    const { options, events } = harness({
      answer: async () => {
        most = Math.max(most, ++atOnce)
        await new Promise((resolve) => setImmediate(resolve))
        atOnce--
        return 'fine'
      },
    })
    await new Ten(options({ forceDirect: true, directConcurrency: 3 })).run()
    expect(most).toBeLessThanOrEqual(3)
    expect(most).toBeGreaterThan(1)
    const told = events.flatMap((event) => ('counts' in event ? [event.counts.inFlight] : []))
    expect(Math.max(...told)).toBe(most)
  })

  test('serve a remnant only when nothing in flight can add to it', async () => {
    const { options, seen, dir } = harness({ failureRate: 0.3 })
    class Sixty extends Ten {
      override *generateRequests() {
        for (const key of names(60)) yield { key, body: ask(key) }
      }
    }
    const summary = await new Sixty(options({ minBatchRequests: 25, maxBatchRequests: 25 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 60 })
    const steps = ledgerSteps(dir)
    const direct = steps.findIndex(({ kind, as }) => kind === 'seal' && as === 'direct')
    const batches = steps.flatMap(({ kind }, at) => (kind === 'ended' ? [at] : []))
    expect(batches.length).toBeGreaterThanOrEqual(2)
    expect(direct).toBeGreaterThan(Math.max(...batches))
    expect(stepsOf(dir, 'requeue').length).toBeGreaterThan(0)
    expect(seen.some((one) => isKind(one, 'POST', CHAT))).toBe(true)
  })
})

describe('pushback', () => {
  test.each([
    ['seconds', () => '40'],
    ['a date', (nowMs: number) => new Date(nowMs + 40_000).toUTCString()],
  ])('429 with Retry-After in %s is waited for, and uses up no attempt', async (_, after) => {
    let refused = 0
    const busy: Intercept = async (request, next) =>
      isCall(request) && refused++ < 3
        ? Response.json(
            { error: { message: 'slow down' } },
            { status: 429, headers: { 'retry-after': after(clock.now()) } },
          )
        : next()
    const { options, dir, clock } = harness({ intercept: busy })
    const before = clock.now()
    const summary = await new Ten(options({ forceDirect: true, maxRetries: 0 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, failed: 0, retries: 0 })
    expect(clock.now() - before).toBeGreaterThanOrEqual(40_000)
    expect(clock.now() - before).toBeLessThan(200_000)
    expect(stepsOf(dir, 'uncertain')).toEqual([])
    expect(taskLines(dir, '_output.jsonl')).toContainEqual({ key: 'k-0', attempt: 1 })
  })

  test('nothing is sent while the server asked for a pause', async () => {
    let refused = 0
    const busy: Intercept = async (request, next) =>
      isCall(request) && refused++ < 1
        ? Response.json(
            { error: { message: 'slow down' } },
            { status: 429, headers: { 'retry-after': '60' } },
          )
        : next()
    const { options, seen } = harness({ intercept: busy })
    await new Ten(options({ forceDirect: true, directConcurrency: 1 })).run()
    const [first, second] = seen.filter((one) => isKind(one, 'POST', CHAT))
    expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThanOrEqual(60_000)
  })

  test('429 without end stops the run after maxWait, and the next run goes on', async () => {
    let busy = true
    const always: Intercept = async (request, next) =>
      busy && isCall(request) ? Response.json({ error: { message: 'quota' } }, { status: 429 }) : next()
    const { options } = harness({ intercept: always })
    expect(await new Ten(options({ forceDirect: true, maxWait: 300 })).run()).toMatchObject({
      complete: false,
      outcome: 'waited',
      details: [expect.stringContaining('429')],
      pending: 10,
    })
    busy = false
    expect(await new Ten(options({ forceDirect: true })).run()).toMatchObject({
      complete: true,
      succeeded: 10,
    })
  })
})

describe('failures', () => {
  test('500 uses up attempts, and heals', async () => {
    const { options, dir } = harness({ failureRate: 1 })
    const summary = await new Ten(options({ forceDirect: true })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, retries: 10 })
    expect(taskLines(dir, '_output.jsonl')).toContainEqual({ key: 'k-7', attempt: 2 })
  })

  test('500 for ever fails for good with its reason', async () => {
    const { options, dir, count } = harness({
      answer: () => httpAnswer(500, { error: { message: 'out of order', type: 'server_error' } }),
    })
    const summary = await new Ten(options({ forceDirect: true, maxRetries: 1 })).run()
    expect(summary).toMatchObject({ complete: true, failed: 10 })
    expect(count('POST', CHAT)).toBe(20)
    expect(taskLines(dir, '_failed.jsonl')).toContainEqual(
      expect.objectContaining({
        key: 'k-0',
        reason: 'server_error: out of order (failed 2 times)',
        attempts: 2,
      }),
    )
  })

  test('an error page that is no JSON is kept with the failure', async () => {
    const page: Intercept = async (request, next) =>
      isCall(request) && (await request.clone().text()).includes('k-0')
        ? new Response('<h1>502\nBad Gateway</h1>', { status: 502 })
        : next()
    const { options, dir } = harness({ intercept: page })
    await new Ten(options({ forceDirect: true, maxRetries: 0 })).run()
    expect(taskLines(dir, '_failed.jsonl')).toContainEqual(
      expect.objectContaining({ key: 'k-0', reason: expect.stringContaining('Bad Gateway') }),
    )
  })

  test('a cut connection is recorded as uncertain and sent again without using up an attempt', async () => {
    let cuts = 0
    const cut: Intercept = async (request, next) => {
      const response = await next()
      if (isCall(request) && cuts++ < 2) throw new TypeError('terminated')
      return response
    }
    const { options, dir, count } = harness({ intercept: cut })
    const summary = await new Ten(options({ forceDirect: true, maxRetries: 0 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
    expect(stepsOf(dir, 'uncertain')).toHaveLength(2)
    expect(count('POST', CHAT)).toBe(12)
  })

  test.each([
    ['a reset', () => new TypeError('terminated'), 'network'],
    ['a timeout', () => new DOMException('The operation timed out', 'TimeoutError'), 'network'],
  ])(
    'a request that always ends in %s fails alone after some tries, each of them noted',
    async (_, fault, code) => {
      const cut: Intercept = async (request, next) => {
        const isBad = isCall(request) && (await request.clone().text()).includes('k-3')
        const response = await next()
        if (isBad) throw fault()
        return response
      }
      const { options, dir } = harness({ intercept: cut })
      const summary = await new Ten(options({ forceDirect: true, maxRetries: 1 })).run()
      expect(summary).toMatchObject({ complete: true, succeeded: 9, failed: 1 })
      expect(taskLines(dir, '_failed.jsonl')).toEqual([
        expect.objectContaining({ key: 'k-3', reason: expect.stringContaining(code), attempts: 2 }),
      ])
      expect(stepsOf(dir, 'uncertain')).toHaveLength(8)
    },
  )

  test('a server that is out of order is waited for, and no attempt is used up', async () => {
    const { options, clock, count } = harness({
      intercept: async (request, next) =>
        isCall(request) && clock.now() < begin + 3_600_000 ? new Response('', { status: 503 }) : next(),
    })
    const begin = clock.now()
    const summary = await new Ten(options({ forceDirect: true })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, failed: 0 })
    expect(summary.retries).toBeLessThanOrEqual(2)
    expect(count('POST', CHAT)).toBeLessThan(150)
  })

  test('of a server that hangs for hours one call at a time finds out whether it answers', async () => {
    const { options, clock, count, dir } = harness({
      intercept: async (request, next) => {
        if (!isCall(request) || clock.now() >= begin + 7_200_000) return next()
        const response = await next()
        await clock.sleep(600_000)
        response.body?.cancel()
        throw new TypeError('terminated')
      },
    })
    const begin = clock.now()
    const summary = await new Ten(options({ forceDirect: true, directConcurrency: 10 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, failed: 0 })
    // Ten at once, then one in ten minutes for two hours, then ten.
    expect(count('POST', CHAT)).toBeLessThanOrEqual(10 + 13 + 10)
    expect(stepsOf(dir, 'uncertain').length).toBeLessThanOrEqual(10 + 13)
  })

  test('a server that cannot be reached is waited for, and nothing is uncertain', async () => {
    const { options, dir, clock } = harness({
      intercept: async (request, next) => {
        if (isCall(request) && clock.now() < begin + 3_600_000)
          throw new TypeError('fetch failed', {
            cause: Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' }),
          })
        return next()
      },
    })
    const begin = clock.now()
    const summary = await new Ten(options({ forceDirect: true, maxRetries: 0 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
    expect(stepsOf(dir, 'uncertain')).toEqual([])
  })

  test.each([
    [402, { message: 'pay' }],
    [429, { message: 'You exceeded your current quota', code: 'insufficient_quota' }],
    [400, { message: 'no', code: 'billing_hard_limit_reached' }],
  ])('an account without money (%d) is waited for, and no attempt is used up', async (status, error) => {
    let broke = 20
    const refuse: Intercept = async (request, next) =>
      isCall(request) && broke-- > 0 ? Response.json({ error }, { status }) : next()
    const { options } = harness({ intercept: refuse })
    const summary = await new Ten(options({ forceDirect: true, maxRetries: 0 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
  })

  test('a request that is too large for the rate limit fails alone', async () => {
    const message = 'Request too large for gpt-5 on tokens per min (TPM): Limit 30000, Requested 45000.'
    const refuse: Intercept = async (request, next) =>
      isCall(request) && (await request.clone().text()).includes('k-3')
        ? Response.json({ error: { message, code: 'rate_limit_exceeded' } }, { status: 429 })
        : next()
    const { options, dir } = harness({ intercept: refuse })
    const summary = await new Ten(options({ forceDirect: true })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 9, failed: 1 })
    expect(taskLines(dir, '_failed.jsonl')).toEqual([
      expect.objectContaining({ key: 'k-3', reason: expect.stringContaining(message) }),
    ])
  })

  test('403 for one request fails it alone when the key has brought answers before', async () => {
    const refuse: Intercept = async (request, next) =>
      isCall(request) && (await request.clone().text()).includes('k-7')
        ? Response.json({ error: { message: 'no', code: 'odd' } }, { status: 403 })
        : next()
    const { options, dir } = harness({ intercept: refuse })
    const summary = await new Ten(options({ forceDirect: true, directConcurrency: 1 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 9, failed: 1, retries: 0 })
    expect(taskLines(dir, '_failed.jsonl')).toMatchObject([{ key: 'k-7', attempts: 1 }])
  })

  test('403 about a model or a text fails the request alone', async () => {
    const refuse: Intercept = async (request, next) =>
      isCall(request) && (await request.clone().text()).includes('k-3')
        ? Response.json({ error: { message: 'input was flagged', code: 'moderation' } }, { status: 403 })
        : next()
    const { options } = harness({ intercept: refuse })
    const summary = await new Ten(options({ forceDirect: true })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 9, failed: 1 })
  })

  test.each([401, 403])('%d stops the run at once and consumes nothing', async (status) => {
    let refuses = true
    const refuse: Intercept = async (request, next) =>
      refuses && isCall(request) ? Response.json({ error: { message: 'bad key' } }, { status }) : next()
    const { options, dir, count } = harness({ intercept: refuse })
    const run = new Ten(options({ forceDirect: true, directConcurrency: 2, maxRetries: 0 })).run()
    await expect(run).rejects.toMatchObject({
      code: 'not_allowed',
      message: expect.stringContaining('OPENAI_API_KEY'),
    })
    expect(count('POST', CHAT)).toBeLessThanOrEqual(2)
    expect(taskLines(dir, '_failed.jsonl')).toEqual([])
    refuses = false
    const summary = await new Ten(options({ forceDirect: true, maxRetries: 0 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, failed: 0 })
    expect(stepsOf(dir, 'uncertain')).toEqual([])
    expect(taskLines(dir, '_output.jsonl')).toContainEqual({ key: 'k-0', attempt: 1 })
  })

  test('401 for a batch stops the run, and a run with the right key goes on', async () => {
    const { options, clock } = harness({ apiKey: 'sk-right' })
    const run = new Ten(options()).run()
    await expect(run).rejects.toMatchObject({ status: 401 })
    const before = clock.now()
    const summary = await new Ten(options({ env: { OPENAI_API_KEY: 'sk-right' } })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10 })
    expect(clock.now() - before).toBeLessThan(60_000)
  })
})
