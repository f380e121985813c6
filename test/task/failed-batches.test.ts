import { describe, expect, test } from 'vitest'
import { accept, reject } from '../../src/batch/verdict.ts'
import { httpAnswer, type Intercept } from '../../src/emulator/index.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, kindOf, names, questionOf, stepsOf, taskLines } from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse) {
    return accept(key)
  }
}

interface Fault {
  readonly code: string
  readonly message: string
  readonly line: number | null
}

interface MadeBatch {
  readonly id: string
  readonly created_at: number
}

/** The first batches end as `failed`, with these errors, as far as anybody who looks can tell. */
function failing(errors: readonly Fault[], howMany = 1): Intercept {
  const victims = new Set<string>()
  let created = 0
  return async (request, next) => {
    const response = await next()
    const { method, path } = kindOf(request)
    const isCreate = method === 'POST' && path === '/v1/batches'
    if (isCreate && created++ < howMany) victims.add(JSON.parse(await response.clone().text()).id)
    if (method !== 'GET' || !path.startsWith('/v1/batches')) return response
    const body = JSON.parse(await response.text())
    const spoil = (batch: MadeBatch) => (victims.has(batch.id) ? failed(batch) : batch)
    return Response.json(body.data ? { ...body, data: body.data.map(spoil) } : spoil(body))
  }
  function failed(batch: MadeBatch) {
    const counts = { total: 0, completed: 0, failed: 0 }
    const files = { output_file_id: null, error_file_id: null, request_counts: counts }
    const end = { status: 'failed', failed_at: batch.created_at + 90 }
    return { ...batch, ...files, ...end, errors: { object: 'list', data: errors } }
  }
}

const badLine = { code: 'invalid_request', message: 'This line is not acceptable', line: 4 }
const forbidden = { code: 'model_not_found', message: 'This model cannot be batched', line: null }

describe('a batch refused for some of its lines', () => {
  test('lets those lines fail alone, and the others go again', async () => {
    const { options, dir } = harness({ intercept: failing([badLine]) })
    const summary = await new Ten(options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 9, failed: 1, retries: 0, batches: 2 })
    expect(taskLines(dir, '_failed.jsonl')).toMatchObject([
      { key: 'k-3', reason: 'invalid_request: the batch failed: This line is not acceptable', attempts: 1 },
    ])
    expect(taskLines(dir, '_output.jsonl')).toEqual(names(10).filter((key) => key !== 'k-3'))
    expect(stepsOf(dir, 'requeue').map(({ why }) => why)).toEqual(['healed'])
  })

  test('that is its only line blocks that batch, while the batch of another model goes on', async () => {
    const { options, dir } = harness({ strictModels: true, models: ['gpt-5-mini'] })
    class OneOdd extends Ten {
      override *generateRequests() {
        for (const key of names(10)) yield { key, body: { ...ask(key), n: 1 } }
        yield { key: 'odd', body: ask('odd', 'gpt-5-nano') }
      }
    }
    const summary = await new OneOdd(options({ costInputDirectMtoken: 1, costOutputDirectMtoken: 1 })).run()
    expect(summary).toMatchObject({ outcome: 'failed-batches', succeeded: 10, pending: 1 })
    expect(summary.details.join()).toContain('gpt-5-nano')
    expect(taskLines(dir, '_output.jsonl')).toEqual(names(10))
  })
})

describe('a batch refused as a whole', () => {
  test('blocks its requests and ends the run as incomplete, with the reason', async () => {
    const { options, warnings, count } = harness({ intercept: failing([forbidden], 99) })
    const summary = await new Ten(options()).run()
    expect(summary).toMatchObject({ complete: false, outcome: 'failed-batches', pending: 10, failed: 0 })
    expect(summary.details).toEqual(['model_not_found: This model cannot be batched'])
    expect(warnings('batch_failed')[0]).toContain('--process-failed-batches')
    expect(warnings('batch_failed')[0]).toMatch(/^batch 1 \(batch_\w+\) failed: model_not_found/)
    expect(count('POST', '/v1/batches')).toBe(1)
  })

  test('does not hold up other batches', async () => {
    const { options, dir } = harness({ intercept: failing([forbidden]) })
    const summary = await new Ten(options({ maxBatchRequests: 4 })).run()
    expect(summary).toMatchObject({ outcome: 'failed-batches', succeeded: 6, pending: 4 })
    expect(taskLines(dir, '_output.jsonl')).toHaveLength(6)
  })

  test('stays blocked in the next run, until processFailedBatches lets its requests fail', async () => {
    const { options, dir, count, events } = harness({ intercept: failing([forbidden]) })
    await new Ten(options()).run()
    expect(await new Ten(options()).run()).toMatchObject({ outcome: 'failed-batches', pending: 10 })
    expect(count('POST', '/v1/batches')).toBe(1)
    const summary = await new Ten(options({ processFailedBatches: 1 })).run()
    expect(summary).toMatchObject({ complete: true, failed: 10, pending: 0 })
    const result = events.find((event) => event.kind === 'batch-result')
    expect(result?.metrics).toMatchObject({
      'Result/status': 'failed',
      'Result/duration_hours': 0.025,
    })
    const reason = 'model_not_found: the batch failed: This model cannot be batched'
    expect(taskLines(dir, '_failed.jsonl')).toEqual(
      names(10).map((key) => expect.objectContaining({ key, reason })),
    )
  })

  test('is finished for so many batches as processFailedBatches says', async () => {
    const { options } = harness({ intercept: failing([forbidden], 99) })
    const summary = await new Ten(options({ maxBatchRequests: 2, processFailedBatches: 3 })).run()
    expect(summary).toMatchObject({ outcome: 'failed-batches', failed: 6, pending: 4 })
    const rest = await new Ten(options({ maxBatchRequests: 2, processFailedBatches: -1 })).run()
    expect(rest).toMatchObject({ complete: true, failed: 10, pending: 0 })
  })

  test('because the account is full waits, and goes again as it is without using up an attempt', async () => {
    const { options, dir, clock } = harness({
      limits: { enqueuedTokens: 800 },
      latency: { validateMs: 100, runMs: 20_000, perRequestMs: 0 },
    })
    class Wordy extends Ten {
      override *generateRequests() {
        for (const key of names(10)) yield { key, body: ask(key.padEnd(400)) }
      }
    }
    const before = clock.now()
    const summary = await new Wordy(options({ maxBatchRequests: 5, maxRetries: 0 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, failed: 0, retries: 0 })
    const abandoned = stepsOf(dir, 'abandoned')
    expect(abandoned.length).toBeGreaterThanOrEqual(1)
    expect(abandoned.every(({ why }) => String(why).startsWith('token_limit_exceeded'))).toBe(true)
    expect(stepsOf(dir, 'requeue')).toEqual([])
    expect(clock.now() - before).toBeGreaterThanOrEqual(30_000)
    expect(stepsOf(dir, 'created').length).toBe(2 + abandoned.length)
  })

  test('because the account is full for ever is given up after maxWait', async () => {
    const full = { code: 'token_limit_exceeded', message: 'Enqueued token limit reached', line: null }
    const { options } = harness({ intercept: failing([full], Number.POSITIVE_INFINITY) })
    const summary = await new Ten(options({ maxWait: 600 })).run()
    expect(summary).toMatchObject({ outcome: 'failed-batches', pending: 10, failed: 0 })
    expect(summary.details.join()).toContain('Enqueued token limit')
  })
})

describe('batches that bring too few usable answers', () => {
  const hopeless = httpAnswer(400, { error: { message: 'no', type: 'invalid_request_error', code: 'nope' } })

  test('one after another stop the run, which can be gone on with', async () => {
    const { options, count, warnings } = harness({ answer: () => hopeless })
    const limits = { maxBatchRequests: 2, maxRemoteBatches: 1, maxPassFailures: 2 }
    const summary = await new Ten(options(limits)).run()
    expect(summary).toMatchObject({ complete: false, outcome: 'pass-ratio' })
    expect(summary.failed).toBeGreaterThanOrEqual(4)
    expect(summary.pending).toBeGreaterThanOrEqual(2)
    expect(count('POST', '/v1/batches')).toBeLessThanOrEqual(3)
    expect(warnings('pass_ratio')).toHaveLength(1)
    const next = await new Ten(options(limits)).run()
    expect(next.failed).toBeGreaterThan(summary.failed)
  })

  test('do not stop it when a good one comes between', async () => {
    const good = new Set(names(10).filter((_, at) => at % 4 < 2))
    const { options } = harness({ answer: (request) => (good.has(questionOf(request)) ? 'fine' : hopeless) })
    const limits = { maxBatchRequests: 2, maxRemoteBatches: 1, maxPassFailures: 2 }
    expect(await new Ten(options(limits)).run()).toMatchObject({
      outcome: 'complete',
      succeeded: 6,
      failed: 4,
    })
  })

  test.each([
    [0.5, 'complete'],
    [0.6, 'pass-ratio'],
  ])('are measured by minPassRatio: half of them good with %d gives %s', async (minPassRatio, outcome) => {
    const { options } = harness()
    class Half extends Ten {
      override processResponse({ key }: TaskResponse) {
        return Number(key.at(-1)) % 2 === 0 ? accept(key) : reject('odd')
      }
    }
    const summary = await new Half(options({ minPassRatio, maxBatchRequests: 2, maxPassFailures: 3 })).run()
    expect(summary).toMatchObject({ outcome })
  })
})
