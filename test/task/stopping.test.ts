import { describe, expect, test } from 'vitest'
import { accept, type Verdict } from '../../src/batch/verdict.ts'
import type { ProgressEvent } from '../../src/progress/events.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { ask, harness, isKind, names, stepsOf, taskLines } from '../support/task-harness.ts'

class Forty extends TaskManager {
  *generateRequests() {
    for (const key of names(40)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse): Verdict | Promise<Verdict> {
    return accept(key)
  }
}

/** Options that stop a run at its first event of a kind. */
function stopAt(is: (event: ProgressEvent) => boolean) {
  const stop = new AbortController()
  const onEvent = (event: ProgressEvent) => {
    if (is(event)) stop.abort()
  }
  return { stop: stop.signal, reporters: [{ onEvent }] }
}

const moments: readonly (readonly [string, (event: ProgressEvent) => boolean])[] = [
  ['requests are being added', ({ kind }) => kind === 'requests-added'],
  ['a batch is being uploaded', (event) => event.kind === 'batch-changed' && event.status === 'uploading'],
  ['a batch has been created', (event) => event.kind === 'batch-changed' && event.status === 'validating'],
  ['it waits for a batch', (event) => event.kind === 'waiting'],
  ['a batch has ended', (event) => event.kind === 'batch-changed' && event.status === 'completed'],
  ['verdicts are being given', (event) => event.kind === 'judged' && event.counts.succeeded > 0],
]

describe('a stop signal', () => {
  test.each(moments)(
    'while %s ends the run as interrupted, and the next run completes it',
    async (_, moment) => {
      const { options, dir, emulator } = harness({ latency: { runMs: 10_000 } })
      const small = { maxBatchRequests: 15 }
      const summary = await new Forty(options({ ...small, ...stopAt(moment) })).run()
      expect(summary).toMatchObject({ complete: false, outcome: 'interrupted' })
      expect(await new Forty(options(small)).run()).toMatchObject({
        complete: true,
        requests: 40,
        succeeded: 40,
      })
      expect(taskLines<string>(dir, '_output.jsonl').sort()).toEqual(names(40).sort())
      const created = await emulator.fetch('http://console.test/v1/batches?limit=100')
      expect(JSON.parse(await created.text()).data).toHaveLength(3)
    },
  )

  test('before the run does nothing at all', async () => {
    const { options, seen } = harness()
    const summary = await new Forty(options({ stop: AbortSignal.abort() })).run()
    expect(summary).toMatchObject({ outcome: 'interrupted', succeeded: 0 })
    expect(seen.filter(({ method }) => method !== 'GET')).toEqual([])
    expect(await new Forty(options()).run()).toMatchObject({ complete: true, succeeded: 40 })
  })

  test('lets direct calls on the wire end, so that none is uncertain or paid twice', async () => {
    const stop = new AbortController()
    let calls = 0
    const { options, dir, count } = harness({
      answer: async () => {
        if (++calls === 6) stop.abort()
        await new Promise((resolve) => setImmediate(resolve))
        return 'fine'
      },
    })
    const direct = { forceDirect: true, directConcurrency: 4 }
    const summary = await new Forty(options({ ...direct, stop: stop.signal })).run()
    expect(summary.outcome).toBe('interrupted')
    expect(calls).toBeLessThan(15)
    expect(await new Forty(options(direct)).run()).toMatchObject({ complete: true, succeeded: 40 })
    expect(stepsOf(dir, 'uncertain')).toEqual([])
    expect(count('POST', '/v1/chat/completions')).toBe(40)
    expect(taskLines<string>(dir, '_output.jsonl').sort()).toEqual(names(40).sort())
  })

  test('followed by a cut gives up on calls on the wire, which the next run names uncertain and sends again', async () => {
    const stop = new AbortController()
    const cut = new AbortController()
    const forever = Promise.withResolvers<string>()
    let calls = 0
    const { options, dir, count, warnings } = harness({
      answer: () => {
        if (++calls === 5) {
          stop.abort()
          cut.abort()
        }
        return calls < 5 ? 'fine' : calls === 5 ? forever.promise : 'fine'
      },
    })
    const direct = { forceDirect: true, directConcurrency: 1 }
    const summary = await new Forty(options({ ...direct, stop: stop.signal, cut: cut.signal })).run()
    expect(summary).toMatchObject({ outcome: 'interrupted', succeeded: expect.any(Number) })
    forever.resolve('too late')
    expect(await new Forty(options(direct)).run()).toMatchObject({ complete: true, succeeded: 40 })
    expect(stepsOf(dir, 'uncertain')).toMatchObject([{ requests: [5] }])
    expect(warnings('uncertain_calls')).toHaveLength(1)
    expect(count('POST', '/v1/chat/completions')).toBe(41)
  })

  test('ends a long wait at once', async () => {
    const { options, clock } = harness({ latency: { runMs: 3_600_000 } })
    const before = clock.now()
    const stop = stopAt((event) => event.kind === 'waiting')
    await new Forty(options({ remoteUpdateInterval: 3_000, ...stop })).run()
    expect(clock.now() - before).toBeLessThan(3_000_000)
  })
})

describe('one task at a time', () => {
  test('a second run of the same task is refused while the first goes on', async () => {
    const { options } = harness()
    let second: Promise<unknown> | undefined
    class Watched extends Forty {
      override onStart() {
        second = new Forty(options()).run().catch((error: unknown) => error)
      }

      override async processResponse({ key }: TaskResponse) {
        await second
        return accept(key)
      }
    }
    const summary = await new Watched(options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 40 })
    expect(await second).toMatchObject({ name: 'LockError' })
  })

  test('two tasks share a folder', async () => {
    const { options, seen } = harness()
    const both = [new Forty(options({ name: 'one' })), new Forty(options({ name: 'two' }))]
    const summaries = await Promise.all(both.map((task) => task.run()))
    expect(summaries).toMatchObject([{ complete: true }, { complete: true }])
    expect(seen.filter((one) => isKind(one, 'POST', '/v1/batches'))).toHaveLength(2)
  })
})
