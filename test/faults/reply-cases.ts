import type { Fault, Way } from '../support/fault-world.ts'
import type { Expected, FaultCase } from './fault-case.ts'

const BOTH: readonly Way[] = ['batch', 'direct']
/** The first, a middle and the last one of the requests, each the first time that it is asked. */
const three = { nth: [1, 6, 12] }
/** The first time that a request is asked. */
const once = { tries: 1 } as const
const THREE_RETRIES: Expected = { requeued: { retry: 3 }, answered: 15 }

type Status = Extract<Fault, { fault: 'reply-status' }>
const status = (code: number, error: Status['error'], more: Partial<Status> = {}): Fault => ({
  fault: 'reply-status',
  status: code,
  ...(error && { error }),
  ...more,
})

/** A request that fails however often it is asked. */
const doomed = (key: string) => ({ contains: `${key}?` })

export const replyCases: readonly FaultCase[] = [
  // --- what passes: one attempt is used up, of that request only
  ...[500, 502, 503, 504, 408, 409].map(
    (code): FaultCase => ({
      name: `three answers are HTTP ${code}`,
      of: '3.3; runner 8.3/5',
      ways: BOTH,
      faults: [status(code, { message: 'The server is in a bad mood.' }, { when: three })],
      expected: THREE_RETRIES,
      // A gateway that got no answer does not know whether the work was done.
      ...((code === 502 || code === 504) && { direct: { uncertain: 3 } }),
    }),
  ),
  {
    name: 'three answers are HTTP 500 with a null body',
    of: 'runner 8.3/5',
    ways: BOTH,
    faults: [{ fault: 'reply-status', status: 500, json: null, when: three }],
    expected: THREE_RETRIES,
  },
  {
    name: 'three answers are HTTP 500 with a page in HTML',
    of: '3.2',
    ways: BOTH,
    faults: [{ fault: 'reply-status', status: 500, text: '<html>Sorry</html>', when: three }],
    expected: THREE_RETRIES,
  },
  {
    name: 'three answers are HTTP 200 with an error in its body',
    of: '3.2; api 7',
    ways: BOTH,
    faults: [
      {
        fault: 'reply-status',
        status: 200,
        error: { message: 'Try later.', code: 'server_error' },
        when: three,
      },
    ],
    expected: THREE_RETRIES,
  },
  {
    name: 'three answers have the status 0',
    of: '3.2; api 6',
    ways: BOTH,
    faults: [{ fault: 'reply-status', status: 0, when: three }],
    batch: { ...THREE_RETRIES, unbilled: true },
    direct: { answered: 15, uncertain: 3 },
  },
  {
    name: 'three answers are not what the schema asks for',
    of: '3.2',
    ways: BOTH,
    faults: [{ fault: 'reply-text', text: 'I would rather not say.', when: three }],
    expected: THREE_RETRIES,
  },
  ...(['refusal', 'cut', 'no-choices'] as const).map(
    (is): FaultCase => ({
      name: `three answers are of the form ${is}`,
      of: '3.2',
      ways: BOTH,
      faults: [{ fault: 'reply-form', is, when: three }],
      expected: THREE_RETRIES,
    }),
  ),
  ...(['empty', 'html'] as const).map(
    (is): FaultCase => ({
      name: `three answers are HTTP 200 with a body that is ${is}`,
      of: '3.2; api 6',
      ways: BOTH,
      faults: [{ fault: 'reply-form', is, when: three }],
      expected: THREE_RETRIES,
      batch: { ...THREE_RETRIES, unbilled: is === 'empty' },
    }),
  ),
  // --- what needs nothing
  ...(['no-usage', 'null-usage'] as const).map(
    (is): FaultCase => ({
      name: `three answers have ${is}`,
      of: '3.2; runner 8.3/5',
      ways: BOTH,
      faults: [{ fault: 'reply-form', is, when: three }],
      expected: { unbilled: true },
    }),
  ),
  ...(['null-usage-details', 'line-separators'] as const).map(
    (is): FaultCase => ({
      name: `all answers have ${is}`,
      of: '3.2; runner 8.3/5, 8.3/11',
      ways: BOTH,
      faults: [{ fault: 'reply-form', is }],
    }),
  ),
  // --- the request is bad: it fails alone
  ...[400, 404, 413, 422].map(
    (code): FaultCase => ({
      name: `one request is always refused with HTTP ${code}`,
      of: '3.3; api 9; runner 8.4',
      ways: BOTH,
      faults: [status(code, { message: 'This text cannot be read.', code: 'bad_text' }, doomed('k-06'))],
      expected: { failed: { 'k-06': 'This text cannot be read.' } },
    }),
  ),
  {
    name: 'one request is always refused with an error code nobody knows',
    of: '3.3; runner 8.3/1',
    ways: BOTH,
    faults: [status(418, { message: 'I am a teapot.', code: 'short_and_stout' }, doomed('k-06'))],
    expected: { failed: { 'k-06': 'I am a teapot.' } },
  },
  {
    name: 'one request is always refused by the content policy (HTTP 403)',
    of: '3.3',
    ways: BOTH,
    faults: [status(403, { message: 'Flagged by moderation.', code: 'content_policy' }, doomed('k-06'))],
    expected: { failed: { 'k-06': 'Flagged by moderation.' } },
  },
  {
    name: 'one request is larger than the rate limit (HTTP 429)',
    of: '3.3',
    ways: BOTH,
    faults: [
      status(
        429,
        { message: 'Request too large: 90000 tokens must be reduced.', code: 'rate_limit_exceeded' },
        doomed('k-06'),
      ),
    ],
    expected: { failed: { 'k-06': 'Request too large' }, requeued: { retry: 2 }, answered: 14 },
  },
  {
    name: 'one request always gets HTTP 500',
    of: '3.3; runner 8.4',
    ways: BOTH,
    faults: [status(500, { message: 'The server is in a bad mood.' }, doomed('k-06'))],
    expected: { failed: { 'k-06': 'in a bad mood' }, requeued: { retry: 2 }, answered: 14 },
  },
  {
    name: 'one request is always refused by the model',
    of: '3.3',
    ways: BOTH,
    faults: [{ fault: 'reply-form', is: 'refusal', ...doomed('k-06') }],
    expected: { failed: { 'k-06': "I can't help with that" }, requeued: { retry: 2 }, answered: 14 },
  },
  {
    name: 'two requests fail for good, one passes at the third try',
    of: '3.3: one bad request never blocks the others',
    ways: BOTH,
    faults: [
      status(400, { message: 'This text cannot be read.' }, doomed('k-01')),
      { fault: 'reply-text', text: 'no', ...doomed('k-12') },
      { fault: 'reply-form', is: 'cut', ...doomed('k-06'), when: { tries: 2 } },
    ],
    expected: {
      failed: { 'k-01': 'This text cannot be read.', 'k-12': 'JSON' },
      requeued: { retry: 4 },
      answered: 16,
    },
  },
  // --- the account is exhausted: waiting uses up nothing
  {
    name: 'three answers are HTTP 429',
    of: '3.3; runner 8.4',
    ways: BOTH,
    faults: [status(429, { message: 'Rate limit reached.', code: 'rate_limit_exceeded' }, { when: three })],
    batch: { requeued: { refused: 3 }, answered: 15 },
    direct: { answered: 15 },
  },
  {
    name: 'all answers are HTTP 429 at first, for want of money',
    of: '3.3; api 21',
    ways: BOTH,
    faults: [
      status(
        429,
        { message: 'You exceeded your current quota.', code: 'insufficient_quota' },
        { when: once },
      ),
    ],
    options: { maxRetries: 0 },
    batch: { requeued: { refused: 12 }, answered: 24 },
    direct: { answered: 24 },
  },
  {
    name: 'three answers are HTTP 402',
    of: '3.3; api 21',
    ways: BOTH,
    faults: [status(402, { message: 'Pay first.', code: 'billing_hard_limit_reached' }, { when: three })],
    options: { maxRetries: 0 },
    batch: { requeued: { refused: 3 }, answered: 15 },
    direct: { answered: 15 },
  },
]
