import { describe, expect, test } from 'vitest'
import { accept, reject, retry, type Verdict } from '../../src/batch/verdict.ts'
import type { PilotReport } from '../../src/requester/pilot-report.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { TaskRequest, TaskResponse } from '../../src/task/task-types.ts'
import {
  crashing,
  type Harness,
  harness,
  names,
  questionOf,
  stepsOf,
  taskLines,
} from '../support/task-harness.ts'

const CALLS = '/v1/chat/completions'

const request = (key: string, model = 'gpt-5-mini'): TaskRequest => ({
  key,
  body: { model, max_completion_tokens: 40, messages: [{ role: 'user', content: key }] },
})

class Hundred extends TaskManager {
  *generateRequests(): Iterable<TaskRequest> {
    for (const key of names(100)) yield request(key)
  }

  processResponse({ key }: TaskResponse): Verdict {
    return accept({ key })
  }
}

/** Remembers what it was asked, and answers as it is told. */
function confirming(answer: boolean) {
  const reports: PilotReport[] = []
  const confirm = async (report: PilotReport): Promise<boolean> => {
    reports.push(report)
    return answer
  }
  return { reports, confirm }
}

const outputKeys = (dir: string): string[] =>
  taskLines<{ readonly key: string }>(dir, '_output.jsonl').map(({ key }) => key)

/** What was asked by direct calls. */
const askedDirectly = ({ seen }: Harness): string[] =>
  seen
    .filter(({ method, path }) => method === 'POST' && path === CALLS)
    .map(({ body }) => questionOf({ body: JSON.parse(body) }))

describe('a pilot', () => {
  test('sends so many requests, spread over the task and directly, then asks', async () => {
    const rig = harness()
    const { reports, confirm } = confirming(false)
    const summary = await new Hundred(rig.options({ pilot: 10, confirm })).run()
    expect(summary).toMatchObject({
      complete: false,
      outcome: 'pilot',
      requests: 10,
      succeeded: 10,
      added: 10,
    })
    expect(reports).toHaveLength(1)
    expect(reports[0]).toMatchObject({
      asked: 10,
      accepted: 10,
      passRate: { value: 1 },
      rest: { requests: 90 },
    })
    expect(summary.pilot).toEqual(reports[0])
    const places = askedDirectly(rig).map((key) => Number(key.split('-')[1]))
    expect(new Set(places.map((place) => Math.floor(place / 20)))).toEqual(new Set([0, 1, 2, 3, 4]))
    expect(rig.count('POST', '/v1/batches')).toBe(0)
  })

  test('goes on with the rest when it may; nothing is asked twice', async () => {
    const rig = harness()
    const { confirm } = confirming(true)
    const summary = await new Hundred(rig.options({ pilot: 10, confirm })).run()
    expect(summary).toMatchObject({ complete: true, outcome: 'complete', succeeded: 100, added: 100 })
    expect(new Set(outputKeys(rig.dir)).size).toBe(100)
    expect(outputKeys(rig.dir)).toHaveLength(100)
    expect(askedDirectly(rig)).toHaveLength(10)
    expect(rig.count('POST', '/v1/batches')).toBe(1)
  })

  test.each([
    [false, 'pilot'],
    [true, 'complete'],
  ])('that nobody is asked about goes on only with yes: %s', async (yes, outcome) => {
    expect(await new Hundred(harness().options({ pilot: 10, yes })).run()).toMatchObject({ outcome })
  })

  test('of an earlier run counts, and a larger one only asks what is missing', async () => {
    const rig = harness()
    const { reports, confirm } = confirming(false)
    for (const pilot of [10, 10, 25]) await new Hundred(rig.options({ pilot, confirm })).run()
    expect(reports.map(({ asked }) => asked)).toEqual([10, 10, 25])
    expect(reports[1]).toEqual(reports[0])
    const asked = askedDirectly(rig)
    expect(asked).toHaveLength(25)
    expect(new Set(asked).size).toBe(25)
    const summary = await new Hundred(rig.options()).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 100 })
    expect(outputKeys(rig.dir).toSorted()).toEqual(names(100).toSorted())
  })

  test('of a task that is not larger is the whole task, and asks nothing', async () => {
    const { reports, confirm } = confirming(false)
    const summary = await new Hundred(harness().options({ pilot: 100, confirm })).run()
    expect(summary).toMatchObject({ complete: true, outcome: 'complete', succeeded: 100 })
    expect(reports).toEqual([])
  })

  test('asks again what must be, directly, however much that is', async () => {
    const rig = harness()
    class Twice extends Hundred {
      override processResponse({ key, attempt }: TaskResponse): Verdict {
        return attempt === 1 ? retry('once more') : accept({ key })
      }
    }
    const { reports, confirm } = confirming(false)
    // By the ordinary rules three requests are worth a batch.
    const summary = await new Twice(rig.options({ pilot: 20, minBatchRequests: 3, confirm })).run()
    expect(summary).toMatchObject({ outcome: 'pilot', succeeded: 20, retries: 20 })
    expect(rig.count('POST', CALLS)).toBe(40)
    expect(rig.count('POST', '/v1/batches')).toBe(0)
    const single = confirming(false)
    const once = harness()
    await new Hundred(once.options({ pilot: 20, confirm: single.confirm })).run()
    expect(reports[0]?.mean?.inputTokens).toBeCloseTo(2 * (single.reports[0]?.mean?.inputTokens ?? 0), 6)
    expect(reports[0]?.rest.batch.value).toBeGreaterThan(1.8 * (single.reports[0]?.rest.batch.value ?? 0))
  })

  test('tells how many answers were usable', async () => {
    class Half extends Hundred {
      override processResponse({ key }: TaskResponse): Verdict {
        return Number(key.split('-')[1]) % 2 === 0 ? accept({ key }) : reject('odd')
      }
    }
    const { reports, confirm } = confirming(false)
    const summary = await new Half(harness().options({ pilot: 30, confirm })).run()
    const [report] = reports
    expect(report?.asked).toBe(30)
    expect(report?.accepted).toBe(summary.succeeded)
    expect(report?.passRate.value).toBe(summary.succeeded / 30)
    expect(report?.passRate.low).toBeLessThan(report?.passRate.value ?? 0)
    expect(report?.passRate.high).toBeGreaterThan(report?.passRate.value ?? 1)
  })

  test.each([
    ['by batch', {}, 'batch'],
    ['directly', { forceDirect: true }, 'direct'],
    ['directly, when too little is left for a batch', { minBatchRequests: 95 }, 'direct'],
  ] as const)('says what the rest will cost: %s', async (_, way, expected) => {
    const rig = harness()
    const { reports, confirm } = confirming(true)
    const summary = await new Hundred(rig.options({ pilot: 20, confirm, ...way })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 100 })
    const [report] = reports
    expect(report?.rest).toMatchObject({ way: expected, requests: 80, isMeasured: true })
    const rest = summary.cost - (report?.spent ?? 0)
    expect(report?.rest.planned.low).toBeLessThan(rest)
    expect(report?.rest.planned.high).toBeGreaterThan(rest)
    expect(Math.abs((report?.rest.planned.value ?? 0) / rest - 1)).toBeLessThan(0.15)
    expect(report?.rest.direct.value).toBeCloseTo(2 * (report?.rest.batch.value ?? 0), 9)
  })

  test('of several models is spread over all of them', async () => {
    class Mixed extends Hundred {
      override *generateRequests() {
        for (const [at, key] of names(100).entries())
          yield request(key, at % 2 === 0 ? 'gpt-5-mini' : 'gpt-5-nano')
      }
    }
    const { reports, confirm } = confirming(true)
    const summary = await new Mixed(harness().options({ pilot: 41, confirm, minBatchRequests: 10 })).run()
    expect(summary).toMatchObject({ complete: true, succeeded: 100 })
    const { low, high } = reports[0]?.rest.planned ?? { low: 0, high: 0 }
    expect(summary.cost - (reports[0]?.spent ?? 0)).toBeGreaterThan(low)
    expect(summary.cost - (reports[0]?.spent ?? 0)).toBeLessThan(high)
  })
})

describe('a pilot that comes too late', () => {
  test('is refused when more is pending, and changes nothing', async () => {
    const rig = harness()
    await new Hundred(rig.options({ maxSessionRequests: 0 })).run()
    const sent = rig.seen.length
    await expect(new Hundred(rig.options({ pilot: 10 })).run()).rejects.toMatchObject({
      name: 'UsageError',
      code: 'pilot_late',
      message: expect.stringContaining('run it without --pilot'),
    })
    expect(rig.seen.length).toBe(sent)
    expect(await new Hundred(rig.options()).run()).toMatchObject({ complete: true, succeeded: 100 })
  })

  test('is refused when a batch is under way', async () => {
    const rig = harness()
    const stop = new AbortController()
    const onEvent = (event: { readonly kind: string; readonly remoteId?: string }) => {
      if (event.kind === 'batch-changed' && event.remoteId) stop.abort()
    }
    await new Hundred(rig.options({ stop: stop.signal, reporters: [{ onEvent }] })).run()
    await expect(new Hundred(rig.options({ pilot: 100 })).run()).rejects.toMatchObject({ code: 'pilot_late' })
    expect(await new Hundred(rig.options()).run()).toMatchObject({ complete: true, succeeded: 100 })
  })
})

describe('a pilot and the limits', () => {
  test('under a hard cap says whether that is enough for the rest, and never passes it', async () => {
    const rig = harness()
    const { reports, confirm } = confirming(true)
    const summary = await new Hundred(rig.options({ pilot: 10, confirm, maxSpend: 0.002 })).run()
    expect(reports[0]?.maxSpend?.cap).toBe(0.002)
    expect(reports[0]?.maxSpend?.left).toBeCloseTo(0.002 - (reports[0]?.spent ?? 0), 9)
    expect(summary.cost).toBeLessThanOrEqual(0.002)
  })

  test('does not ask when a limit stops it before its end; the next run goes on with it', async () => {
    const rig = harness()
    const { reports, confirm } = confirming(false)
    const first = await new Hundred(rig.options({ pilot: 10, confirm, maxSessionRequests: 6 })).run()
    expect(first).toMatchObject({ outcome: 'limits', succeeded: 6, pending: 4 })
    expect(reports).toEqual([])
    const second = await new Hundred(rig.options({ pilot: 10, confirm })).run()
    expect(second).toMatchObject({ outcome: 'pilot', succeeded: 10, pending: 0 })
    expect(rig.count('POST', CALLS)).toBe(10)
  })

  test('leaves out a request that has room under the hard cap only by batch', async () => {
    class OneLarge extends Hundred {
      override *generateRequests() {
        yield { key: 'large', body: { ...request('large').body, max_completion_tokens: 30_000 } }
        for (const key of names(5)) yield request(key)
      }
    }
    const rig = harness()
    const summary = await new OneLarge(rig.options({ pilot: 6, yes: true, maxSpend: 0.05 })).run()
    expect(askedDirectly(rig)).not.toContain('large')
    expect(summary).toMatchObject({ complete: true, succeeded: 6 })
  })
})

describe('a pilot that is stopped', () => {
  test('by a signal at the question sends no more, and is interrupted', async () => {
    const rig = harness()
    const stop = new AbortController()
    const confirm = async (): Promise<boolean> => {
      stop.abort()
      return true
    }
    const summary = await new Hundred(rig.options({ pilot: 10, confirm, stop: stop.signal })).run()
    expect(summary).toMatchObject({ complete: false, outcome: 'interrupted', requests: 10, succeeded: 10 })
    expect(rig.count('POST', '/v1/batches')).toBe(0)
  })

  test.each([1, 4, 10])(
    'by a crash at call %i goes on with the same requests and asks no more than were on the wire again',
    async (call) => {
      const rig = harness()
      let calls = 0
      const over: Partial<TaskManagerOptions> = { pilot: 10, minBatchRequests: 2, directConcurrency: 2 }
      const at = ({ path }: { readonly path: string }): boolean => path === CALLS && ++calls === call
      const crash = crashing(rig, { at, acted: true }, over)
      const dead = new Hundred(crash.options).run().catch((error: unknown) => error)
      const taskDir = await crash.folder
      crash.bury()
      await dead
      const { reports, confirm } = confirming(false)
      const summary = await new Hundred(rig.options({ ...over, taskDir, confirm })).run()
      expect(summary).toMatchObject({ outcome: 'pilot', requests: 10, succeeded: 10 })
      expect(reports[0]).toMatchObject({ asked: 10, rest: { requests: 90 } })
      const uncertain = stepsOf(taskDir, 'uncertain').length
      expect(uncertain).toBeLessThanOrEqual(2)
      expect(rig.count('POST', CALLS)).toBeLessThanOrEqual(10 + uncertain)
      expect(rig.count('POST', '/v1/batches')).toBe(0)
      expect(new Set(askedDirectly(rig)).size).toBe(10)
    },
  )

  test('by a generator that fails before it yields says so, as a run does', async () => {
    class Broken extends Hundred {
      override generateRequests(): Generator<TaskRequest> {
        throw new Error('no paper')
      }
    }
    const run = (over: Partial<TaskManagerOptions>) => new Broken(harness().options(over)).run()
    const failure = {
      code: 'hook_failed',
      message: expect.stringContaining('generateRequests failed: no paper'),
    }
    await expect(run({ pilot: 10 })).rejects.toMatchObject(failure)
    await expect(run({ quote: true })).rejects.toMatchObject(failure)
    await expect(run({})).rejects.toMatchObject(failure)
  })

  test('by a generator that fails has sent nothing', async () => {
    class Broken extends Hundred {
      override *generateRequests() {
        yield request('a')
        throw new Error('no more paper')
      }
    }
    const rig = harness()
    await expect(new Broken(rig.options({ pilot: 10 })).run()).rejects.toThrow('no more paper')
    expect(rig.count('POST', CALLS)).toBe(0)
  })
})
