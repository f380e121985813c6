import { describe, expect, test } from 'vitest'
import { accept } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, names, stepsOf, taskLines } from '../support/task-harness.ts'

class Twenty extends TaskManager {
  *generateRequests() {
    for (const key of names(20)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse) {
    return accept(key)
  }
}

describe('limits of what is sent', () => {
  test('maxSessionRequests stops a run, and the next one goes on from there', async () => {
    const { options } = harness()
    const limits = { maxBatchRequests: 4, maxSessionRequests: 10 }
    const first = await new Twenty(options(limits)).run()
    expect(first).toMatchObject({ complete: false, outcome: 'limits', succeeded: 8, pending: 12 })
    const second = await new Twenty(options(limits)).run()
    expect(second).toMatchObject({ outcome: 'limits', succeeded: 16, pending: 4 })
    expect(await new Twenty(options(limits)).run()).toMatchObject({ complete: true, succeeded: 20 })
  })

  test('maxTaskRequests holds over runs, and is inclusive', async () => {
    const { options, count } = harness()
    const limits = { maxBatchRequests: 5, maxTaskRequests: 10 }
    expect(await new Twenty(options(limits)).run()).toMatchObject({ outcome: 'limits', succeeded: 10 })
    expect(await new Twenty(options(limits)).run()).toMatchObject({ outcome: 'limits', succeeded: 10 })
    expect(count('POST', '/v1/batches')).toBe(2)
  })

  test.each(['maxSessionRequests', 'maxTaskRequests'])(
    '%s bounds direct calls to the last one',
    async (limit) => {
      const { options, count, events } = harness()
      const summary = await new Twenty(options({ forceDirect: true, [limit]: 7 })).run()
      expect(summary).toMatchObject({ outcome: 'limits', succeeded: 7, pending: 13 })
      expect(events.at(-1)).toMatchObject({
        kind: 'run-finished',
        counts: { succeeded: 7, pending: 13, queued: 13, inFlight: 0 },
      })
      expect(count('POST', '/v1/chat/completions')).toBe(7)
      expect(await new Twenty(options({ forceDirect: true })).run()).toMatchObject({
        complete: true,
        succeeded: 20,
      })
      expect(count('POST', '/v1/chat/completions')).toBe(20)
    },
  )

  test('a retry counts as sent again', async () => {
    const { options, count } = harness({ failureRate: 1 })
    const summary = await new Twenty(options({ forceDirect: true, maxSessionRequests: 30 })).run()
    expect(summary).toMatchObject({ outcome: 'limits', complete: false })
    expect(summary.succeeded).toBeGreaterThanOrEqual(10)
    expect(count('POST', '/v1/chat/completions')).toBe(30)
  })

  test('a batch that does not fit does not hold up a smaller one of another model', async () => {
    const { options, dir } = harness()
    class TwoModels extends Twenty {
      override *generateRequests() {
        for (const key of names(8, 'big')) yield { key, body: ask(key, 'gpt-5') }
        for (const key of names(3, 'small')) yield { key, body: ask(key) }
      }
    }
    const summary = await new TwoModels(options({ maxSessionRequests: 5 })).run()
    expect(summary).toMatchObject({ outcome: 'limits', succeeded: 3, pending: 8 })
    expect(taskLines(dir, '_output.jsonl')).toEqual(names(3, 'small'))
  })

  test('with nothing allowed nothing is sent, but all is queued', async () => {
    const { options, seen } = harness()
    const summary = await new Twenty(options({ maxSessionRequests: 0 })).run()
    expect(summary).toMatchObject({ outcome: 'limits', requests: 20, pending: 20, batches: 0 })
    expect(seen.filter(({ method }) => method !== 'GET')).toEqual([])
  })
})

describe('limits of what is remote at one time', () => {
  /** The most that was remote at once, replayed from the ledger. */
  function mostRemote(dir: string): number {
    let most = 0
    let remote = 0
    const moves: Record<string, number> = { intent: 1, received: -1 }
    for (const kind of ['intent', 'received']) expect(stepsOf(dir, kind).length).toBeGreaterThan(0)
    for (const { kind } of [...ledger(dir)]) {
      remote += moves[kind] ?? 0
      most = Math.max(most, remote)
    }
    return most
  }
  const ledger = (dir: string) =>
    taskLines<{ steps: { kind: string }[] }>(dir, '_ledger.jsonl').flatMap(({ steps }) => steps)

  test.each([1, 2, 3])('maxRemoteBatches %d is kept, and reached', async (maxRemoteBatches) => {
    const { options, dir } = harness()
    const summary = await new Twenty(options({ maxBatchRequests: 2, maxRemoteBatches })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 20, batches: 10 })
    expect(mostRemote(dir)).toBe(maxRemoteBatches)
  })

  test('maxRemoteRequests is kept', async () => {
    const { options, dir } = harness()
    const summary = await new Twenty(options({ maxBatchRequests: 4, maxRemoteRequests: 8 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 20, batches: 5 })
    expect(mostRemote(dir)).toBe(2)
  })

  test('maxRemoteMb is kept', async () => {
    const { options, dir } = harness()
    class Bulky extends Twenty {
      override *generateRequests() {
        for (const key of names(6)) yield { key, body: ask(key.padEnd(400_000)) }
      }
    }
    // Two requests fill a batch, and one batch fills what may be remote.
    const limits = { maxBatchMb: 1, maxRemoteMb: 1, maxMbSafety: 1 }
    const summary = await new Bulky(options(limits)).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 6, batches: 3 })
    expect(mostRemote(dir)).toBe(1)
  })
})

describe('limits of one batch', () => {
  test('maxBatchRequests is filled and not passed', async () => {
    const sizes: number[] = []
    const { options, events } = harness()
    await new Twenty(options({ maxBatchRequests: 7 })).run()
    for (const event of events)
      if (event.kind === 'batch-changed' && event.status === 'uploading') sizes.push(event.requests)
    expect(sizes.sort()).toEqual([6, 7, 7])
  })

  test('a request that is larger than a batch may be fails alone, at once', async () => {
    const { options, dir, events } = harness()
    class OneHuge extends Twenty {
      override *generateRequests() {
        yield { key: 'huge', body: ask('x'.repeat(1_000_001)), sample: 's', meta: { page: 1 } }
        yield* super.generateRequests()
      }
    }
    const summary = await new OneHuge(options({ maxBatchMb: 1, maxMbSafety: 1 })).run()
    expect(summary).toMatchObject({ complete: true, requests: 21, succeeded: 20, failed: 1 })
    expect(taskLines(dir, '_failed.jsonl')).toEqual([
      { key: 'huge', sample: 's', reason: expect.stringMatching(/^too_large: /), attempts: 0 },
    ])
    expect(events.filter(({ kind }) => kind === 'request-failed')).toMatchObject([
      { key: 'huge', final: true },
    ])
    expect(await new OneHuge(options({ maxBatchMb: 1, maxMbSafety: 1 })).run()).toMatchObject({ added: 0 })
  })
})
