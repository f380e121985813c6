import type { Fault, Way } from '../support/fault-world.ts'
import type { Expected, FaultCase } from './fault-case.ts'

const DIRECT: readonly Way[] = ['direct']
/** The first, a middle and the last one of the calls. */
const three = { nth: [1, 6, 12] }
const ROUTE = 'POST /v1/chat/completions'

const answer = (status: number, message: string, more: object = {}): Fault => ({
  fault: 'http-answer',
  route: ROUTE,
  status,
  error: { message },
  ...more,
})

/** The call was made, and made again, with a note. */
const UNCERTAIN: Expected = { uncertain: 3, answered: 15 }
const RETRIED: Expected = { requeued: { retry: 3 } }

const thrice = (name: string, of: string, fault: Fault, expected: Expected = {}): FaultCase => ({
  name: `three calls: each ${name}`,
  of,
  ways: DIRECT,
  faults: [{ ...fault, when: three }],
  expected,
})

const singleCases: readonly FaultCase[] = [
  thrice('is lost on the way', '3.1; runner 8.3/7', { fault: 'http-lose', route: ROUTE }, { uncertain: 3 }),
  thrice(
    'is answered, and the answer is lost',
    '3.1',
    { fault: 'http-lose', route: ROUTE, acts: true },
    UNCERTAIN,
  ),
  thrice(
    'is answered, and the answer is cut',
    '3.1',
    { fault: 'http-cut', route: ROUTE, bytes: 30 },
    UNCERTAIN,
  ),
  thrice(
    'is answered, and the answer is cut without a sign',
    '3.2',
    { fault: 'http-cut', route: ROUTE, bytes: 30, contentLength: false, ends: 'clean' },
    { ...RETRIED, answered: 15, unbilled: true },
  ),
  thrice(
    'is answered with garbled text',
    '3.2',
    { fault: 'http-garble', route: ROUTE, from: 0 },
    { ...RETRIED, answered: 15, unbilled: true },
  ),
  thrice('takes a while', '3.3', { fault: 'http-delay', route: ROUTE, ms: 90_000 }),
  thrice('is answered after a while', '3.3', { fault: 'http-delay', route: ROUTE, ms: 90_000, acts: true }),
  thrice(
    'is answered with a page of a proxy',
    '3.2',
    { fault: 'http-answer', route: ROUTE, status: 200, text: '<html>Log in</html>' },
    RETRIED,
  ),
  thrice(
    'is answered with an empty object',
    '3.2',
    { fault: 'http-answer', route: ROUTE, status: 200, json: {} },
    RETRIED,
  ),
  thrice(
    'is answered with null',
    '3.2',
    { fault: 'http-answer', route: ROUTE, status: 200, json: null },
    RETRIED,
  ),
  thrice('is answered with nothing', '3.2', { fault: 'http-answer', route: ROUTE, status: 200 }, RETRIED),
  ...[500, 502, 503, 504, 408, 409].map((status) =>
    thrice(`gets HTTP ${status}`, '3.3', answer(status, 'Oops.'), {
      ...RETRIED,
      // A gateway that got no answer does not know either.
      ...((status === 502 || status === 504) && { uncertain: 3 }),
    }),
  ),
  ...[429, 402].map((status) => thrice(`gets HTTP ${status}`, '3.3; api 21', answer(status, 'Not now.'))),
]

const manyCases: readonly FaultCase[] = [
  {
    name: 'one request is always redirected',
    of: '3.3: unknown codes are failures of that request',
    ways: DIRECT,
    faults: [
      {
        fault: 'http-answer',
        route: ROUTE,
        contains: 'k-06?',
        status: 307,
        text: 'Elsewhere.',
        headers: { location: 'http://elsewhere.test/' },
      },
    ],
    expected: { failed: { 'k-06': 'Elsewhere.' }, answered: 11 },
  },
  {
    name: 'the network is down for two minutes',
    of: '3.3: the network is down; runner 8.3/7',
    ways: DIRECT,
    faults: [{ fault: 'http-lose', when: { afterMs: 0, untilMs: 120_000 } }],
    options: { maxRetries: 0 },
    expected: { uncertain: 'any' },
  },
  {
    name: 'the server is down for two minutes',
    of: '3.3',
    ways: DIRECT,
    faults: [answer(503, 'Down.', { when: { untilMs: 120_000 } })],
    // Before it is clear that not the requests are at fault.
    expected: { requeued: { retry: 2 } },
  },
  {
    name: 'the network is down for longer than maxWait',
    of: '3.3: up to maxWait, then stop resumable',
    ways: DIRECT,
    faults: [{ fault: 'http-lose' }],
    options: { maxWait: 60 },
    expected: { ends: 'waited', requeued: 'any', uncertain: 'any' },
  },
  {
    name: 'the account is exhausted for longer than maxWait',
    of: '3.3; api 21',
    ways: DIRECT,
    faults: [answer(429, 'You exceeded your current quota.')],
    options: { maxWait: 60, maxRetries: 0 },
    expected: { ends: 'waited', requeued: { unsent: 16 } },
  },
  {
    name: 'the key is refused',
    of: '3.3: the key is wrong; runner 8.3/7: a 401 is repeated for every request',
    ways: DIRECT,
    faults: [answer(401, 'Incorrect API key provided.')],
    options: { maxRetries: 0 },
    expected: { ends: 'not_allowed', requeued: { unsent: 16 }, calls: 4 },
  },
  {
    name: 'the key is refused in the middle',
    of: '3.3',
    ways: DIRECT,
    faults: [answer(401, 'Incorrect API key provided.', { when: { nth: 6 } })],
    options: { maxRetries: 0 },
    expected: { ends: 'not_allowed', requeued: { unsent: 6 } },
  },
  {
    name: 'the key may not do this (HTTP 403)',
    of: '3.3',
    ways: DIRECT,
    faults: [answer(403, 'You have no access here.')],
    options: { maxRetries: 0 },
    expected: { ends: 'not_allowed', requeued: { unsent: 16 }, calls: 4 },
  },
  {
    name: 'the answers of one request are always lost',
    of: '3.1; 3.3',
    ways: DIRECT,
    faults: [{ fault: 'http-lose', route: ROUTE, contains: 'k-06?', acts: true }],
    expected: {
      failed: { 'k-06': 'other side closed' },
      requeued: { retry: 2 },
      uncertain: 12,
      answered: 23,
    },
  },
  {
    name: 'three requests in a row lose their answers',
    of: '3.1; 3.3',
    ways: DIRECT,
    faults: [{ fault: 'http-lose', route: ROUTE, when: { nth: [4, 5, 6] }, acts: true }],
    expected: { uncertain: 3, answered: 15 },
  },
  {
    name: 'the flex tier has no room for three calls',
    of: 'api: flex may be refused, unbilled',
    ways: DIRECT,
    flex: true,
    faults: [{ fault: 'reply-flex-refused', when: three }],
    options: { maxRetries: 0 },
    expected: { answered: 15 },
  },
  {
    name: 'the flex tier has no room for two minutes',
    of: 'api: flex may be refused, unbilled',
    ways: DIRECT,
    flex: true,
    faults: [{ fault: 'reply-flex-refused', when: { untilMs: 120_000 } }],
    options: { maxRetries: 0 },
    expected: { answered: 'any' },
  },
  {
    name: 'a gateway gives up on four answered calls (HTTP 504)',
    of: '3.1: sent again only with a note',
    ways: DIRECT,
    faults: [answer(504, 'Too slow.', { acts: true, when: { nth: [4, 5, 6, 7] } })],
    options: { directConcurrency: 1 },
    expected: { requeued: { retry: 2 }, uncertain: 4, answered: 16 },
  },
]

/** Real time: there are few. */
const IMPATIENT = { requestTimeoutMs: 250 } as const

export const hangingDirectCases: readonly FaultCase[] = [false, true].map((acts) => ({
  name: acts ? 'one call is answered, and hangs' : 'one call hangs',
  of: '3.1; api 12',
  ways: DIRECT,
  faults: [{ fault: 'http-hang', route: ROUTE, acts, when: { nth: 6 } }],
  options: IMPATIENT,
  expected: { uncertain: 1, requeued: { retry: 1 }, ...(acts && { answered: 13 }) },
}))

export const directCases: readonly FaultCase[] = [...singleCases, ...manyCases]
