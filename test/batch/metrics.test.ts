import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { METRICS, taskMetrics } from '../../src/batch/metrics.ts'
import { OWN_METRICS } from '../../src/batch/own-metrics.ts'
import type { QueueFile } from '../../src/batch/queue-file.ts'
import { RESULT_METRICS, resultMetrics } from '../../src/batch/result-metrics.ts'
import { SHARED_METRICS } from '../../src/batch/shared-metrics.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'
import { requestCounts } from '../../src/requester/context.ts'
import { metricFacts } from '../support/metric-facts.ts'
import { renderMetricsMarkdown } from '../support/metrics-page.ts'
import { queueFile, queueFiles } from '../support/queue-files.ts'
import { tokensOf } from '../support/valuation.ts'

const stateWith = (files: readonly QueueFile[], over: Partial<TaskState> = {}): TaskState => ({
  ...initialState,
  files: new Map(files.map((file) => [file.id, file])),
  ...over,
})

test('docs/metrics.md is what the tables generate', async () => {
  const page = renderMetricsMarkdown({ shared: SHARED_METRICS, own: OWN_METRICS, results: RESULT_METRICS })
  await expect(page).toMatchFileSnapshot('../../docs/metrics.md')
})

test('no name is given twice, and all are of the form that dashboards group by', () => {
  const names = [...METRICS, ...RESULT_METRICS].map(({ name }) => name)
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
  expect(names.filter((name) => !/^[A-Z][a-z]+\/[a-z_]+$/.test(name))).toEqual([])
})

describe('the figures of a task', () => {
  test('have one of each name, but for those that are not known', () => {
    const unknown = ['Queue/pred_completion_ratio', 'Cost/cap_usd', 'Rate/requests_per_min']
    const names = METRICS.map(({ name }) => name)
    expect(Object.keys(taskMetrics(metricFacts()))).toEqual(names.filter((name) => !unknown.includes(name)))
    const open = queueFile('open', { tokens: { ...tokensOf(8), output: 5, mostOutput: 10 } })
    const all = taskMetrics(
      metricFacts({
        state: stateWith([open]),
        maxSpendNanoUsd: 4e9,
        requestsPerMinute: 30,
        isProducing: true,
      }),
    )
    expect(Object.keys(all)).toEqual(names)
    expect(all).toMatchObject({
      'Queue/pred_completion_ratio': 0.5,
      'Cost/cap_usd': 4,
      'Rate/requests_per_min': 30,
      'Generation/is_producing': 1,
    })
  })

  test('are those of its queue files', () => {
    const MIB = 1_048_576
    const files = [
      queueFile('open', { id: 1, requests: 7, bytes: MIB, tokens: tokensOf(1000, { requests: 7 }) }),
      queueFile('doubtful', { id: 2, requests: 20, live: 20, expectedNanoUsd: 2e9 }),
      queueFile('remote', { id: 3, requests: 30, live: 30, bytes: 2 * MIB, expectedNanoUsd: 3e9 }),
      queueFile('received', { id: 4, requests: 40, live: 5, expectedNanoUsd: 4e9 }),
      { ...queueFile('direct', { id: 5, requests: 50, live: 45 }), calls: { sent: 8, received: 10 } },
    ]
    const counters = { requests: 200, succeeded: 80, failed: 8, pending: 112 }
    const spending = { ...initialState.spending, sentRequests: 230 }
    const tally = { ...initialState.tally, batches: 9, directSets: 3, retries: 6, expired: 4 }
    const metrics = taskMetrics(
      metricFacts({
        state: stateWith(files, { counters, tally, spending, lastFile: 5 }),
        progress: new Map([[3, { completed: 11, failed: 2 }]]),
        samples: { committed: 90, succeeded: 40, failed: 8, mixed: 3 },
        uncommitted: 6,
        expectedNanoUsd: (file, api) => (api === 'direct' ? 2e9 : 1e9) * file.id,
      }),
    )
    expect(metrics).toMatchObject({
      'Task/samples_committed': 90,
      'Task/samples_responded': 45,
      'Task/samples_pending': 45,
      'Task/samples_mixed_success': 3,
      'Queue/pool_len': 6,
      'Queue/queue_len': 7,
      'Queue/num_requests': 13,
      'Queue/json_size_mb': 1,
      'Queue/input_ktok': 1,
      'Queue/pred_cost_direct': 2,
      'Queue/pred_cost_batch': 1,
      // 230 were sent; the 30 and 40 of two batches are not done with.
      'Metrics/num_requests': 160,
      'Pushed/task_requests': 230,
      'Batch/max_batch_id': 5,
      'Batch/num_total': 10,
      'Batch/num_completed': 7,
      'Batch/num_ongoing': 3,
      'Batch/num_unpushed': 1,
      'Batch/num_remote': 2,
      'Batch/ongoing_requests': 90,
      'Batch/ongoing_pred_cost': 9,
      'Batch/remote_requests': 70,
      'Batch/remote_requests_completed': 11,
      'Batch/remote_requests_failed': 2,
      'Batch/remote_requests_running': 57,
      'Direct/num_completed': 2,
      'Requests/total': 200,
      'Requests/pending': 112,
      'Requests/in_flight': 38,
      'Requests/queued': 59,
      'Requests/retries': 6,
      'Requests/expired': 4,
    })
  })

  test('do not say how far batches are before the server has told it of all', () => {
    const told = (...files: readonly QueueFile[]) => {
      const all = taskMetrics(metricFacts({ state: stateWith(files), progress: new Map([[1, HALF]]) }))
      return ['completed', 'failed', 'running'].map((name) => all[`Batch/remote_requests_${name}`])
    }
    const HALF = { completed: 4, failed: 1 }
    const known = queueFile('remote', { id: 1, requests: 10 })
    const unknown = [undefined, undefined, undefined]
    expect(told()).toEqual([0, 0, 0])
    expect(told(known)).toEqual([4, 1, 5])
    expect(told(known, queueFile('remote', { id: 2 }))).toEqual(unknown)
    // After a restart nobody asks again for batches that are back.
    const received = queueFile('received', { id: 2, requests: 10 })
    const isBack = { outputFileId: 'file-out', answers: 9 }
    if (received.phase !== 'received') throw new Error('it is received')
    expect(told(known, { ...received, ...isBack })).toEqual([13, 2, 5])
    expect(told(known, { ...queueFile('ended', { id: 2 }), ...isBack })).toEqual(unknown)
    expect(told(known, queueFile('ended', { id: 2, requests: 10 }))).toEqual([4, 1, 15])
  })

  test('say what was used and paid, and what of it in this run', () => {
    const before = { ...initialState.spending, sentRequests: 5, sentInputTokens: 500, sentNanoUsd: 1e9 }
    const spending = {
      ...before,
      ...{ sentRequests: 25, sentInputTokens: 2500, sentNanoUsd: 4e9 },
      ...{ inputTokens: 3000, cachedInputTokens: 1000, outputTokens: 500, reasoningTokens: 200 },
      ...{ costNanoUsd: 10e9, directNanoUsd: 3e9, flexNanoUsd: 1e9, listNanoUsd: 18e9, savedNanoUsd: 2e9 },
      ...{ expectedNanoUsd: 11e9, comparedNanoUsd: 9e9, uncertainNanoUsd: 5e8, reusedReplies: 4 },
    }
    expect(taskMetrics(metricFacts({ state: stateWith([], { spending }), before }))).toMatchObject({
      'Pushed/task_requests': 25,
      'Pushed/session_requests': 20,
      'Pushed/session_input_ktok': 2,
      'Pushed/session_pred_cost': 3,
      'Usage/prompt_ktok': 3,
      'Usage/prompt_ktok_cached': 1,
      'Usage/completion_ktok_reasoning': 0.2,
      'Usage/total_ktok': 3.5,
      'Metrics/cost': 10,
      'Cost/spent_usd': 10,
      'Cost/batch_usd': 6,
      'Cost/direct_usd': 3,
      'Cost/flex_usd': 1,
      'Cost/saved_usd': 8,
      'Cost/reuse_saved_usd': 2,
      'Cost/expected_usd': 11,
      'Cost/compared_usd': 9,
      'Cost/uncertain_usd': 0.5,
      'Requests/reused': 4,
    })
  })

  test('count requests as everything else does, whatever files there are', () => {
    fc.assert(
      fc.property(queueFiles(), fc.nat(50), (files, waiting) => {
        const pending = waiting + files.reduce((sum, { live }) => sum + live, 0)
        const state = stateWith(files, { counters: { requests: pending, succeeded: 0, failed: 0, pending } })
        const { queued, inFlight } = requestCounts(state)
        const metrics = taskMetrics(metricFacts({ state }))
        expect(metrics).toMatchObject({ 'Requests/queued': queued, 'Requests/in_flight': inFlight })
        expect(Object.values(metrics).filter((value) => !Number.isFinite(value))).toEqual([])
      }),
      { numRuns: 200 },
    )
  })

  test('have the parameters that can be told, and none that may be secret', () => {
    const params = {
      model: 'gpt-5-mini',
      temperature: 0.5,
      strict: true,
      max_tokens: 300,
      text: 'x'.repeat(900),
      list: [1],
      none: null,
      nan: Number.NaN,
      apiKey: 'sk-1',
      'api-key': 'sk-2',
      client_secret: 's',
      dbPassword: 'p',
      accessToken: 't',
      openai_key: 'k',
      hfToken: 't',
      server: 'https://me:pass@host/v1',
      ['n'.repeat(101)]: 1,
    }
    const metrics = taskMetrics(metricFacts({ state: stateWith([], { params: [{ model: 'old' }, params] }) }))
    expect(
      Object.fromEntries(Object.entries(metrics).filter(([name]) => name.startsWith('TaskMeta/'))),
    ).toEqual({
      'TaskMeta/model': 'gpt-5-mini',
      'TaskMeta/temperature': 0.5,
      'TaskMeta/strict': 1,
      'TaskMeta/max_tokens': 300,
      'TaskMeta/text': 'x'.repeat(500),
      'TaskMeta/server': 'https://…@host/v1',
    })
  })

  test('have a hundred parameters at most', () => {
    const params = Object.fromEntries(Array.from({ length: 150 }, (_, index) => [`p${index}`, index]))
    const metrics = taskMetrics(metricFacts({ state: stateWith([], { params: [params] }) }))
    expect(Object.keys(metrics).filter((name) => name.startsWith('TaskMeta/'))).toHaveLength(100)
  })
})

describe('the figures of what is done', () => {
  const results = {
    ...{ succeeded: 6, failed: 1, retried: 2, expired: 3, untried: 1, costNanoUsd: 5e8 },
    usage: { input: 4000, cachedInput: 1000, cacheWrite: 0, output: 300, reasoning: 100 },
  }

  test('are those of a batch', () => {
    const file = queueFile('received', { id: 4, requests: 13, results, expectedNanoUsd: 1e9 })
    if (file.phase !== 'received') throw new Error('it is received')
    expect(resultMetrics({ file: { ...file, tookMs: 5_400_000 } })).toEqual({
      'Result/batch_id': 4,
      'Result/direct_batch': 0,
      'Result/duration_hours': 1.5,
      'Result/num_batch_errors': 0,
      'Result/num_requests': 13,
      'Result/num_expired': 3,
      'Result/num_retry': 2,
      'Result/num_succeeded': 6,
      'Result/num_failed': 1,
      'Result/num_untried': 1,
      'Result/model': 'm',
      'Result/status': 'completed',
      'Result/cost_usd': 0.5,
      'Result/expected_usd': 1,
      'Result/prompt_ktok': 4,
      'Result/prompt_ktok_cached': 1,
      'Result/completion_ktok': 0.3,
      'Result/completion_ktok_reasoning': 0.1,
    })
  })

  test('of direct calls have the time that the run has taken for them, if it knows', () => {
    const file = queueFile('direct', { requests: 13, results })
    if (file.phase !== 'direct') throw new Error('it is direct')
    const told = resultMetrics({ file, directMs: 360_000 })
    expect(told).toMatchObject({
      'Result/direct_batch': 1,
      'Result/duration_hours': 0.1,
      'Result/status': 'direct',
    })
    expect(resultMetrics({ file })).not.toHaveProperty('Result/duration_hours')
  })
})
