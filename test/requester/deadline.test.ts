import { describe, expect, test } from 'vitest'
import { accept, reject } from '../../src/batch/verdict.ts'
import type { EmulatorLatency, EmulatorOptions } from '../../src/emulator/index.ts'
import type { ProgressEvent } from '../../src/progress/events.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import {
  ask,
  crashing,
  type Harness,
  harness,
  isKind,
  ledgerSteps,
  names,
  stepsOf,
  taskLines,
} from '../support/task-harness.ts'
import { clockOfFastDisk } from '../support/virtual-clock.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const CHAT = '/v1/chat/completions'
const KEYS = names(40)

class Forty extends TaskManager {
  *generateRequests() {
    for (const key of KEYS) yield { key, body: { ...ask(key), max_completion_tokens: 50 } }
  }

  processResponse({ key, attempt }: TaskResponse) {
    return accept({ key, attempt })
  }
}

interface Line {
  readonly key: string
  readonly attempt: number
}

/** A batch of forty takes eight hours here. */
const SLOW: EmulatorLatency = { perRequestMs: 12 * MINUTE, directMs: 5 * SECOND, flexMs: 30 * SECOND }
const FAST: EmulatorLatency = { perRequestMs: SECOND, directMs: 5 * SECOND, flexMs: 30 * SECOND }

/** A server that takes its time. */
function world(latency: EmulatorLatency, over: Omit<EmulatorOptions, 'clock'> = {}): Harness {
  const rig = harness({ latency, answer: () => 'fine', ...over }, clockOfFastDisk())
  return { ...rig, options: (more = {}) => rig.options({ remoteUpdateInterval: 60, ...more }) }
}

const outputs = (dir: string): Line[] => taskLines<Line>(dir, '_output.jsonl')

/** Answers that were received, and so paid for, by the way they came. */
function ways(dir: string) {
  const ways = { batch: 0, flex: 0, direct: 0 }
  for (const { answers, requests, tier } of stepsOf(dir, 'received')) {
    if (Array.isArray(requests)) ways[tier === 'flex' ? 'flex' : 'direct'] += requests.length
    else ways.batch += Number(answers ?? 0)
  }
  return ways
}
const paid = (dir: string): number => Object.values(ways(dir)).reduce((sum, count) => sum + count, 0)
const keysOf = (dir: string): string[] =>
  outputs(dir)
    .map(({ key }) => key)
    .sort()
const SORTED = [...KEYS].sort()

/** Calls by the way in which they went, each of which has to be counted at the price of it. */
function sentBy(dir: string) {
  const sent = stepsOf(dir, 'sent').map(({ requests, expectedNanoUsd, tier }) => {
    const calls = Array.isArray(requests) ? requests.length : 0
    return { calls, nanoUsd: Number(expectedNanoUsd) / calls, tier }
  })
  const dearest = Math.max(...sent.map(({ nanoUsd }) => nanoUsd))
  // Prompts differ a little in length.
  for (const { nanoUsd, tier } of sent) {
    expect(nanoUsd / dearest).toBeGreaterThan(tier === 'flex' ? 0.45 : 0.9)
    expect(nanoUsd / dearest).toBeLessThanOrEqual(tier === 'flex' ? 0.55 : 1)
  }
  const callsOf = (wanted: unknown) =>
    sent.reduce((sum, { calls, tier }) => sum + (tier === wanted ? calls : 0), 0)
  return { flex: callsOf('flex'), direct: callsOf(undefined) }
}

describe('a batch that will not make it', () => {
  test('is cut short: its answers are kept, and the rest goes by flex, in time', async () => {
    const { options, dir, clock, count, warnings } = world(SLOW)
    const start = clock.now()
    const summary = await new Forty(options({ deadline: '3h' })).run()
    expect(summary).toMatchObject({ outcome: 'complete', succeeded: 40, failed: 0, retries: 0 })
    expect(clock.now() - start).toBeLessThanOrEqual(3 * HOUR)
    const { batch, flex, direct } = ways(dir)
    expect(batch).toBeGreaterThan(3)
    expect(flex).toBe(40 - batch)
    expect(direct).toBe(0)
    expect(keysOf(dir)).toEqual(SORTED)
    expect(outputs(dir).every(({ attempt }) => attempt === 1)).toBe(true)
    // Nothing was answered, and so paid for, twice.
    expect(paid(dir)).toBe(40)
    expect(count('POST', /cancel$/)).toBe(1)
    expect(stepsOf(dir, 'requeue').every(({ why }) => why === 'recalled')).toBe(true)
    expect(warnings('deadline')[0]).toMatch(/goes by flex.*as by batch/)
  })

  test('says once what it does, and what is expected of it', async () => {
    const { options, warnings } = world(SLOW)
    await new Forty(options({ deadline: '3h', maxBatchRequests: 8 })).run()
    const said = warnings('deadline')
    const cancelled = said.flatMap(
      (text) => /batch(?:es)? ([\d, ]+) cancelled/.exec(text)?.[1]?.split(', ') ?? [],
    )
    expect(cancelled.length).toBeGreaterThan(1)
    expect(new Set(cancelled).size).toBe(cancelled.length)
    for (const text of said) expect(text).not.toMatch(/The 0 requests/)
  })

  test('is no failure of its requests: nobody is asked what to do about them', async () => {
    class Strict extends Forty {
      override processFailure() {
        return reject('it failed')
      }
    }
    const { options, dir, events } = world(SLOW)
    const summary = await new Strict(options({ deadline: '3h' })).run()
    expect(summary).toMatchObject({ outcome: 'complete', succeeded: 40, failed: 0 })
    expect(stepsOf(dir, 'requeue').map(({ why }) => why)).toContain('recalled')
    expect(events.filter(({ kind }) => kind === 'request-failed')).toEqual([])
  })

  test('is cut short again and again without its requests failing for that', async () => {
    const { options } = world(SLOW)
    const summary = await new Forty(options({ deadline: '3h', maxExpiries: 0, maxPassFailures: 1 })).run()
    expect(summary).toMatchObject({ outcome: 'complete', succeeded: 40, failed: 0 })
  })

  test('goes directly when the model knows no flex, without using up an attempt', async () => {
    const { options, dir, clock, warnings } = world(SLOW, { flexModels: [] })
    const start = clock.now()
    const summary = await new Forty(options({ deadline: '3h', maxRetries: 0 })).run()
    expect(summary).toMatchObject({ outcome: 'complete', succeeded: 40, failed: 0 })
    expect(clock.now() - start).toBeLessThanOrEqual(3 * HOUR)
    const { batch, flex, direct } = ways(dir)
    expect(flex).toBe(0)
    expect(direct).toBe(40 - batch)
    expect(paid(dir)).toBe(40)
    expect(warnings('deadline').at(-1)).toMatch(/goes by direct calls.*by batch it would be/)
  })

  test('goes directly when there is no room for flex', async () => {
    const refusing = { faults: [{ fault: 'reply-flex-refused' as const, when: { first: 10_000 } }] }
    const { options, dir, clock } = world(SLOW, { scenario: refusing })
    const start = clock.now()
    const summary = await new Forty(options({ deadline: '3h', maxRetries: 0 })).run()
    expect(summary).toMatchObject({ outcome: 'complete', succeeded: 40, failed: 0 })
    expect(clock.now() - start).toBeLessThanOrEqual(3 * HOUR)
    const { batch, flex, direct } = ways(dir)
    expect([flex, batch + direct]).toEqual([0, 40])
    expect(paid(dir)).toBe(40)
  })

  describe.each([
    ['stays when there is no money for calls', 1.5, 'deadline'],
    ['is cut short when there is', 4, 'complete'],
  ] as const)('and for which there is no flex', (what, factor, outcome) => {
    test(what, async () => {
      class Embeddings extends TaskManager {
        override readonly endpoint = '/v1/embeddings';

        *generateRequests() {
          const model = 'text-embedding-3-small'
          for (const key of KEYS) yield { key, body: { model, input: `${key} ${'word '.repeat(2000)}` } }
        }

        processResponse({ key }: TaskResponse) {
          return accept(key)
        }
      }
      const free = world(FAST)
      const { cost } = await new Embeddings(free.options()).run()
      const { options, dir, count } = world(SLOW)
      const summary = await new Embeddings(options({ maxSpend: factor * cost, deadline: '7h' })).run()
      expect(summary.outcome).toBe(outcome)
      expect(count('POST', /cancel$/)).toBe(outcome === 'complete' ? 1 : 0)
      expect(count('POST', '/v1/embeddings') > 0).toBe(outcome === 'complete')
      const second = await new Embeddings(options({ maxSpend: factor * cost })).run()
      expect(second).toMatchObject({ outcome: 'complete', succeeded: 40 })
      expect(paid(dir)).toBe(40)
    })
  })
})

test('what is waiting goes by flex at once when there is no time for a batch', async () => {
  const { options, dir, count } = world(SLOW)
  const summary = await new Forty(options({ deadline: '8m' })).run()
  expect(summary).toMatchObject({ outcome: 'complete', succeeded: 40, batches: 0 })
  expect(ways(dir)).toEqual({ batch: 0, flex: 40, direct: 0 })
  expect(count('POST', '/v1/batches')).toBe(0)
})

test('a body that names its own tier keeps it', async () => {
  class Own extends Forty {
    override *generateRequests() {
      for (const [index, key] of KEYS.entries()) {
        const tier = ([undefined, 'auto', 'default'] as const)[index % 3]
        yield { key, body: { ...ask(key), max_completion_tokens: 50, ...(tier && { service_tier: tier }) } }
      }
    }
  }
  const { options, dir } = world(SLOW)
  await new Own(options({ deadline: '8m' })).run()
  expect(ways(dir)).toEqual({ batch: 0, flex: 27, direct: 13 })
  expect(sentBy(dir)).toEqual({ flex: 27, direct: 13 })
})

test('a call is counted as sent at the price of the way in which it goes', async () => {
  const refusing = { faults: [{ fault: 'reply-flex-refused' as const, when: { first: 10_000 } }] }
  const { options, dir } = world(SLOW, { scenario: refusing })
  const summary = await new Forty(options({ deadline: '12m', directConcurrency: 8 })).run()
  expect(summary).toMatchObject({ outcome: 'complete', succeeded: 40 })
  // Those that were on the wire when flex was given up were counted as flex calls.
  expect(sentBy(dir)).toEqual({ flex: 8, direct: 32 })
})

test('what waits for room among the enqueued tokens goes by flex as soon as there is no time for batches', async () => {
  class Long extends Forty {
    override *generateRequests() {
      for (const key of KEYS)
        yield { key, body: { ...ask(`${key} ${'word '.repeat(200)}`), max_completion_tokens: 50 } }
    }
  }
  // Room for one batch of ten.
  const { options, clock, events, seen } = world(SLOW, { limits: { enqueuedTokens: 3_000 } })
  const changes: number[] = []
  const clocked = {
    onEvent: (event: ProgressEvent) => {
      events.push(event)
      if (event.kind === 'warning' && event.code === 'deadline') changes.push(clock.now())
    },
  }
  const over = { deadline: '3h', maxBatchRequests: 10, remoteUpdateInterval: 47, reporters: [clocked] }
  const summary = await new Long(options(over)).run()
  expect(summary).toMatchObject({ outcome: 'complete', succeeded: 40 })
  expect(events.some((one) => one.kind === 'waiting' && one.reason.startsWith('room for batch'))).toBe(true)
  const [first] = seen.filter((one) => isKind(one, 'POST', CHAT))
  expect((first?.atMs ?? 0) - (changes[0] ?? 0)).toBeLessThanOrEqual(2 * SECOND)
})

test('with a fast server everything goes by batch', async () => {
  const { options, dir, count, warnings } = world(FAST)
  const summary = await new Forty(options({ deadline: '6h', maxBatchRequests: 10 })).run()
  expect(summary).toMatchObject({ outcome: 'complete', succeeded: 40, batches: 4, directSets: 0 })
  expect(count('POST', CHAT)).toBe(0)
  expect(count('POST', /cancel$/)).toBe(0)
  expect(warnings('deadline')).toEqual([])
  const took = stepsOf(dir, 'ended').map(({ tookMs }) => tookMs)
  expect(took).toHaveLength(4)
  for (const ms of took) expect(ms).toBeGreaterThanOrEqual(10 * SECOND)
})

test('a hard cap that is too small for calls stops the run within it', async () => {
  // Worth one call by its worst case, and a dozen by what they really cost.
  const maxSpend = 0.00015
  const { options, dir } = world(SLOW, { flexModels: [] })
  const summary = await new Forty(options({ deadline: '8m', maxSpend })).run()
  expect(summary.outcome).toBe('limits')
  expect(summary.cost).toBeLessThanOrEqual(maxSpend)
  expect(summary.succeeded).toBeGreaterThan(0)
  expect(summary.pending + summary.succeeded).toBe(40)
  expect(stepsOf(dir, 'rejected')).toEqual([])
})

describe('a deadline that passes', () => {
  /** Calls take as long as batches. */
  const STUCK: EmulatorLatency = { perRequestMs: 12 * MINUTE, directMs: HOUR, flexMs: HOUR }

  test('ends the run when what is on the wire is done, and the next run goes on', async () => {
    const { options, dir, clock, seen } = world({ ...STUCK, directMs: MINUTE, flexMs: MINUTE })
    const start = clock.now()
    const summary = await new Forty(options({ deadline: '4m', directConcurrency: 5 })).run()
    expect(summary).toMatchObject({ outcome: 'deadline', complete: false, failed: 0 })
    expect(summary.details.join(' ')).toMatch(/\d+ requests left.*--deadline/)
    expect(seen.every(({ path, atMs }) => path !== CHAT || atMs < start + 4 * MINUTE)).toBe(true)
    expect(clock.now() - start).toBeLessThanOrEqual(5 * MINUTE)
    // What came after the deadline has its verdict, too.
    expect(summary.succeeded).toBe(paid(dir))
    expect(summary.succeeded).toBeGreaterThan(0)
    expect(summary.pending).toBe(40 - summary.succeeded)
    const second = await new Forty(options()).run()
    expect(second).toMatchObject({ outcome: 'complete', succeeded: 40, failed: 0 })
    expect(keysOf(dir)).toEqual(SORTED)
    expect(paid(dir)).toBe(40)
  })

  test('leaves batches at the server, for the next run to collect', async () => {
    const { options, dir, clock, count } = world(STUCK)
    const start = clock.now()
    const summary = await new Forty(options({ deadline: '2h' })).run()
    expect(summary.outcome).toBe('deadline')
    expect(clock.now() - start).toBeLessThan(4 * HOUR)
    const batches = count('POST', '/v1/batches')
    const second = await new Forty(options()).run()
    expect(second).toMatchObject({ outcome: 'complete', succeeded: 40, failed: 0 })
    expect(batches).toBeGreaterThan(0)
    expect(keysOf(dir)).toEqual(SORTED)
    expect(paid(dir)).toBe(40)
  })

  test('before the run began: nothing is sent, and what was ready is collected', async () => {
    const { options, dir, clock, count } = world(FAST)
    const stop = new AbortController()
    const first = new Forty({
      ...options({ maxBatchRequests: 20, maxRemoteBatches: 1 }),
      stop: stop.signal,
      reporters: [{ onEvent: ({ kind }) => void (kind === 'batch-changed' && stop.abort()) }],
    })
    await first.run()
    const sent = count('POST', /./)
    clock.jump(HOUR)
    const summary = await new Forty(options({ deadline: '2025-12-31T00:00Z' })).run()
    expect(summary.outcome).toBe('deadline')
    expect(count('POST', /./)).toBe(sent)
    expect(stepsOf(dir, 'sent')).toEqual([])
    const third = await new Forty(options()).run()
    expect(third).toMatchObject({ outcome: 'complete', succeeded: 40 })
  })

  test('stops a generator that never ends', async () => {
    class Endless extends Forty {
      override *generateRequests() {
        for (let n = 0; ; n++) yield { key: `n-${n}`, body: { ...ask(`n-${n}`), max_completion_tokens: 50 } }
      }
    }
    const { options } = world(FAST)
    const few = { maxBatchRequests: 1000, maxRemoteBatches: 1, maxUnpushedBatches: 1 }
    const summary = await new Endless(options({ ...few, deadline: '2m' })).run()
    expect(summary).toMatchObject({ outcome: 'deadline', complete: false, failed: 0 })
  })
})

describe('a crash in the middle of the change', () => {
  const points = [
    ['when the cancel is sent', (path: string) => path.endsWith('/cancel'), false],
    ['when the cancel has arrived', (path: string) => path.endsWith('/cancel'), true],
    ['at the first flex call', (path: string) => path === CHAT, false],
    ['when the first flex call was answered', (path: string) => path === CHAT, true],
  ] as const

  test.each(points)('%s: the next run makes it all the same', async (_, isIt, acted) => {
    const rig = world(SLOW)
    const deadline = new Date(rig.clock.now() + 3 * HOUR).toISOString()
    const crash = crashing(rig, { at: ({ path }) => isIt(path), acted }, rig.options({ deadline }))
    const run = new Forty(crash.options).run()
    const folder = await crash.folder
    crash.bury()
    await Promise.allSettled([run])
    const summary = await new Forty(rig.options({ deadline, taskDir: folder })).run()
    expect(summary).toMatchObject({ outcome: 'complete', succeeded: 40, failed: 0 })
    expect(keysOf(folder)).toEqual(SORTED)
    expect(rig.clock.now()).toBeLessThanOrEqual(Date.parse(deadline))
    // Calls that were on the wire may be made twice; nothing else is.
    const uncertain = stepsOf(folder, 'uncertain').flatMap(({ requests }) => requests).length
    expect(paid(folder)).toBeLessThanOrEqual(40 + uncertain)
    expect(ledgerSteps(folder).filter(({ kind, why }) => kind === 'requeue' && why === 'cancelled')).toEqual(
      [],
    )
    expect(rig.seen.some((one) => isKind(one, 'POST', CHAT))).toBe(true)
  })
})
