import { existsSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { accept, reject } from '../../src/batch/verdict.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import {
  ask,
  crashing,
  type Harness,
  harness,
  isKind,
  names,
  stepsOf,
  taskLines,
} from '../support/task-harness.ts'

class Ten extends TaskManager {
  override createParams() {
    return { made: stamp() }
  }

  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse) {
    return key === 'k-9' ? reject('nine', { remember: key }) : accept(key, { remember: key })
  }
}

let stamps = 0
const stamp = () => ++stamps

/** Stops a run when an event of it says so. */
function stoppingAt(is: (event: { kind: string; status?: string; completed?: number }) => boolean) {
  const stop = new AbortController()
  const onEvent = (event: { kind: string; status?: string; completed?: number }) => {
    if (is(event)) stop.abort()
  }
  return { stop: stop.signal, reporters: [{ onEvent }] }
}

/** Five of ten are judged; the other five are in a batch that the server has half done. */
async function halfDone(over: Partial<TaskManagerOptions> = {}): Promise<Harness> {
  const rig = harness({ latency: { runMs: 0, perRequestMs: 2_000 } })
  const small = { maxBatchRequests: 5, maxRemoteBatches: 1, maxSessionRequests: 5, ...over }
  await new Ten(rig.options(small)).run()
  const isHalf = ({ kind, completed = 0 }: { kind: string; completed?: number }) =>
    kind === 'batch-changed' && completed >= 2
  const summary = await new Ten(rig.options({ maxBatchRequests: 5, ...stoppingAt(isHalf) })).run()
  expect(summary).toMatchObject({ outcome: 'interrupted', succeeded: 5, pending: 5 })
  return rig
}

const wiped = (events: Harness['events']) => events.findLast((event) => event.kind === 'wiped')

const cancels = /^\/v1\/batches\/\w+\/cancel$/

describe('wipeRequests', () => {
  test('cancels what is remote, keeps what was answered, and forgets the rest', async () => {
    const { options, count, dir, warnings, events } = await halfDone()
    const summary = await new Ten(options({ wipeRequests: true, run: false })).run()
    expect(count('POST', cancels)).toBe(1)
    expect(summary).toMatchObject({ outcome: 'no-run', pending: 0 })
    const answered = summary.succeeded + summary.failed
    expect(answered).toBeGreaterThanOrEqual(7)
    expect(summary.requests).toBe(answered)
    expect(wiped(events)).toMatchObject({ scope: 'requests', pending: 10 - answered, failed: 0 })
    expect(warnings('wiped')).toEqual([])
    expect(taskLines(dir, '_output.jsonl')).toHaveLength(summary.succeeded)
  })

  test('goes on with the work, and asks for the forgotten keys anew', async () => {
    const { options, dir } = await halfDone()
    const summary = await new Ten(options({ wipeRequests: true })).run()
    expect(summary).toMatchObject({ complete: true, requests: 10, succeeded: 9, failed: 1 })
    expect(new Set(taskLines(dir, '_output.jsonl')).size).toBe(9)
    expect(taskLines(dir, '_output.jsonl')).toHaveLength(9)
  })

  test('keeps failed requests failed', async () => {
    const { options, dir } = harness()
    await new Ten(options()).run()
    expect(await new Ten(options({ wipeRequests: true })).run()).toMatchObject({ failed: 1, added: 0 })
    expect(taskLines(dir, '_failed.jsonl')).toHaveLength(1)
  })

  test('of what was only queued sends nothing at all', async () => {
    const { options, count } = harness()
    await new Ten(options({ maxSessionRequests: 0 })).run()
    const summary = await new Ten(options({ wipeRequests: true, run: false })).run()
    expect(summary).toMatchObject({ requests: 0, pending: 0 })
    expect(count('POST', /./)).toBe(0)
  })
})

describe('wipeFailed', () => {
  test('forgets failed requests, empties the failed file and asks for them anew', async () => {
    const { options, dir, count } = harness()
    await new Ten(options()).run()
    class Milder extends Ten {
      override processResponse({ key }: TaskResponse) {
        return accept(`${key} again`)
      }
    }
    const task = new Milder(options({ wipeFailed: true }))
    expect(await task.run()).toMatchObject({
      complete: true,
      requests: 10,
      succeeded: 10,
      failed: 0,
      added: 1,
    })
    expect(taskLines(dir, '_failed.jsonl')).toEqual([])
    expect(taskLines(dir, '_output.jsonl').at(-1)).toBe('k-9 again')
    expect(count('POST', '/v1/batches')).toBe(2)
    expect(task.samples.get('k-9').remembered).toEqual([])
  })
})

describe('wipeTask', () => {
  test('begins anew, says how many paid answers it threw away, and keeps what was spent', async () => {
    const { options, dir, events } = harness()
    const first = new Ten(options())
    const before = await first.run()
    const second = new Ten(options({ wipeTask: true, run: false }))
    const summary = await second.run()
    expect(summary).toMatchObject({ requests: 0, succeeded: 0, failed: 0, pending: 0, output: [] })
    expect(summary.cost).toBe(before.cost)
    expect(summary.usage).toEqual(before.usage)
    expect([9, 10]).toContain(wiped(events)?.thrownAway)
    expect(existsSync(`${dir}/task_output.jsonl`)).toBe(false)
    expect(taskLines(dir, '_failed.jsonl')).toEqual([])
    expect(second.params).not.toEqual(first.params)
    const again = await new Ten(options()).run()
    expect(again).toMatchObject({ complete: true, succeeded: 9, failed: 1 })
    expect(again.cost).toBeCloseTo(2 * before.cost, 9)
    expect(taskLines(dir, '_output.jsonl')).toHaveLength(9)
  })

  test('cancels what is remote, and counts its answers and their cost before it throws them away', async () => {
    const { options, count, dir, events } = await halfDone()
    const before = await new Ten(options({ run: false })).run()
    const summary = await new Ten(options({ wipeTask: true, run: false })).run()
    expect(summary).toMatchObject({ requests: 0, pending: 0 })
    expect(summary.usage.output).toBeGreaterThan(before.usage.output)
    expect(summary.cost).toBeGreaterThan(before.cost)
    expect([7, 8, 9]).toContain(wiped(events)?.thrownAway)
    expect(count('POST', cancels)).toBe(1)
    expect(taskLines(dir, '_output.jsonl')).toEqual([])
  })

  test('counts the task limit over the wipe', async () => {
    const { options } = harness()
    await new Ten(options({ maxTaskRequests: 15 })).run()
    const limits = { maxTaskRequests: 15, maxBatchRequests: 5 }
    const summary = await new Ten(options({ ...limits, wipeTask: true })).run()
    expect(summary).toMatchObject({ outcome: 'limits', succeeded: 5, pending: 5 })
  })

  test('leaves nothing behind at the server', async () => {
    const { options, emulator } = await halfDone()
    await new Ten(options({ wipeTask: true })).run()
    const files = await emulator.fetch('http://console.test/v1/files')
    expect(JSON.parse(await files.text()).data).toEqual([])
  })
})

describe('a wipe that is interrupted', () => {
  test.each(['wipeRequests', 'wipeTask'] as const)(
    '%s is finished by the next run without the flag',
    async (flag) => {
      const rig = await halfDone()
      const point = {
        at: (seen: { method: string; path: string }) => isKind(seen, 'POST', cancels),
        acted: true,
      }
      const crash = crashing(rig, point, { [flag]: true })
      const run = new Ten(crash.options).run()
      const folder = await crash.folder
      crash.bury()
      await Promise.allSettled([run])

      const options = rig.options({ taskDir: folder, run: false })
      const summary = await new Ten(options).run()
      expect(summary.pending).toBe(0)
      expect(stepsOf(folder, 'wiped')).toHaveLength(1)
      if (flag === 'wipeTask') expect(summary).toMatchObject({ requests: 0, succeeded: 0 })
      else expect(summary.succeeded + summary.failed).toBeGreaterThanOrEqual(7)
      expect(taskLines(folder, '_output.jsonl')).toHaveLength(summary.succeeded)
      expect(await new Ten(rig.options({ taskDir: folder })).run()).toMatchObject({
        complete: true,
        requests: 10,
      })
      expect(stepsOf(folder, 'wiped')).toHaveLength(1)
    },
  )

  test('by a signal is finished by the next run, too', async () => {
    const rig = await halfDone()
    const atCancel = stoppingAt(({ kind, status }) => kind === 'batch-changed' && status === 'cancelling')
    const summary = await new Ten(rig.options({ wipeRequests: true, ...atCancel })).run()
    expect(summary.outcome).toBe('interrupted')
    expect(stepsOf(rig.dir, 'wiped')).toEqual([])
    expect(await new Ten(rig.options()).run()).toMatchObject({ complete: true, requests: 10, succeeded: 9 })
    expect(stepsOf(rig.dir, 'wiped')).toHaveLength(1)
  })
})
