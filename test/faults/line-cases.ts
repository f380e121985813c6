import type { Way } from '../support/fault-world.ts'
import type { FaultCase } from './fault-case.ts'

/** Only batches have result lines. */
const BATCH: readonly Way[] = ['batch']
/** The first, a middle and the last one of the requests. */
const three = { nth: [1, 6, 12] }

const THREE_RETRIES = { requeued: { retry: 3 }, answered: 15 } as const

export const lineCases: readonly FaultCase[] = [
  // --- the answer is there
  ...(['blank', 'crlf', 'status-text'] as const).map(
    (is): FaultCase => ({
      name: `three lines are ${is}`,
      of: '3.2; api 24',
      ways: BATCH,
      faults: [{ fault: 'line-form', is, when: three }],
    }),
  ),
  ...(['blank', 'crlf', 'status-text'] as const).map(
    (is): FaultCase => ({
      name: `all lines are ${is}`,
      of: '3.2; api 24',
      ways: BATCH,
      faults: [{ fault: 'line-form', is }],
    }),
  ),
  {
    name: 'three lines are contradicted by the other file',
    of: '3.2: reconciled by id',
    ways: BATCH,
    faults: [{ fault: 'line-form', is: 'contradicted', when: three }],
    expected: { warnings: ['odd_lines'] },
  },
  {
    name: 'three lines are there twice',
    of: '3.2; api 8',
    ways: BATCH,
    faults: [{ fault: 'line-form', is: 'duplicated', when: three }],
    expected: { warnings: ['odd_lines'], unbilled: true },
  },
  {
    name: 'three lines are in both files',
    of: '3.2; api 8',
    ways: BATCH,
    faults: [{ fault: 'line-form', is: 'both-files', when: three }],
    expected: { warnings: ['odd_lines'], unbilled: true },
  },
  {
    name: 'three lines are followed by one of nobody',
    of: '3.2',
    ways: BATCH,
    faults: [{ fault: 'line-form', is: 'stranger', when: three }],
    expected: { warnings: ['odd_lines'], unbilled: true },
  },
  // --- the answer is lost: that request is asked again
  {
    name: 'three lines are missing',
    of: '3.2; api 6',
    ways: BATCH,
    faults: [{ fault: 'line-form', is: 'missing', when: three }],
    expected: { ...THREE_RETRIES, unbilled: true },
  },
  {
    name: 'three lines are no JSON',
    of: '3.2',
    ways: BATCH,
    faults: [{ fault: 'line-form', is: 'not-json', when: three }],
    expected: { ...THREE_RETRIES, warnings: ['odd_lines'], unbilled: true },
  },
  {
    name: 'three lines have ids that nobody sent',
    of: '3.2',
    ways: BATCH,
    faults: [{ fault: 'line-form', is: 'unknown-id', when: three }],
    expected: { ...THREE_RETRIES, warnings: ['odd_lines'] },
  },
  {
    name: 'the line of one request is missing in every batch',
    of: '3.2; api 6',
    ways: BATCH,
    faults: [{ fault: 'line-form', is: 'missing', contains: 'k-06?' }],
    expected: {
      failed: { 'k-06': 'without a line for this request' },
      requeued: { retry: 2 },
      answered: 14,
      unbilled: true,
    },
  },
  // --- errors beside the answer
  ...['server_error', 'timeout', '503'].map(
    (code): FaultCase => ({
      name: `three lines have the error ${code}, which passes`,
      of: '3.2; api 7',
      ways: BATCH,
      faults: [{ fault: 'line-error', code, message: 'The server is in a bad mood.', when: three }],
      expected: THREE_RETRIES,
      batch: { ...THREE_RETRIES, unbilled: true },
    }),
  ),
  {
    name: 'one line has an error code nobody knows',
    of: '3.3; runner 8.3/1',
    ways: BATCH,
    faults: [{ fault: 'line-error', code: 'strange_thing', message: 'It went sideways.', contains: 'k-06?' }],
    expected: { failed: { 'k-06': 'It went sideways.' }, unbilled: true },
  },
  {
    name: 'three lines of completed batches say that the batch had expired',
    of: '3.2; api 3',
    ways: BATCH,
    faults: [{ fault: 'line-error', code: 'batch_expired', when: three }],
    expected: { requeued: { expired: 3 }, answered: 15, unbilled: true },
  },
  {
    name: 'three lines of completed batches say that the batch had been cancelled',
    of: '3.2; api 3',
    ways: BATCH,
    faults: [{ fault: 'line-error', code: 'batch_cancelled', when: three }],
    expected: { requeued: { cancelled: 3 }, answered: 15, unbilled: true },
  },
  {
    name: 'one request is called expired whenever it is asked',
    of: '3.3; runner 8.4: expired retries are unlimited',
    ways: BATCH,
    faults: [{ fault: 'line-error', code: 'batch_expired', message: 'Too late.', contains: 'k-06?' }],
    expected: { failed: { 'k-06': 'Too late.' }, requeued: { expired: 5 }, answered: 17, unbilled: true },
  },
  {
    name: 'three lines have the error that the account is exhausted',
    of: '3.3; api 21',
    ways: BATCH,
    faults: [
      {
        fault: 'line-error',
        code: 'insufficient_quota',
        message: 'You exceeded your current quota.',
        when: three,
      },
    ],
    options: { maxRetries: 0 },
    expected: { requeued: { refused: 3 }, answered: 15, unbilled: true },
  },
]
