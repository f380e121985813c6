import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { QueueFile } from '../../src/batch/queue-file.ts'
import { RequestIndex } from '../../src/batch/request-index.ts'
import {
  exceedsEnqueued,
  filesToSeal,
  fits,
  type LineSize,
  type QueueFacts,
  type SealLimits,
  type SealSettings,
  sealAs,
  sealFor,
  tooLarge,
  withLine,
} from '../../src/batch/sealing.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'
import { Draft } from '../../src/requester/draft.ts'
import { enqueueNew, type PreparedRequest } from '../../src/requester/queue.ts'
import type { Valuer } from '../../src/requester/valuer.ts'
import { noForecast } from '../../src/tokens/forecast.ts'
import { queueFile, queueFiles } from '../support/queue-files.ts'
import { plainValuer, sealSettings, tokensOf, unlimitedSeal } from '../support/valuation.ts'

const few = { minBatchRequests: 3, maxBatchRequests: 5, maxBatchBytes: 1000, maxDirectRequests: 4 }
const settingsOf = (over: Partial<SealSettings> = {}): SealSettings => sealSettings({ ...few, ...over })

const none = fc.constant(Number.POSITIVE_INFINITY)
/** Limits of the numbers of lines and of bytes. */
const limitSets: fc.Arbitrary<SealLimits> = fc.record({
  ...{ maxBatchTokens: none, maxBatchNanoUsd: none, maxDirectTokens: none, maxDirectNanoUsd: none },
  forceDirect: fc.boolean(),
  minBatchRequests: fc.integer({ min: 1, max: 6 }),
  maxBatchRequests: fc.integer({ min: 1, max: 8 }),
  maxBatchBytes: fc.integer({ min: 150, max: 2000 }),
  maxDirectRequests: fc.integer({ min: 1, max: 6 }),
})
const factSets = fc.record<QueueFacts>({
  producing: fc.boolean(),
  inFlight: fc.boolean(),
  directBacklog: fc.nat(4),
  directConcurrency: fc.integer({ min: 1, max: 4 }),
})
const settings = limitSets.map(sealSettings)
const idle: QueueFacts = { producing: false, inFlight: false, directBacklog: 0, directConcurrency: 2 }
const busy: QueueFacts = { ...idle, inFlight: true }

/** The queue after requests of these sizes were enqueued, some at a time. */
function fill(groups: readonly (readonly number[])[], valuer: Valuer): Draft {
  const draft = new Draft({ state: initialState, requests: new RequestIndex() }, () => 0)
  let number = 0
  for (const sizes of groups) {
    const requests = sizes.map((size): PreparedRequest => {
      const key = `k${++number}`
      const model = number % 3 === 0 ? 'other' : 'm'
      const bodyText = JSON.stringify({ model, input: 'x'.repeat(size) })
      return {
        key,
        sample: key,
        meta: undefined,
        hash: '0'.repeat(16),
        endpoint: '/v1/responses',
        model,
        bodyText,
      }
    })
    enqueueNew(draft, requests, valuer)
  }
  return draft
}

const queueOf = (list: readonly (readonly number[])[], limits: SealLimits): TaskState =>
  fill(list, plainValuer({ seal: limits })).state

const groups = fc.array(fc.array(fc.nat(900), { maxLength: 12 }), { maxLength: 4 })

/** Requests that are enqueued together get their numbers model by model. */
function inNumberedOrder(list: readonly (readonly number[])[]) {
  let number = 0
  return list.flatMap((sizes) => {
    const together = sizes.map((size) => ({ size, model: ++number % 3 === 0 ? 'other' : 'm' }))
    return [...Map.groupBy(together, ({ model }) => model).values()].flat()
  })
}

describe('a queue that is filled with anything', () => {
  test('has no file beyond its limits', () => {
    fc.assert(
      fc.property(groups, limitSets, (list, limits) => {
        const most = limits.forceDirect ? limits.maxDirectRequests : limits.maxBatchRequests
        for (const { requests, bytes } of queueOf(list, limits).files.values()) {
          expect(requests).toBeGreaterThan(0)
          expect(requests).toBeLessThanOrEqual(most)
          expect(bytes).toBeLessThanOrEqual(limits.maxBatchBytes)
        }
      }),
      { numRuns: 300 },
    )
  })

  test('has no batch below the smallest size, and none at all when everything is to go directly', () => {
    fc.assert(
      fc.property(groups, limitSets, (list, limits) => {
        for (const { phase, requests } of queueOf(list, limits).files.values()) {
          if (phase !== 'sealed') continue
          expect(requests).toBeGreaterThanOrEqual(limits.minBatchRequests)
          expect(limits.forceDirect).toBe(false)
        }
      }),
    )
  })

  test('holds every request that can be sent, and has refused every other one alone', () => {
    fc.assert(
      fc.property(groups, limitSets, (list, limits) => {
        const { files, counters } = queueOf(list, limits)
        const queued = [...files.values()].reduce((sum, { requests }) => sum + requests, 0)
        expect(counters.requests).toBe(list.flat().length)
        expect(counters.pending).toBe(queued)
        const sizes = inNumberedOrder(list).map(({ model, size }, at) => {
          const body = JSON.stringify({ model, input: 'x'.repeat(size) })
          return `{"custom_id":"r${at + 1}-0","method":"POST","url":"/v1/responses","body":${body}}\n`.length
        })
        expect(counters.failed).toBe(sizes.filter((size) => size > limits.maxBatchBytes).length)
      }),
      {
        examples: [
          [
            [
              [0, 0, 0, 0],
              [0, 456, 0, 0, 0, 0, 0],
            ],
            {
              ...unlimitedSeal,
              minBatchRequests: 1,
              maxBatchRequests: 1,
              maxBatchBytes: 551,
              maxDirectRequests: 1,
            },
          ],
        ],
      },
    )
  })

  test('seals a file only when the next line of its model does not fit into it', () => {
    fc.assert(
      fc.property(groups, limitSets, (list, limits) => {
        const valuer = plainValuer({ seal: limits })
        const draft = fill(list, valuer)
        const texts = new Map(draft.group().appends.map(({ file, text }) => [file, text]))
        const files = [...draft.state.files.values()]
        for (const file of files) {
          const text = texts.get(`_batch${file.id}.jsonl`) ?? ''
          expect([file.bytes, file.requests]).toEqual([Buffer.byteLength(text), text.split('\n').length - 1])
          const next = files.find(({ id, model }) => id > file.id && model === file.model)
          expect(file.phase).toBe(
            !next ? 'open' : sealAs(file, valuer.sealing) === 'batch' ? 'sealed' : 'direct',
          )
          if (!next) continue
          const [line = ''] = (texts.get(`_batch${next.id}.jsonl`) ?? '').split('\n')
          const size = { bytes: Buffer.byteLength(`${line}\n`), tokens: noForecast }
          expect(fits(file, size, valuer.sealing)).toBe(false)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('what is sealed', () => {
  test('is open and holds living requests, each file once', () => {
    fc.assert(
      fc.property(queueFiles(), factSets, settings, (files, facts, limits) => {
        const ids = filesToSeal(files, facts, limits).map(({ file }) => file)
        const sealable = files.filter(({ phase, live }) => phase === 'open' && live > 0).map(({ id }) => id)
        expect(sealable).toEqual(expect.arrayContaining(ids))
        expect(new Set(ids).size).toBe(ids.length)
      }),
    )
  })

  test('is a batch exactly when it has enough lines', () => {
    fc.assert(
      fc.property(queueFiles(['open']), factSets, settings, (files, facts, limits) => {
        for (const { file: id, as } of filesToSeal(files, facts, limits)) {
          const enough = (files[id - 1]?.requests ?? 0) >= limits.minBatchRequests
          expect(as).toBe(enough && !limits.forceDirect ? 'batch' : 'direct')
        }
      }),
    )
  })

  test('is never a remnant that something in flight, or still to be made, can add to', () => {
    fc.assert(
      fc.property(queueFiles(), factSets, settings, (files, facts, limits) => {
        if (limits.forceDirect || !(facts.inFlight || facts.producing)) return
        expect(filesToSeal(files, facts, limits).filter(({ as }) => as === 'direct')).toEqual([])
      }),
    )
  })

  test('is everything once nothing is in flight and nothing more comes', () => {
    fc.assert(
      fc.property(queueFiles(), settings, (files, limits) => {
        const ids = filesToSeal(files, idle, limits).map(({ file }) => file)
        expect(ids).toEqual(
          files.filter(({ phase, live }) => phase === 'open' && live > 0).map(({ id }) => id),
        )
      }),
    )
  })
})

describe('an open file', () => {
  const enough = queueFile('open', { requests: 3, live: 3 })
  const remnant = queueFile('open', { requests: 2, live: 2 })

  test('of enough lines goes as a batch while others are in flight, but not while more may come', () => {
    expect(filesToSeal([enough], busy, settingsOf())).toEqual([{ file: 1, as: 'batch' }])
    expect(filesToSeal([enough], { ...idle, producing: true }, settingsOf())).toEqual([])
  })

  test('of too few lines waits, and goes directly in the end', () => {
    expect(filesToSeal([remnant], busy, settingsOf())).toEqual([])
    expect(filesToSeal([remnant], idle, settingsOf())).toEqual([{ file: 1, as: 'direct' }])
  })

  test('whose requests are all settled is left alone', () => {
    expect(filesToSeal([queueFile('open', { requests: 5, live: 0 })], idle, settingsOf())).toEqual([])
  })

  test('goes directly as soon as connections are free, when everything is to', () => {
    const limits = settingsOf({ forceDirect: true })
    const producing = { ...busy, producing: true }
    expect(filesToSeal([enough], { ...producing, directBacklog: 1 }, limits)).toEqual([
      { file: 1, as: 'direct' },
    ])
    expect(filesToSeal([enough], { ...producing, directBacklog: 2 }, limits)).toEqual([])
    expect(filesToSeal([enough], { ...busy, directBacklog: 2 }, limits)).toEqual([{ file: 1, as: 'direct' }])
  })

  test('takes a line up to the last byte and the last line', () => {
    const file = queueFile('open', { requests: 4, bytes: 900 })
    const line = (bytes: number) => ({ bytes, tokens: noForecast })
    expect(fits(file, line(100), settingsOf())).toBe(true)
    expect(fits(file, line(101), settingsOf())).toBe(false)
    expect(fits({ ...file, requests: 5 }, line(1), settingsOf())).toBe(false)
    expect(fits(file, line(1), settingsOf({ forceDirect: true }))).toBe(false)
  })
})

const line = (input: number, over: Partial<LineSize> = {}): LineSize => ({
  bytes: 100,
  tokens: tokensOf(input, { output: input, mostOutput: 2 * input }),
  ...over,
})
/** An open file that has so many lines of so many prompt tokens each. */
const filled = (lines: number, input: number): QueueFile =>
  Array.from({ length: lines }, () => line(input)).reduce(
    withLine,
    queueFile('open', { requests: 0, bytes: 0, live: lines, tokens: noForecast }),
  )

describe('tokens and cost of a file', () => {
  test.each<[string, Partial<SealSettings>, Partial<SealSettings>]>([
    ['batch tokens', { maxBatchTokens: 1000 }, { maxBatchTokens: 999 }],
    // 10 lines of 100 in and 100 out at 1 and 4 nano-USD, and half of that.
    ['batch cost', { maxBatchNanoUsd: 2500 }, { maxBatchNanoUsd: 2499 }],
    ['enqueued tokens', { enqueuedCap: () => 1000 }, { enqueuedCap: () => 999 }],
    [
      'direct tokens',
      { forceDirect: true, maxDirectTokens: 1000 },
      { forceDirect: true, maxDirectTokens: 999 },
    ],
    [
      'direct cost',
      { forceDirect: true, maxDirectNanoUsd: 5000 },
      { forceDirect: true, maxDirectNanoUsd: 4999 },
    ],
  ])('may reach the limit of %s, and a line that would pass it begins another file', (_, enough, tooLow) => {
    const file = filled(9, 100)
    expect(fits(file, line(100), sealSettings(enough))).toBe(true)
    expect(fits(file, line(100), sealSettings(tooLow))).toBe(false)
    expect(sealFor(file, line(100), sealSettings(enough))).toBeUndefined()
    expect(sealFor(file, line(100), sealSettings(tooLow))).toBe(tooLow.forceDirect ? 'direct' : 'batch')
  })

  test('count only against the limits of the way they will go', () => {
    const direct = { maxDirectTokens: 0, maxDirectNanoUsd: 0, maxDirectRequests: 0 }
    expect(fits(filled(9, 100), line(100), sealSettings(direct))).toBe(true)
    const batch = { maxBatchTokens: 0, maxBatchNanoUsd: 0, maxBatchRequests: 0, enqueuedCap: () => 0 }
    expect(fits(filled(9, 100), line(100), sealSettings({ ...batch, forceDirect: true }))).toBe(true)
  })

  test('add up line by line, and the file ends as it began in all else', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5000), { maxLength: 20 }), (inputs) => {
        const empty = queueFile('open', { requests: 0, bytes: 0, tokens: noForecast })
        const file = inputs.map((input) => line(input)).reduce(withLine, empty)
        const total = inputs.reduce((sum, input) => sum + input, 0)
        expect(file.tokens?.input).toBe(total)
        expect(file.tokens?.requests).toBe(inputs.length)
        expect(file).toMatchObject({ requests: inputs.length, bytes: 100 * inputs.length, phase: 'open' })
      }),
    )
  })
})

describe('a model of which only so many prompt tokens may be enqueued', () => {
  const enqueuedCap = (model: string) => (model === 'm' ? 1000 : undefined)
  const capped = sealSettings({ minBatchRequests: 3, enqueuedCap })

  test('has batches that take up all there is, however few their lines', () => {
    expect(sealFor(filled(1, 600), line(600), capped)).toBe('batch')
    expect(sealFor({ ...filled(1, 600), model: 'other' }, line(600), capped)).toBeUndefined()
  })

  test('sends a request directly that is larger than all of it', () => {
    const huge = filled(1, 1001)
    expect(exceedsEnqueued(huge, capped)).toBe(true)
    expect(sealAs(huge, sealSettings({ minBatchRequests: 1, enqueuedCap }))).toBe('direct')
    expect(sealFor(huge, line(1), capped)).toBe('direct')
    expect(tooLarge('m', line(1001), capped)).toBeUndefined()
    expect(exceedsEnqueued(filled(1, 1000), capped)).toBe(false)
  })

  test('has no batch beyond it in any queue, and no file of other lines that goes directly for it', () => {
    const sizes = fc.array(fc.array(fc.nat(900), { maxLength: 12 }), { maxLength: 4 })
    const caps = fc.integer({ min: 60, max: 900 })
    fc.assert(
      fc.property(sizes, caps, fc.integer({ min: 1, max: 4 }), (list, cap, minBatchRequests) => {
        const seal = { minBatchRequests }
        const valuer = plainValuer({ seal, enqueuedCap: (model) => (model === 'm' ? cap : undefined) })
        for (const file of fill(list, valuer).state.files.values()) {
          const isOver = (file.tokens?.input ?? 0) > cap
          if (file.model === 'm' && file.requests > 1) expect(isOver).toBe(false)
          if (file.model === 'm' && file.phase === 'sealed') expect(isOver).toBe(false)
          if (file.phase === 'direct') expect(isOver && file.requests === 1).toBe(true)
          if (file.model !== 'm') expect(file.phase).toBe('open')
        }
      }),
      { numRuns: 200 },
    )
  })
})

describe('a queue with limits of tokens and cost', () => {
  test('has no file beyond any of them, and refuses alone what could never go', () => {
    const limits = fc.record({
      maxBatchTokens: fc.integer({ min: 30, max: 1000 }),
      maxBatchNanoUsd: fc.integer({ min: 2_000_000, max: 5_000_000 }),
      maxDirectTokens: fc.integer({ min: 30, max: 1000 }),
      maxDirectNanoUsd: fc.integer({ min: 4_000_000, max: 9_000_000 }),
      forceDirect: fc.boolean(),
    })
    const sizes = fc.array(fc.array(fc.nat(2000), { maxLength: 12 }), { maxLength: 4 })
    fc.assert(
      fc.property(sizes, limits, (list, over) => {
        const valuer = plainValuer({ seal: over })
        const api = over.forceDirect ? 'direct' : 'batch'
        const { files, counters } = fill(list, valuer).state
        let queued = 0
        for (const { model, requests, tokens = noForecast } of files.values()) {
          const nanoUsd = valuer.expectedNanoUsd(tokens, model, api)
          expect(tokens.input).toBeLessThanOrEqual(
            over.forceDirect ? over.maxDirectTokens : over.maxBatchTokens,
          )
          expect(nanoUsd).toBeLessThanOrEqual(over.forceDirect ? over.maxDirectNanoUsd : over.maxBatchNanoUsd)
          queued += requests
        }
        expect(counters).toMatchObject({ requests: list.flat().length, pending: queued })
      }),
      { numRuns: 200 },
    )
  })
})

describe('a request that can never be sent', () => {
  const huge = line(1000, { bytes: 5000, inputs: 50_001 })

  test.each<[string, Partial<SealSettings>, string]>([
    ['bytes', { maxBatchBytes: 4999 }, 'the request has 5000 bytes, more than a batch may have (4999)'],
    ['inputs of an embedding', {}, 'the request has 50001 inputs, more than a batch may have (50000)'],
  ])('is refused for its %s, wherever it would go', (_, over, why) => {
    expect(tooLarge('m', huge, sealSettings(over))).toBe(why)
    expect(tooLarge('m', huge, sealSettings({ ...over, forceDirect: true }))).toBe(why)
  })

  test.each<[string, Partial<SealSettings>, RegExp]>([
    [
      'tokens',
      { maxBatchTokens: 999 },
      /^the request has about 1000 prompt tokens, .*--max-batch-ktokens, 999/,
    ],
    [
      'tokens',
      { forceDirect: true, maxDirectTokens: 999 },
      /^the request has about 1000 prompt tokens, .*--max-direct-ktokens, 999/,
    ],
    ['cost', { maxBatchNanoUsd: 2499 }, /^the request costs about <?\$.*--max-batch-cost/],
    [
      'cost',
      { forceDirect: true, maxDirectNanoUsd: 4999 },
      /^the request costs about <?\$.*--max-direct-cost/,
    ],
    // 2,000 in and 2,000 out at most, by batch.
    ['worst case', { maxSpendNanoUsd: 4999 }, /^the request may cost up to <?\$.*--max-spend/],
    [
      'worst case',
      { forceDirect: true, maxSpendNanoUsd: 9999 },
      /^the request may cost up to <?\$.*--max-spend/,
    ],
  ])('is refused for its %s, naming the flag: %o', (_, over, why) => {
    const reason = tooLarge('m', line(1000), sealSettings(over))
    expect(reason).toMatch(why)
    // Parentheses are closed where they are opened.
    expect(reason?.match(/\(/g)?.length).toBe(reason?.match(/\)/g)?.length)
  })

  test('is one that passes a limit, not one that reaches it', () => {
    const batch = { maxBatchBytes: 100, maxBatchTokens: 1000, maxBatchNanoUsd: 2500, maxSpendNanoUsd: 5000 }
    expect(tooLarge('m', line(1000), sealSettings(batch))).toBeUndefined()
    const direct = {
      forceDirect: true,
      maxDirectTokens: 1000,
      maxDirectNanoUsd: 5000,
      maxSpendNanoUsd: 10_000,
    }
    expect(tooLarge('m', line(1000), sealSettings(direct))).toBeUndefined()
  })

  test('is none that only one batch at a time has no room for', () => {
    expect(tooLarge('m', line(1000), sealSettings({ enqueuedCap: () => 10 }))).toBeUndefined()
    expect(tooLarge('m', line(1000), sealSettings({ maxBatchRequests: 0 }))).toBeUndefined()
  })
})
