import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RequestIndex } from '../../src/batch/request-index.ts'
import {
  filesToSeal,
  fits,
  maxLineBytes,
  type QueueFacts,
  type SealSettings,
  sealAs,
} from '../../src/batch/sealing.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'
import { Draft } from '../../src/requester/draft.ts'
import { enqueueNew, type PreparedRequest } from '../../src/requester/queue.ts'
import { queueFile, queueFiles } from '../support/queue-files.ts'

const settingsOf = (over: Partial<SealSettings> = {}): SealSettings => ({
  forceDirect: false,
  minBatchRequests: 3,
  maxBatchRequests: 5,
  maxBatchBytes: 1000,
  maxDirectRequests: 4,
  ...over,
})
const settings = fc.record<SealSettings>({
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
const idle: QueueFacts = { producing: false, inFlight: false, directBacklog: 0, directConcurrency: 2 }
const busy: QueueFacts = { ...idle, inFlight: true }

/** The queue after requests of these sizes were enqueued, some at a time. */
function fill(groups: readonly (readonly number[])[], limits: SealSettings): Draft {
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
    enqueueNew(draft, requests, limits)
  }
  return draft
}

const queueOf = (list: readonly (readonly number[])[], limits: SealSettings): TaskState =>
  fill(list, limits).state

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
      fc.property(groups, settings, (list, limits) => {
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
      fc.property(groups, settings, (list, limits) => {
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
      fc.property(groups, settings, (list, limits) => {
        const { files, counters } = queueOf(list, limits)
        const queued = [...files.values()].reduce((sum, { requests }) => sum + requests, 0)
        expect(counters.requests).toBe(list.flat().length)
        expect(counters.pending).toBe(queued)
        const sizes = inNumberedOrder(list).map(({ model, size }, at) => {
          const body = JSON.stringify({ model, input: 'x'.repeat(size) })
          return `{"custom_id":"r${at + 1}-0","method":"POST","url":"/v1/responses","body":${body}}\n`.length
        })
        expect(counters.failed).toBe(sizes.filter((size) => size > maxLineBytes(limits)).length)
      }),
      {
        examples: [
          [
            [
              [0, 0, 0, 0],
              [0, 456, 0, 0, 0, 0, 0],
            ],
            settingsOf({
              minBatchRequests: 1,
              maxBatchRequests: 1,
              maxBatchBytes: 551,
              maxDirectRequests: 1,
            }),
          ],
        ],
      },
    )
  })

  test('seals a file only when the next line of its model does not fit into it', () => {
    fc.assert(
      fc.property(groups, settings, (list, limits) => {
        const draft = fill(list, limits)
        const texts = new Map(draft.group().appends.map(({ file, text }) => [file, text]))
        const files = [...draft.state.files.values()]
        for (const file of files) {
          const text = texts.get(`_batch${file.id}.jsonl`) ?? ''
          expect([file.bytes, file.requests]).toEqual([Buffer.byteLength(text), text.split('\n').length - 1])
          const next = files.find(({ id, model }) => id > file.id && model === file.model)
          expect(file.phase).toBe(!next ? 'open' : sealAs(file, limits) === 'batch' ? 'sealed' : 'direct')
          if (!next) continue
          const [line = ''] = (texts.get(`_batch${next.id}.jsonl`) ?? '').split('\n')
          expect(fits(file, { bytes: Buffer.byteLength(`${line}\n`) }, limits)).toBe(false)
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
    expect(fits(file, { bytes: 100 }, settingsOf())).toBe(true)
    expect(fits(file, { bytes: 101 }, settingsOf())).toBe(false)
    expect(fits({ ...file, requests: 5 }, { bytes: 1 }, settingsOf())).toBe(false)
    expect(fits(file, { bytes: 1 }, settingsOf({ forceDirect: true }))).toBe(false)
  })
})
