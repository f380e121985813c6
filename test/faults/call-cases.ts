import type { Fault, Way } from '../support/fault-world.ts'
import type { Expected, FaultCase } from './fault-case.ts'

const BATCH: readonly Way[] = ['batch']

type CallFault = Extract<Fault, { route?: unknown }>
type Route = NonNullable<CallFault['route']>

/** Of the calls for a batch of each queue file: the first, the second, the last. */
const EACH = [1, 2, 3] as const

interface Kind {
  readonly name: string
  readonly fault: CallFault
  /** A definite answer that the server did nothing. */
  readonly refused?: boolean
  /** Of delicate calls tried with the first, the second and the last; others with the second only. */
  readonly each?: boolean
  /** Tried with delicate calls only. */
  readonly delicate?: boolean
  /** The openai package does not ask again by itself. */
  readonly once?: boolean
}

const answer = (status: number, message: string, more: object = {}): CallFault => ({
  fault: 'http-answer',
  status,
  error: { message },
  ...more,
})

/** What may happen to any call, and passes. */
const PASSING: readonly Kind[] = [
  { name: 'is lost on the way', fault: { fault: 'http-lose' }, each: true },
  { name: 'is done, and the answer is lost', fault: { fault: 'http-lose', acts: true }, each: true },
  { name: 'gets HTTP 500', fault: answer(500, 'Oops.') },
  { name: 'is done, and gets HTTP 500', fault: answer(500, 'Oops.', { acts: true }), delicate: true },
  { name: 'gets HTTP 503', fault: answer(503, 'Overloaded.'), delicate: true },
  {
    name: 'is done, and gets HTTP 502 from a proxy',
    fault: { fault: 'http-answer', status: 502, text: '<html>Bad gateway</html>', acts: true },
    delicate: true,
  },
  { name: 'gets HTTP 504', fault: answer(504, 'Too slow.'), delicate: true },
  { name: 'is done, and gets HTTP 504', fault: answer(504, 'Too slow.', { acts: true }), delicate: true },
  { name: 'gets HTTP 408', fault: answer(408, 'Too slow.'), delicate: true },
  { name: 'gets HTTP 409', fault: answer(409, 'Not now.'), delicate: true },
  {
    name: 'gets HTTP 429',
    fault: answer(429, 'Rate limit reached.', { headers: { 'retry-after': '1' } }),
    refused: true,
  },
  { name: 'gets HTTP 402', fault: answer(402, 'Pay first.'), refused: true, once: true },
  {
    name: 'is answered with a page of a proxy',
    fault: { fault: 'http-answer', status: 200, text: '<html>Log in</html>' },
    once: true,
  },
  { name: 'is done, and its answer is cut', fault: { fault: 'http-cut', bytes: 20 }, each: true, once: true },
  {
    name: 'is done, and its answer is cut without a sign',
    fault: { fault: 'http-cut', bytes: 20, contentLength: false, ends: 'clean' },
    once: true,
  },
  { name: 'is done, and its answer is garbled', fault: { fault: 'http-garble' }, once: true },
  { name: 'takes a while', fault: { fault: 'http-delay', ms: 5_000 } },
  {
    name: 'is done, and its answer takes a while',
    fault: { fault: 'http-delay', ms: 5_000, acts: true },
  },
]

/** What waits for the caller to give up: real time, so there are few. */
const HANGING: readonly Kind[] = [
  { name: 'hangs', fault: { fault: 'http-hang' } },
  { name: 'is done, and hangs', fault: { fault: 'http-hang', acts: true } },
]
/** Milliseconds until a caller gives up. */
const IMPATIENT = { requestTimeoutMs: 250 } as const

const DELAYED = new Set(['http-delay'])

/** A create without a clear answer is looked for, and never sent again blindly. */
const doubted = ({ fault, refused }: Kind): Expected =>
  refused || DELAYED.has(fault.fault) ? {} : { warnings: ['create_in_doubt'] }

/** What cannot be deleted at once is left to the next run. */
const undeleted = ({ once }: Kind): Expected => (once ? { warnings: ['not_deleted'] } : {})

/** A download of the right length whose first line is no JSON: that answer is lost. */
const unreadable = ({ fault }: Kind): Expected =>
  fault.fault === 'http-garble'
    ? { requeued: { retry: 1 }, answered: 13, warnings: ['odd_lines'], unbilled: true }
    : {}

interface Target {
  readonly name: string
  readonly route: Route
  readonly of: string
  readonly expected?: (kind: Kind) => Expected
  /** Not to be done twice, or not to be taken for what it is not. */
  readonly delicate?: boolean
}

const TARGETS: readonly Target[] = [
  { name: 'an upload', route: 'POST /v1/files', of: '3.1; api 12', delicate: true },
  {
    name: 'the creation of a batch',
    route: 'POST /v1/batches',
    of: '3.1; api 15',
    expected: doubted,
    delicate: true,
  },
  { name: 'a look at batches', route: ['GET /v1/batches', 'GET /v1/batches/{id}'], of: '3.3' },
  { name: 'a look at a file', route: 'GET /v1/files/{id}', of: '3.2' },
  {
    name: 'a download',
    route: 'GET /v1/files/{id}/content',
    of: '3.2; runner 8.3/6',
    expected: unreadable,
    delicate: true,
  },
  { name: 'a deletion', route: 'DELETE /v1/files/{id}', of: '3.6', expected: undeleted },
]

const callCase = ({ name, route, of, expected, delicate }: Target, kind: Kind): FaultCase => ({
  name: `${name} ${kind.name}`,
  of,
  ways: BATCH,
  faults: [{ ...kind.fault, route }],
  nth: kind.each && delicate ? EACH : [2],
  ...(expected && { expected: expected(kind) }),
})

export const passingCases: readonly FaultCase[] = TARGETS.flatMap((target) =>
  PASSING.filter((kind) => !kind.delicate || target.delicate).map((kind) => callCase(target, kind)),
)

export const hangingCases: readonly FaultCase[] = TARGETS.flatMap((target) =>
  HANGING.map((kind) => ({ ...callCase(target, kind), nth: [2], options: IMPATIENT })),
)
