import type { Fault, Way } from '../support/fault-world.ts'
import type { FaultCase } from './fault-case.ts'

const BATCH: readonly Way[] = ['batch']
/** The first, the second and the last batch, of 5, 5 and 2 requests. */
const EACH = [1, 2, 3] as const

type End = Extract<Fault, { fault: 'batch-end' }>
const failed = (code: string, message: string, more: Partial<End> = {}): Fault => ({
  fault: 'batch-end',
  as: 'failed',
  errors: [{ code, message }],
  ...more,
})

/** Its requests may fail, and then are put back to work. */
const BY_A_PERSON = [{ processFailedBatches: -1 }, { retryFailed: true }] as const
const STOPPED = { ends: 'failed-batches', warnings: ['batch_failed'], batches: 4 } as const

const FULL =
  'Enqueued token limit reached for gpt-5-mini in organization org. Limit: 90000 enqueued tokens. Please try again once some in_progress batches have been completed.'

export const batchEndCases: readonly FaultCase[] = [
  // --- the batch is bad
  ...['duplicate_custom_id', 'invalid_json_line', 'invalid_request', 'something_new'].map(
    (code): FaultCase => ({
      name: `a batch fails for one line, with ${code}`,
      of: '3.3; api 8, 9',
      ways: BATCH,
      faults: [
        failed('', '', {
          contains: 'k-02?',
          errors: [{ code, message: 'Not like this.', line: 2 }],
          when: { first: 1 },
        }),
      ],
      expected: {
        failed: { 'k-02': 'Not like this.' },
        requeued: { healed: 4 },
        answered: 11,
        warnings: ['batch_failed'],
      },
    }),
  ),
  {
    name: 'a batch fails for two lines, one after the other',
    of: '3.3; api 9',
    ways: BATCH,
    faults: [
      failed('', '', {
        contains: 'k-01?',
        errors: [{ code: 'invalid_request', message: 'The first is bad.', line: 'found' }],
      }),
      failed('', '', {
        contains: 'k-05?',
        errors: [{ code: 'invalid_request', message: 'The last is bad.', line: 'found' }],
      }),
    ],
    expected: {
      failed: { 'k-01': 'The first is bad.', 'k-05': 'The last is bad.' },
      requeued: { healed: 7 },
      warnings: ['batch_failed'],
      answered: 10,
    },
  },
  {
    name: 'a batch fails for several lines at once',
    of: '3.3; api 9',
    ways: BATCH,
    faults: [
      failed('', '', {
        when: { nth: 1 },
        contains: 'k-01?',
        errors: [1, 3].map((line) => ({ code: 'invalid_request', message: `Line ${line} is bad.`, line })),
      }),
    ],
    expected: {
      failed: { 'k-01': 'Line 1 is bad.', 'k-03': 'Line 3 is bad.' },
      requeued: { healed: 3 },
      warnings: ['batch_failed'],
      answered: 10,
    },
  },
  {
    name: 'a batch fails without a named line: it waits for a person',
    of: '3.3: the batch is bad',
    ways: BATCH,
    faults: [failed('model_not_found', 'This model cannot be batched.')],
    nth: EACH,
    mending: BY_A_PERSON,
    expected: STOPPED,
  },
  {
    name: 'a batch fails for a line that is not there',
    of: '3.3',
    ways: BATCH,
    faults: [failed('', '', { errors: [{ code: 'invalid_request', message: 'Line 99 is bad.', line: 99 }] })],
    nth: EACH,
    mending: BY_A_PERSON,
    expected: STOPPED,
  },
  {
    name: 'a batch fails without a reason',
    of: '3.3',
    ways: BATCH,
    faults: [{ fault: 'batch-end', as: 'failed' }],
    nth: EACH,
    mending: BY_A_PERSON,
    expected: STOPPED,
  },
  {
    name: 'a batch fails after it answered some',
    of: '3.2: output of failed batches',
    ways: BATCH,
    faults: [failed('server_error', 'It broke.', { answered: 0.5 })],
    nth: [1, 2],
    expected: { requeued: { retry: 3 } },
  },
  // --- the account is exhausted
  {
    name: 'a batch finds the queue of the account full',
    of: '3.3; api 1, 2; runner 8.4',
    ways: BATCH,
    faults: [failed('token_limit_exceeded', FULL)],
    nth: EACH,
    options: { maxRetries: 0, maxExpiries: 0 },
    expected: { batches: 4 },
  },
  {
    name: 'the first three batches find the queue of the account full, with another code',
    of: '3.3; api 1, 2',
    ways: BATCH,
    faults: [failed('limit', FULL, { when: { first: 3 } })],
    options: { maxRetries: 0, maxExpiries: 0 },
    expected: { batches: 6 },
  },
  {
    name: 'the queue of the account has room for one batch at a time',
    of: '3.3; api 1, 2',
    ways: BATCH,
    faults: [],
    emulator: { limits: { enqueuedTokens: 300 } },
    options: { maxRetries: 0, maxExpiries: 0 },
    expected: { batches: 'any' },
  },
  {
    name: 'a batch fails for want of money half way',
    of: '3.3: the account uses up no attempt',
    ways: BATCH,
    faults: [failed('insufficient_quota', 'You exceeded your current quota.', { answered: 0.5 })],
    nth: [1, 2],
    options: { maxRetries: 0 },
    expected: { requeued: { refused: 3 } },
  },
  {
    name: 'a batch fails for want of money',
    of: '3.3; api 21',
    ways: BATCH,
    faults: [failed('insufficient_quota', 'You exceeded your current quota.')],
    nth: EACH,
    options: { maxRetries: 0, maxExpiries: 0 },
    expected: { batches: 4 },
  },
  {
    name: 'batches fail for want of money for longer than maxWait',
    of: '3.3: up to maxWait, then stop resumable',
    ways: BATCH,
    faults: [failed('insufficient_quota', 'You exceeded your current quota.')],
    options: { maxWait: 300 },
    expected: { ends: 'failed-batches', warnings: ['queue_full'], batches: 'any' },
  },
  // --- expired and cancelled
  ...(['expired', 'cancelled'] as const).flatMap((as): FaultCase[] => [
    {
      name: `a batch is ${as} with nothing answered`,
      of: '3.2; api 3',
      ways: BATCH,
      faults: [{ fault: 'batch-end', as }],
      nth: [1],
      options: { maxRetries: 0 },
      expected: { requeued: { [as]: 5 } },
    },
    {
      name: `a batch is ${as} half answered`,
      of: '3.2; api 3',
      ways: BATCH,
      faults: [{ fault: 'batch-end', as, answered: 0.5 }],
      nth: [1],
      options: { maxRetries: 0 },
      expected: { requeued: { [as]: 3 } },
    },
    {
      name: `all batches are ${as} half answered at first`,
      of: '3.2; api 3',
      ways: BATCH,
      faults: [{ fault: 'batch-end', as, answered: 0.5, when: { first: 3 } }],
      options: { maxRetries: 0 },
      expected: { requeued: { [as]: 7 } },
    },
    {
      name: `a batch is ${as} with everything answered`,
      of: '3.2; api 3',
      ways: BATCH,
      faults: [{ fault: 'batch-end', as, answered: 1 }],
      nth: EACH,
      options: { maxRetries: 0 },
    },
    {
      name: `all batches are ${as}, always`,
      of: '3.3; runner 8.4: a hopeless batch is resubmitted for ever',
      ways: BATCH,
      faults: [{ fault: 'batch-end', as }],
      expected: {
        requeued: { [as]: 60 },
        answered: 0,
        failed: Object.fromEntries(
          Array.from({ length: 12 }, (_, index) => [`k-${String(index + 1).padStart(2, '0')}`, as]),
        ),
      },
    },
  ]),
]
