import type { Way } from '../support/fault-world.ts'
import type { FaultCase } from './fault-case.ts'

const BATCH: readonly Way[] = ['batch']
/** The first, the second and the last batch, of 5, 5 and 2 requests. */
const EACH = [1, 2, 3] as const

/** Polls every quarter of an hour at least. */
const SELDOM = { remoteUpdateInterval: 900 } as const

/** What a batch looks like from outside. */
export const batchLookCases: readonly FaultCase[] = [
  ...(['validating', 'in_progress', 'finalizing'] as const).flatMap((where): FaultCase[] => [
    {
      name: `a batch is ${where} for five hours`,
      of: 'api 4',
      ways: BATCH,
      faults: [{ fault: 'batch-stuck', in: where, ms: 5 * 3_600_000 }],
      options: SELDOM,
      nth: [2],
    },
  ]),
  {
    name: 'a batch is in progress until its time is over',
    of: '3.2; api 3, 4',
    ways: BATCH,
    faults: [{ fault: 'batch-stuck', in: 'in_progress', ms: 48 * 3_600_000 }],
    nth: [1],
    options: { ...SELDOM, maxRetries: 0 },
    expected: { requeued: { expired: 3 } },
  },
  {
    name: 'a batch has a status nobody knows for three looks',
    of: 'api 4',
    ways: BATCH,
    faults: [{ fault: 'batch-status', says: 'pondering', looks: 3 }],
    nth: [2],
  },
  ...(['null', 'empty'] as const).flatMap((is): FaultCase[] => [
    {
      name: `the ids of a batch's files are ${is} for two looks`,
      of: '3.2; api 5, 6',
      ways: BATCH,
      faults: [{ fault: 'batch-file-id', file: 'both', is, looks: 2 }],
      nth: EACH,
    },
    {
      name: `the id of the error file is ${is} for ever, and there is none`,
      of: '3.2; api 5',
      ways: BATCH,
      faults: [{ fault: 'batch-file-id', file: 'error', is }],
    },
    {
      name: `the id of the output file is ${is} for ever, of a batch that failed all its requests`,
      of: '3.2; api 5',
      ways: BATCH,
      faults: [
        { fault: 'batch-file-id', file: 'output', is, when: { first: 3 } },
        { fault: 'reply-status', status: 500, error: { message: 'Down.' }, when: { first: 12 } },
      ],
      expected: { requeued: { retry: 12 }, answered: 24 },
    },
    {
      name: `the ids of a batch's files stay ${is}`,
      of: '3.2; api 5',
      ways: BATCH,
      faults: [{ fault: 'batch-file-id', file: 'both', is }],
      nth: [1],
      expected: { requeued: { retry: 5 }, answered: 17, unbilled: true, unnamed: true },
    },
  ]),
  ...(['output', 'error', 'both'] as const).map(
    (file): FaultCase => ({
      name: `a batch has an empty file: ${file}`,
      of: '3.2; api 5, 24',
      ways: BATCH,
      faults: [{ fault: 'batch-file-empty', file }],
      nth: [1],
      ...(file !== 'error' && {
        expected: { requeued: { retry: 5 }, answered: 17, unbilled: true },
      }),
    }),
  ),
  {
    name: 'all batches have an empty error file',
    of: 'api 24: success still yields an empty error file',
    ways: BATCH,
    faults: [{ fault: 'batch-file-empty', file: 'error' }],
  },
  ...(
    [
      ['missing', 'missing'],
      ['zero', { total: 0, completed: 0, failed: 0 }],
      ['all failed', { completed: 0, failed: 5 }],
      ['too many', { total: 99, completed: 99 }],
    ] as const
  ).map(
    ([name, are]): FaultCase => ({
      name: `the counts of all batches are ${name}`,
      of: '3.2; api 6',
      ways: BATCH,
      faults: [{ fault: 'batch-counts', are }],
    }),
  ),
  {
    name: 'counts say zero while the file ids are missing for two looks',
    of: '3.2; api 5, 6',
    ways: BATCH,
    faults: [
      { fault: 'batch-file-id', file: 'both', is: 'null', looks: 2 },
      { fault: 'batch-counts', are: { total: 0, completed: 0, failed: 0 } },
    ],
  },
  ...(['missing', 'null'] as const).map(
    (is): FaultCase => ({
      name: `the usage of all batches is ${is}`,
      of: '3.2; api 17',
      ways: BATCH,
      faults: [{ fault: 'batch-usage', is }],
    }),
  ),
]
