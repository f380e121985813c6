import type { Fault, Way } from '../support/fault-world.ts'
import type { FaultCase } from './fault-case.ts'

const BATCH: readonly Way[] = ['batch']
const EACH = [1, 2, 3] as const
const DOUBTED = { warnings: ['create_in_doubt'] } as const

const lost = (more: object = {}): Fault => ({
  fault: 'http-lose',
  route: 'POST /v1/batches',
  acts: true,
  ...more,
})
const lostUpload = (more: object = {}): Fault => ({
  fault: 'http-lose',
  route: 'POST /v1/files',
  acts: true,
  ...more,
})

export const listingCases: readonly FaultCase[] = [
  {
    name: 'an upload is not there when its batch is made',
    of: '3.1; api 11',
    ways: BATCH,
    faults: [{ fault: 'listing-lag', what: 'file', from: ['create'], ms: 10_000 }],
    nth: [2],
  },
  {
    name: 'uploads are not there for two creations each',
    of: '3.1; api 11',
    ways: BATCH,
    faults: [{ fault: 'listing-lag', what: 'file', from: ['create'], calls: 2 }],
  },
  {
    name: 'a batch is not found right after its creation',
    of: '3.1',
    ways: BATCH,
    faults: [{ fault: 'listing-lag', what: 'batch', from: ['list', 'get'], ms: 3_000 }],
    nth: EACH,
  },
  {
    name: 'a batch is missing from listings for a minute',
    of: '3.1',
    ways: BATCH,
    faults: [{ fault: 'listing-lag', what: 'batch', ms: 60_000 }],
    nth: [2],
  },
  {
    name: 'a creation is lost, and its batch missing from listings for ten seconds',
    of: '3.1; api 15: a list that lags',
    ways: BATCH,
    faults: [lost(), { fault: 'listing-lag', what: 'batch', ms: 10_000 }],
    nth: EACH,
    expected: DOUBTED,
  },
  {
    name: 'all creations are lost, and all batches missing from listings for ten seconds',
    of: '3.1; api 15',
    ways: BATCH,
    faults: [lost({ when: { first: 3 } }), { fault: 'listing-lag', what: 'batch', ms: 10_000 }],
    expected: DOUBTED,
  },
  {
    name: 'a creation is lost, and its batch missing from listings for longer than the grace',
    of: '3.1: the second batch is cancelled; api 15',
    ways: BATCH,
    faults: [
      lost(),
      { fault: 'listing-lag', what: 'batch', ms: 90_000 },
      { fault: 'batch-stuck', in: 'in_progress', ms: 600_000 },
      { fault: 'batch-stuck', in: 'cancelling', ms: 300_000 },
    ],
    nth: [1, 2],
    expected: { warnings: ['create_in_doubt', 'stray_batch'], batches: 4 },
  },
  {
    name: 'a creation is lost among 250 batches of other people',
    of: '3.1: many pages of other people',
    ways: BATCH,
    faults: [
      lost(),
      {
        fault: 'listing-crowd',
        what: 'batch',
        before: 20,
        after: 250,
        metadata: { owner: 'team-{n}' },
        when: { first: 3 },
      },
    ],
    nth: [2],
    expected: DOUBTED,
  },
  {
    name: 'a creation is lost, and pages hold two batches',
    of: '3.1: many pages',
    ways: BATCH,
    faults: [
      lost(),
      { fault: 'listing-pages', what: 'batch', size: 2 },
      { fault: 'listing-crowd', what: 'batch', before: 3, after: 4, metadata: { owner: 'team-{n}' } },
    ],
    nth: [2],
    expected: DOUBTED,
  },
  {
    name: 'an upload is lost among 250 files of other people, in pages of fifty',
    of: '3.1: uploads left unused',
    ways: BATCH,
    faults: [
      lostUpload(),
      { fault: 'listing-pages', what: 'file', size: 50 },
      { fault: 'listing-crowd', what: 'file', before: 20, after: 250, when: { first: 1 } },
    ],
    nth: [2],
  },
  {
    name: 'an upload is lost, and missing from listings for ten seconds',
    of: '3.1: uploads left unused are found and deleted',
    ways: BATCH,
    faults: [lostUpload(), { fault: 'listing-lag', what: 'file', ms: 10_000 }],
    nth: EACH,
  },
  {
    name: 'an upload comes late',
    of: '3.1: uploads left unused',
    ways: BATCH,
    faults: [lostUpload({ acts: { afterMs: 8_000 } })],
    nth: EACH,
  },
  ...[2_000, 20_000, 40_000].map(
    (afterMs): FaultCase => ({
      name: `a create lands ${afterMs / 1000} seconds late`,
      of: '3.1: a create that lands late',
      ways: BATCH,
      faults: [lost({ acts: { afterMs } })],
      nth: EACH,
      expected: DOUBTED,
    }),
  ),
  {
    name: 'an upload cannot be deleted for two seconds, for it is not there',
    of: '3.6',
    ways: BATCH,
    faults: [{ fault: 'listing-lag', what: 'file', from: ['delete'], ms: 1_000 }],
    nth: EACH,
  },
]
