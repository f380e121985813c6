import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import type { Intercept } from '../../src/emulator/index.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, kindOf, names, stepsOf, taskLines } from '../support/task-harness.ts'

const HOUR = 3_600_000

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key, attempt }: TaskResponse) {
    return accept({ key, attempt })
  }
}

const slowPolls = { remoteUpdateInterval: 3600 }

describe('a batch that expires', () => {
  test('keeps its answers, and asks again for the rest without using up an attempt', async () => {
    // Half of the requests are answered within the 24 hours.
    const { options, dir } = harness({ latency: { runMs: 0, perRequestMs: 4.8 * HOUR } })
    const summary = await new Ten(options({ ...slowPolls, maxRetries: 0 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, failed: 0, retries: 0 })
    const lines = taskLines<{ key: string; attempt: number }>(dir, '_output.jsonl')
    expect(lines.map(({ key }) => key).sort()).toEqual(names(10))
    expect(lines.every(({ attempt }) => attempt === 1)).toBe(true)
    const [first] = stepsOf(dir, 'requeue')
    expect(first).toMatchObject({ why: 'expired', reason: expect.stringContaining('batch_expired') })
    expect(summary.batches).toBeGreaterThanOrEqual(2)
  })

  test('again and again makes its requests fail in the end', async () => {
    const { options, dir, count } = harness({ latency: { runMs: 1000 * HOUR } })
    const summary = await new Ten(options({ ...slowPolls, maxExpiries: 2 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 0, failed: 10, retries: 0, batches: 3 })
    expect(count('POST', '/v1/batches')).toBe(3)
    for (const line of taskLines(dir, '_failed.jsonl'))
      expect(line).toMatchObject({
        attempts: 1,
        reason: expect.stringContaining('(expired or was cancelled 3 times)'),
      })
  })

  test('does not count as a batch without usable answers', async () => {
    const { options } = harness({ latency: { runMs: 1000 * HOUR } })
    const summary = await new Ten(options({ ...slowPolls, maxExpiries: 4, maxPassFailures: 1 })).run()
    expect(summary).toMatchObject({ outcome: 'complete', failed: 10, batches: 5 })
  })
})

describe('a batch that somebody else cancels', () => {
  test('keeps its answers, and asks again for the rest without using up an attempt', async () => {
    let meddled = false
    const meddle: Intercept = async (request, next) => {
      const response = await next()
      const batch = /^\/v1\/batches\/(batch_\w+)$/.exec(kindOf(request).path)?.[1]
      if (!batch || meddled) return response
      meddled = true
      await emulator.fetch(`http://console.test/v1/batches/${batch}/cancel`, { method: 'POST' })
      return response
    }
    const { emulator, options, dir, events } = harness({
      intercept: meddle,
      latency: { runMs: 0, perRequestMs: 1000 },
    })
    const summary = await new Ten(options({ maxRetries: 0, remoteUpdateInterval: 5 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 10, failed: 0, retries: 0, batches: 2 })
    const ended = stepsOf(dir, 'ended')
    expect(ended.map(({ status }) => status)).toEqual(['cancelled', 'completed'])
    for (const { tookMs } of ended) expect(tookMs).toBeGreaterThan(0)
    const told = events.find((event) => event.kind === 'batch-changed' && event.status === 'in_progress')
    expect(told).toMatchObject({ createdMs: expect.any(Number), sinceMs: expect.any(Number) })
    expect(stepsOf(dir, 'requeue').every(({ why }) => why === 'cancelled')).toBe(true)
    expect(new Set(taskLines<{ key: string }>(dir, '_output.jsonl').map(({ key }) => key)).size).toBe(10)
  })

  test('does not count as a batch without usable answers', async () => {
    const { options } = harness({ scenario: { faults: [{ fault: 'batch-end', as: 'cancelled' }] } })
    const summary = await new Ten(options({ maxExpiries: 3, maxPassFailures: 1 })).run()
    expect(summary).toMatchObject({ outcome: 'complete', failed: 10, batches: 4 })
  })
})
