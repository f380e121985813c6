import type { Fault, Way } from '../support/fault-world.ts'
import type { FaultCase } from './fault-case.ts'

const BATCH: readonly Way[] = ['batch']
const EACH = [1, 2, 3] as const

type CallFault = Extract<Fault, { route?: unknown }>
type Route = NonNullable<CallFault['route']>

const answer = (route: Route, status: number, message: string, more: object = {}): Fault => ({
  fault: 'http-answer',
  route,
  status,
  error: { message },
  ...more,
})

const LOOK: Route = ['GET /v1/batches', 'GET /v1/batches/{id}']

const keyCases: readonly FaultCase[] = (
  ['POST /v1/files', 'POST /v1/batches', LOOK, 'GET /v1/files/{id}', 'GET /v1/files/{id}/content'] as const
).map(
  (route): FaultCase => ({
    name: `the key is refused by ${[route].flat().join(' and ')}`,
    of: '3.3: the key is wrong',
    ways: BATCH,
    faults: [answer(route, 401, 'Incorrect API key provided.')],
    nth: [2],
    options: { maxRetries: 0 },
    expected: { ends: 'http_error' },
  }),
)

/** An answer of another make than the API's: the run stops, and says so. */
const strangeCases: readonly FaultCase[] = (['POST /v1/files', LOOK, 'GET /v1/files/{id}'] as const).map(
  (route): FaultCase => ({
    name: `${[route].flat().join(' and ')} is answered with an empty object`,
    of: '3.5: clear error, old state intact',
    ways: BATCH,
    faults: [{ fault: 'http-answer', route: [route].flat(), status: 200, json: {} }],
    nth: [2],
    expected: { ends: 'bad_reply' },
  }),
)

export const refusedCases: readonly FaultCase[] = [
  ...keyCases,
  ...strangeCases,
  {
    name: 'the creation of a batch is answered with an empty object',
    of: '3.1',
    ways: BATCH,
    faults: [{ fault: 'http-answer', route: 'POST /v1/batches', status: 200, json: {}, acts: true }],
    nth: EACH,
    expected: { warnings: ['create_in_doubt'] },
  },
  {
    name: 'a deletion is answered with an empty object',
    of: '3.6',
    ways: BATCH,
    faults: [{ fault: 'http-answer', route: 'DELETE /v1/files/{id}', status: 200, json: {} }],
    nth: EACH,
    expected: { warnings: ['not_deleted'] },
  },
  {
    name: 'an upload is refused for good',
    of: '3.3',
    ways: BATCH,
    faults: [answer('POST /v1/files', 400, 'Invalid file format.')],
    nth: EACH,
    expected: { ends: 'failed-batches', warnings: ['batch_refused'] },
  },
  {
    name: 'the creation of a batch is refused for good',
    of: '3.3',
    ways: BATCH,
    faults: [answer('POST /v1/batches', 400, 'Invalid endpoint.')],
    nth: EACH,
    expected: { ends: 'failed-batches', warnings: ['batch_refused'] },
  },
  {
    name: 'creations are refused for want of money for longer than maxWait',
    of: '3.3; api 21',
    ways: BATCH,
    faults: [answer('POST /v1/batches', 429, 'You exceeded your current quota.')],
    options: { maxWait: 60 },
    expected: { ends: 'waited' },
  },
  {
    name: 'the network is down for two minutes',
    of: '3.3: the network is down',
    ways: BATCH,
    faults: [{ fault: 'http-lose', when: { untilMs: 120_000 } }],
  },
  {
    name: 'the network goes down for two minutes once batches were made',
    of: '3.3: the network is down',
    ways: BATCH,
    faults: [{ fault: 'http-lose', acts: true, when: { afterMs: 900, untilMs: 120_000 } }],
  },
  {
    name: 'the network is down for longer than maxWait',
    of: '3.3',
    ways: BATCH,
    faults: [{ fault: 'http-lose' }],
    options: { maxWait: 60 },
    expected: { ends: 'waited' },
  },
  {
    name: 'answers are gone (HTTP 404)',
    of: '3.2; runner 8.3/6',
    ways: BATCH,
    faults: [answer('GET /v1/files/{id}/content', 404, 'No such File object.')],
    nth: EACH,
    expected: { ends: 'answers_gone' },
  },
  {
    name: 'a download fails for longer than maxWait',
    of: '3.2: a failed download never finalises anything; runner 8.3/6',
    ways: BATCH,
    faults: [answer('GET /v1/files/{id}/content', 500, 'Oops.')],
    options: { maxWait: 60, processFailedBatches: -1 },
    expected: { ends: 'waited' },
  },
  {
    name: 'nothing can be deleted',
    of: '3.6',
    ways: BATCH,
    faults: [answer('DELETE /v1/files/{id}', 500, 'Oops.')],
    expected: { warnings: ['not_deleted'] },
  },
  {
    name: 'nothing may be deleted (HTTP 403)',
    of: '3.6',
    ways: BATCH,
    faults: [answer('DELETE /v1/files/{id}', 403, 'You may not.')],
    expected: { warnings: ['not_deleted'] },
  },
  {
    name: 'a batch is not known (HTTP 404): another account?',
    of: 'api 16',
    ways: BATCH,
    faults: [answer('GET /v1/batches/{id}', 404, 'No batch found.')],
    options: { maxRemoteBatches: 1 },
    expected: { ends: 'batch_gone', batches: 3 },
  },
]
