import { describe, expect, test } from 'vitest'
import { accept, reject, type Verdict } from '../../src/batch/verdict.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { contentsOf } from '../support/folder.ts'
import { ask, harness, names, taskLines } from '../support/task-harness.ts'

class Ten extends TaskManager {
  static generated = 0;

  *generateRequests() {
    Ten.generated++
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse): Verdict {
    return accept(key)
  }
}

/** A run that is stopped as soon as a batch has been created. */
async function createdAndStopped({ options }: ReturnType<typeof harness>, over = {}) {
  const stop = new AbortController()
  const reporter = {
    onEvent: (event: { kind: string; remoteId?: string }) => {
      if (event.kind === 'batch-changed' && event.remoteId) stop.abort()
    },
  }
  return new Ten(options({ ...over, stop: stop.signal, reporters: [reporter] })).run()
}

describe('onlyProcess', () => {
  test('collects what was sent, and generates and sends nothing', async () => {
    const rig = harness()
    expect(await createdAndStopped(rig, { maxBatchRequests: 5, maxRemoteBatches: 1 })).toMatchObject({
      outcome: 'interrupted',
      pending: 10,
    })
    const { generated } = Ten
    const summary = await new Ten(rig.options({ onlyProcess: true })).run()
    expect(summary).toMatchObject({ complete: false, outcome: 'only-process', succeeded: 5, pending: 5 })
    expect(Ten.generated).toBe(generated)
    expect(rig.count('POST', '/v1/batches')).toBe(1)
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, succeeded: 10 })
  })

  test('leaves replies that must be retried in the queue', async () => {
    const rig = harness({ failureRate: 1 })
    await createdAndStopped(rig)
    const summary = await new Ten(rig.options({ onlyProcess: true })).run()
    expect(summary).toMatchObject({ outcome: 'only-process', succeeded: 0, pending: 10, retries: 10 })
    expect(rig.count('POST', '/v1/batches')).toBe(1)
    expect(rig.count('POST', '/v1/chat/completions')).toBe(0)
  })

  test('of a finished task is complete', async () => {
    const { options } = harness()
    await new Ten(options()).run()
    expect(await new Ten(options({ onlyProcess: true })).run()).toMatchObject({
      complete: true,
      outcome: 'complete',
    })
  })
})

describe('no run', () => {
  test('opens and shows the task, and asks the server nothing', async () => {
    const rig = harness()
    await createdAndStopped(rig)
    const sent = rig.seen.length
    const { generated } = Ten
    const summary = await new Ten(rig.options({ run: false })).run()
    expect(summary).toMatchObject({ complete: false, outcome: 'no-run', requests: 10, pending: 10 })
    expect(Ten.generated).toBe(generated)
    expect(rig.seen.length).toBe(sent)
  })

  test('needs no key', async () => {
    const { options, seen } = harness()
    expect(await new Ten(options({ run: false, env: {} })).run()).toMatchObject({
      outcome: 'no-run',
      requests: 0,
    })
    await expect(new Ten(options({ env: {} })).run()).rejects.toMatchObject({ code: 'missing_api_key' })
    expect(seen).toEqual([])
  })
})

describe('a dry run', () => {
  test('of a new task writes and sends nothing, and says what would be sent', async () => {
    const { options, seen, dir } = harness()
    const summary = await new Ten(options({ dryRun: true, maxBatchRequests: 4, minBatchRequests: 3 })).run()
    expect(summary).toMatchObject({ complete: false, outcome: 'dry-run', added: 10, requests: 0 })
    expect(summary.details.join('\n')).toContain('10 requests')
    expect(summary.details.join('\n')).toContain('as 2 batches and 2 direct calls')
    expect(seen).toEqual([])
    expect(await contentsOf(dir)).toEqual([])
  })

  test('of a begun task leaves its folder byte for byte as it was', async () => {
    const rig = harness()
    await createdAndStopped(rig)
    const before = await contentsOf(rig.dir)
    const sent = rig.seen.length
    class Twelve extends Ten {
      override *generateRequests() {
        yield* super.generateRequests()
        for (const key of ['new-1', 'new-2']) yield { key, body: ask(key) }
      }
    }
    const summary = await new Twelve(rig.options({ dryRun: true })).run()
    expect(summary).toMatchObject({ outcome: 'dry-run', added: 2, requests: 10, pending: 10 })
    expect(await contentsOf(rig.dir)).toEqual(before)
    expect(rig.seen.length).toBe(sent)
  })

  test.each([
    [{}, 1],
    [{ retryFailed: true }, 5],
    [{ wipeFailed: true }, 5],
    [{ wipeTask: true }, 11],
  ])('counts what a wipe would put back: %j', async (wipe, added) => {
    const { options } = harness()
    class Halves extends Ten {
      more = false

      override *generateRequests() {
        yield* super.generateRequests()
        if (this.more) yield { key: 'new', body: ask('new') }
      }

      override processResponse({ key }: TaskResponse) {
        return Number(key.at(-1)) < 4 ? reject('no') : accept(key)
      }
    }
    await new Halves(options()).run()
    const dry = new Halves(options({ dryRun: true, ...wipe }))
    dry.more = true
    expect(await dry.run()).toMatchObject({ outcome: 'dry-run', added, failed: 4, succeeded: 6 })
  })

  test('finds the faults of a run: bad requests and keys given twice', async () => {
    const { options, dir } = harness()
    class Twice extends Ten {
      override *generateRequests() {
        yield { key: 'a', body: ask('one') }
        yield { key: 'a', body: ask('two') }
      }
    }
    await expect(new Twice(options({ dryRun: true })).run()).rejects.toMatchObject({ code: 'duplicate_key' })
    expect(await contentsOf(dir)).toEqual([])
  })
})

describe('a run without anything to do', () => {
  test('is complete, and sends nothing', async () => {
    const { options, seen, dir } = harness()
    class Empty extends Ten {
      override *generateRequests() {}
    }
    expect(await new Empty(options()).run()).toMatchObject({ complete: true, requests: 0, output: [] })
    expect(seen).toEqual([])
    expect(taskLines(dir, '_output.jsonl')).toEqual([])
  })
})
