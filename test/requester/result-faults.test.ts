import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import type { Intercept, Scenario } from '../../src/emulator/index.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { moments } from '../support/money-world.ts'
import {
  ask,
  type Harness,
  harness,
  kindOf,
  names,
  questionOf,
  stepsOf,
  taskLines,
} from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key, text, attempt }: TaskResponse) {
    return accept({ key, text, attempt })
  }
}

const isContent = (request: Request): boolean => /^\/v1\/files\/[\w-]+\/content$/.test(kindOf(request).path)
const isLookAtFile = (request: Request): boolean =>
  request.method === 'GET' && /^\/v1\/files\/[\w-]+$/.test(kindOf(request).path)
const isPoll = (request: Request): boolean => {
  const { method, path } = kindOf(request)
  return method === 'GET' && path.startsWith('/v1/batches')
}

/** Another text in place of the first that is downloaded; how long it is nobody says. */
function rewriting(rewrite: (lines: string[]) => string): Intercept {
  let rewritten = false
  return async (request, next) => {
    const response = await next()
    if (isLookAtFile(request)) return Response.json({ ...JSON.parse(await response.text()), bytes: null })
    if (rewritten || !isContent(request)) return response
    rewritten = true
    return new Response(rewrite((await response.text()).trimEnd().split('\n')))
  }
}

type Fault = Scenario['faults'][number]
const CUT = {
  fault: 'http-cut',
  route: 'GET /v1/files/{id}/content',
  bytes: 1_500,
  contentLength: false,
  ends: 'clean',
} as const

/** Polls see batches as `change` makes them. */
const polling =
  (change: (batch: { status: string }) => object): Intercept =>
  async (request, next) => {
    const response = await next()
    if (!isPoll(request)) return response
    const body = JSON.parse(await response.text())
    return Response.json(body.data ? { ...body, data: body.data.map(change) } : change(body))
  }

const good = (attempts: Record<string, number> = {}) =>
  names(10).map((key) => ({ key, text: key, attempt: attempts[key] ?? 1 }))
const sorted = (dir: string) =>
  taskLines<{ key: string }>(dir, '_output.jsonl').sort((a, b) => a.key.localeCompare(b.key))

describe('a download', () => {
  test('that is cut in the middle is repeated from the beginning', async () => {
    let cuts = 0
    const intercept: Intercept = async (request, next) => {
      const response = await next()
      if (!isContent(request) || cuts++ >= 2) return response
      const text = await response.text()
      const half = new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(text.slice(0, text.length / 2)))
        },
        pull(controller) {
          controller.error(new TypeError('terminated'))
        },
      })
      return new Response(half, { headers: response.headers })
    }
    const { options, dir } = harness({ answer: questionOf, intercept })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
    expect(cuts).toBe(3)
    expect(sorted(dir)).toEqual(good())
  })

  test('that ends early without a word is noticed by its length', async () => {
    let cuts = 0
    const intercept: Intercept = async (request, next) => {
      const response = await next()
      if (!isContent(request) || cuts++ >= 1) return response
      const text = await response.text()
      return new Response(text.slice(0, text.length / 2), { headers: response.headers })
    }
    const { options, dir } = harness({ answer: questionOf, intercept })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
    expect(sorted(dir)).toEqual(good())
  })

  test('that ends early without any length is noticed by that of the file', async () => {
    const faults: Fault[] = [{ ...CUT, when: { nth: 1 } }]
    const { options, dir, warnings } = harness({ answer: questionOf, scenario: { faults } })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
    expect(sorted(dir)).toEqual(good())
    expect(warnings('short_download')).toEqual([])
  })

  test('that is equally short each time is taken as it is', async () => {
    const faults: Fault[] = [{ ...CUT, when: { first: 3 } }]
    const { options, dir, warnings, count } = harness({ answer: questionOf, scenario: { faults } })
    const summary = await new Ten(options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, batches: 2 })
    expect(summary.retries).toBeGreaterThan(0)
    expect(count('GET', /content$/)).toBe(4)
    expect(warnings('short_download')).toHaveLength(1)
    expect(taskLines(dir, '_output.jsonl')).toHaveLength(10)
  })

  test('of answers that are gone stops the run, says what it costs, and keeps all pending', async () => {
    let gone = true
    const intercept: Intercept = async (request, next) =>
      gone && isContent(request)
        ? Response.json({ error: { message: 'No such File' } }, { status: 404 })
        : next()
    const { options, dir } = harness({ answer: questionOf, intercept })
    const run = new Ten(options()).run()
    await expect(run).rejects.toMatchObject({
      code: 'answers_gone',
      message: expect.stringContaining('10 requests'),
    })
    gone = false
    expect(await new Ten(options()).run()).toMatchObject({
      complete: true,
      succeeded: 10,
      retries: 0,
      batches: 1,
    })
    expect(sorted(dir)).toEqual(good())
  })
})

describe('an output file', () => {
  test('may lack a line: that request is asked again', async () => {
    const drop = rewriting((lines) => lines.filter((line) => !line.includes('"r3-0"')).join('\n'))
    const { options, dir } = harness({ answer: questionOf, intercept: drop })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, retries: 1 })
    expect(stepsOf(dir, 'requeue')).toMatchObject([
      { why: 'retry', reason: expect.stringContaining('missing_line') },
    ])
    expect(sorted(dir)).toEqual(good({ 'k-2': 2 }))
  })

  test('may hold lines of nobody, lines twice and lines that are no JSON: they are set aside and told', async () => {
    const spoil = rewriting((lines) => {
      const [first = ''] = lines
      const twice = first.replace('"content":"', '"content":"changed ')
      const foreign = first.replace(/"custom_id":"[^"]+"/, '"custom_id":"request-77"')
      return [...lines, twice, foreign, '{"custom_id":', '', '[1,2]'].join('\n')
    })
    const { options, dir, warnings } = harness({ answer: questionOf, intercept: spoil })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
    expect(warnings('odd_lines')[0]).toContain('4 result lines')
    expect(sorted(dir)).toEqual(good())
  })

  test('counts what every answer cost, also of those that are set aside, but none twice', async () => {
    const costWith = async (rewrite: (lines: string[]) => string) => {
      const { options } = harness({ answer: questionOf, intercept: rewriting(rewrite) })
      return (await new Ten(options()).run()).cost
    }
    const foreign = (line: string, at: number) =>
      line.replace(/"custom_id":"[^"]+"/, `"custom_id":"request-${at}"`)
    const cost = await costWith((lines) => lines.join('\n'))
    expect(cost).toBeGreaterThan(0)
    expect(await costWith((lines) => [...lines, ...lines.map(foreign)].join('\n'))).toBeCloseTo(2 * cost, 12)
    const twice = (lines: string[]) => [...lines, ...lines.map(foreign), ...lines, ...lines.map(foreign)]
    expect(await costWith((lines) => twice(lines).join('\n'))).toBeCloseTo(2 * cost, 12)
  })

  test('of 0 bytes means that all is asked again', async () => {
    const { options, dir } = harness({ answer: questionOf, intercept: rewriting(() => '') })
    expect(await new Ten(options()).run()).toMatchObject({
      complete: true,
      succeeded: 10,
      retries: 10,
      batches: 2,
    })
    expect(sorted(dir).every((line) => 'attempt' in line && line.attempt === 2)).toBe(true)
  })

  test('without a last line break runs not into the error file', async () => {
    const answer = (request: Parameters<typeof questionOf>[0] & { attempt: number }) => {
      if (questionOf(request) === 'k-5' && request.attempt === 0) throw new Error('broken')
      return questionOf(request)
    }
    const { options, dir, count } = harness({ answer, intercept: rewriting((lines) => lines.join('\n')) })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, retries: 1 })
    expect(count('GET', /content$/)).toBe(3)
    expect(sorted(dir)).toEqual(good({ 'k-5': 2 }))
  })

  test('may hold every character there is in an answer, line separators included', async () => {
    const odd = 'a\u2028b\u2029c\r\nd\u0000e\u0085f"\\ \ud83c\udf19 \ufeff'
    const { options, dir } = harness({ answer: () => odd })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
    for (const { text } of taskLines<{ text: string }>(dir, '_output.jsonl')) expect(text).toBe(odd)
    expect(await new Ten(options({ name: 'directly', forceDirect: true })).run()).toMatchObject({
      succeeded: 10,
    })
  })
})

describe('a batch that has ended', () => {
  test('may name its files a little later', async () => {
    let looks = 0
    const slow = polling((batch) =>
      batch.status === 'completed' && looks++ < 3
        ? { ...batch, output_file_id: null, error_file_id: null }
        : batch,
    )
    const { options, dir } = harness({ answer: questionOf, intercept: slow })
    expect(await new Ten(options()).run()).toMatchObject({
      complete: true,
      succeeded: 10,
      retries: 0,
      batches: 1,
    })
    expect(sorted(dir)).toEqual(good())
  })

  test('may leave out the fields of files it has not', async () => {
    const terse = polling((batch) => JSON.parse(JSON.stringify(batch, (_, value) => value ?? undefined)))
    const { options } = harness({ answer: questionOf, intercept: terse })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, retries: 0 })
  })

  test('without any file for good makes its requests fail with a reason', async () => {
    const none = polling((batch) => ({ ...batch, output_file_id: null, error_file_id: null }))
    const { options, dir } = harness({ intercept: none })
    expect(await new Ten(options({ maxRetries: 1 })).run()).toMatchObject({
      complete: true,
      failed: 10,
      batches: 2,
    })
    for (const line of taskLines(dir, '_failed.jsonl'))
      expect(line).toMatchObject({ attempts: 2, reason: expect.stringMatching(/^missing_line: /) })
  })
})

describe('polling', () => {
  test('goes on over failures of the server', async () => {
    let failures = 0
    const intercept: Intercept = async (request, next) =>
      isPoll(request) && failures++ < 7
        ? Response.json({ error: {} }, { status: 503, headers: { 'retry-after-ms': '1' } })
        : next()
    const { options } = harness({ intercept })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10 })
  })

  test('takes a status it does not know for unfinished', async () => {
    let polls = 0
    const odd = polling((batch) => (polls++ < 3 ? { ...batch, status: 'pondering' } : batch))
    const { options, dir } = harness({ intercept: odd })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(stepsOf(dir, 'remote').map(({ status }) => status)).toContain('pondering')
  })

  test('of a batch that the server does not know stops the run and says what can be done', async () => {
    let unknown = true
    const intercept: Intercept = async (request, next) =>
      unknown && isPoll(request)
        ? Response.json({ error: { message: 'No batch found' } }, { status: 404 })
        : next()
    const { options } = harness({ intercept })
    const run = new Ten(options()).run()
    await expect(run).rejects.toMatchObject({
      code: 'batch_gone',
      message: expect.stringContaining('--wipe-requests'),
    })
    unknown = false
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10, batches: 1 })
  })

  test('of many batches needs fewer calls than batches', async () => {
    const { options, count } = harness({ latency: { runMs: 60_000 } })
    class Many extends Ten {
      override *generateRequests() {
        for (const key of names(40)) yield { key, body: ask(key) }
      }
    }
    const small = { maxBatchRequests: 4, remoteUpdateInterval: 10 }
    expect(await new Many(options(small)).run()).toMatchObject({ complete: true, batches: 10 })
    expect(count('GET', /^\/v1\/batches/)).toBeLessThan(20)
  })
})

describe('file ids that come late', () => {
  const late = (file: 'output' | 'error' | 'both'): Fault => ({
    fault: 'batch-file-id',
    file,
    is: 'null',
    looks: 2,
    when: { nth: 1 },
  })
  const bad: Fault = { fault: 'reply-status', status: 400, error: { message: 'Bad.' }, contains: 'k-3' }

  test.each(['output', 'error', 'both'] as const)(
    'are waited for when the other file is there already (late: %s)',
    async (file) => {
      const { options, count, dir } = harness({
        answer: questionOf,
        scenario: { faults: [late(file), bad] },
      })
      expect(await new Ten(options()).run()).toMatchObject({ succeeded: 9, failed: 1, retries: 0 })
      expect(count('POST', '/v1/batches')).toBe(1)
      expect(stepsOf(dir, 'rejected')).toMatchObject([{ reason: expect.stringContaining('Bad.') }])
    },
  )

  test.each([
    ['expired', 'expired'],
    ['cancelled', 'cancelled'],
    ['failed', 'retry'],
  ] as const)('of a batch that is %s bring the answers that it has', async (as, why) => {
    const end: Fault = { fault: 'batch-end', as, answered: 0.5, when: { nth: 1 } }
    const { options, dir } = harness({ answer: questionOf, scenario: { faults: [end, late('both')] } })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    const again = stepsOf(dir, 'requeue')
    expect(again.map((step) => step.why)).toEqual([why])
    expect(again.flatMap(({ requests }) => requests)).toHaveLength(5)
  })
})

test('a batch that failed for want of room, with an error file without a line, is sent again', async () => {
  const full = [{ code: 'token_limit_exceeded', message: 'Enqueued token limit reached.' }]
  const failed: Fault = { fault: 'batch-end', as: 'failed', errors: full, when: { nth: 1 } }
  const named = polling((batch) =>
    batch.status === 'failed' ? { ...batch, error_file_id: 'file-0' } : batch,
  )
  const intercept: Intercept = async (request, next) =>
    kindOf(request).path === '/v1/files/file-0/content' ? new Response('') : named(request, next)
  const { options, dir } = harness({ answer: questionOf, intercept, scenario: { faults: [failed] } })
  expect(await new Ten(options()).run()).toMatchObject({
    complete: true,
    succeeded: 10,
    failed: 0,
    retries: 0,
  })
  expect(stepsOf(dir, 'abandoned')).toHaveLength(1)
  expect(sorted(dir)).toEqual(good())
})

describe('a batch that the server does not know', () => {
  /** A run that ends when its batch is at the server. */
  async function stoppedAtBatch(options: Harness['options']): Promise<void> {
    const stop = new AbortController()
    const onEvent = (event: object) => void ('remoteId' in event && stop.abort())
    await new Ten(options({ stop: stop.signal, reporters: [{ onEvent }] })).run()
  }

  const unknown = (ms: number): Fault => ({ fault: 'listing-lag', what: 'batch', from: ['list', 'get'], ms })

  test('is waited for when it is new', async () => {
    const { options, count } = harness({ answer: questionOf, scenario: { faults: [unknown(20_000)] } })
    expect(await new Ten(options()).run()).toMatchObject({ complete: true, succeeded: 10 })
    expect(count('POST', '/v1/batches')).toBe(1)
  })

  test('is waited for, and then cancelled, by a wipe too', async () => {
    let left = 2
    const intercept: Intercept = async (request, next) =>
      isWiping && request.url.includes('/batches/') && left-- > 0
        ? Response.json({ error: { message: 'No batch found' } }, { status: 404 })
        : next()
    let isWiping = false
    const { options, emulator } = harness({ intercept, latency: { runMs: 3_600_000 } })
    await stoppedAtBatch(options)
    isWiping = true
    expect(await new Ten(options({ wipeRequests: true, run: false })).run()).toMatchObject({ pending: 0 })
    const batches = await emulator.fetch('http://console.test/v1/batches')
    expect(await batches.json()).toMatchObject({ data: [{ status: 'cancelled' }] })
  })

  test('is charged what was set aside for it when a wipe gives it up', async () => {
    const intercept: Intercept = async (request, next) =>
      isWiping && request.url.includes('/batches/')
        ? Response.json({ error: { message: 'No batch found' } }, { status: 404 })
        : next()
    let isWiping = false
    const { options, dir } = harness({ intercept, latency: { runMs: 3_600_000 } })
    await stoppedAtBatch(options)
    isWiping = true
    const wipe = { wipeRequests: true, run: false, maxSpend: 1 }
    expect(await new Ten(options(wipe)).run()).toMatchObject({ pending: 0 })
    const [reserve] = stepsOf(dir, 'reserve')
    expect(reserve?.reserved).toBeGreaterThan(0)
    const budget = { uncertainNanoUsd: reserve?.reserved, reservedNanoUsd: 0 }
    expect(moments(dir).moments.at(-1)).toMatchObject(budget)
  })

  test('is gone when it stays unknown for the whole grace', async () => {
    const { options, clock } = harness({ answer: questionOf, scenario: { faults: [unknown(1e9)] } })
    const begin = clock.now()
    await expect(new Ten(options()).run()).rejects.toMatchObject({ code: 'batch_gone' })
    expect(clock.now() - begin).toBeGreaterThanOrEqual(30_000)
  })
})
