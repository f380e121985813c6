import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Arrival } from '../../../src/gateway/domain/arrival.ts'
import { MODES } from '../../../src/gateway/domain/request.ts'
import { type Candidate, decideArrival } from '../../../src/gateway/identity/decide-arrival.ts'
import { arrivalOf } from '../../support/gateway-stores.ts'

const NOW = 1_000_000
const HOUR = 3_600_000

/** A request with the body `same`, that waits in the queue and that nobody waits for. */
const known = (parts: Partial<Candidate> = {}): Candidate => ({
  id: 'req_known',
  fingerprint: 'same',
  idempotencyKey: undefined,
  state: 'queued',
  ending: undefined,
  isHeld: false,
  createdAt: NOW - 100,
  finishedAt: undefined,
  deliveredAt: undefined,
  ...parts,
})
const answered = (parts: Partial<Candidate> = {}): Candidate =>
  known({ state: 'done', ending: 'succeeded', finishedAt: NOW - 50, ...parts })
const failed = (parts: Partial<Candidate> = {}): Candidate => answered({ ending: 'failed', ...parts })

const decided = (arrival: Partial<Arrival>, ...candidates: readonly Candidate[]) =>
  decideArrival(arrivalOf({ fingerprint: 'same', mode: 'sync', claimMs: HOUR, ...arrival }), candidates, NOW)

const NEW = undefined
const UNSURE = { kind: 'unsure' }
const joined = (isDone: boolean, id = 'req_known') => ({ kind: 'joined', id, isDone })

describe('a call without a key', () => {
  test.each<[string, ReturnType<typeof decided>, unknown]>([
    ['that is the first', decided({}), NEW],
    ['with another body', decided({}, known({ fingerprint: 'other' })), NEW],
    ['goes with work that nobody waits for', decided({}, known()), joined(false)],
    ['goes with work that is in a batch', decided({}, known({ state: 'batched' })), joined(false)],
    ['is a sample of its own beside one that is waited for', decided({}, known({ isHeld: true })), NEW],
    ['gets the answer that nobody got', decided({}, answered()), joined(true)],
    ['gets the failure that nobody got', decided({}, failed()), joined(true)],
    ['is not decided while a twin may be waited for', decided({}, known({ mayBeHeld: true })), UNSURE],
    ['nor while its answer may be on the way', decided({}, answered({ mayBeHeld: true })), UNSURE],
    [
      'goes with what is free beside one that may be waited for',
      decided({}, answered({ id: 'req_other', mayBeHeld: true }), known()),
      joined(false),
    ],
    ['does not get what is being delivered', decided({}, answered({ isHeld: true })), NEW],
    ['does not get what was delivered', decided({}, answered({ deliveredAt: NOW - 1 })), NEW],
    ['that polls gets it', decided({ mode: 'poll' }, answered({ deliveredAt: NOW - 1 })), joined(true)],
    ['of mode async, too', decided({ mode: 'async' }, answered({ deliveredAt: NOW - 1 })), joined(true)],
    [
      'at the end of the claim time',
      decided({ mode: 'poll' }, answered({ deliveredAt: NOW - HOUR })),
      joined(true),
    ],
    ['after the claim time', decided({ mode: 'poll' }, answered({ deliveredAt: NOW - HOUR - 1 })), NEW],
    ['that polls gets a failure once', decided({ mode: 'poll' }, failed({ deliveredAt: NOW - 1 })), NEW],
    ['does not go with what was cancelled', decided({}, known({ state: 'done', ending: 'cancelled' })), NEW],
    ['does not go with what has a key', decided({}, known({ idempotencyKey: 'k' })), NEW],
  ])('%s', (_, acceptance, expected) => expect(acceptance).toEqual(expected))

  test('prefers an answer to work, what nobody got to what was delivered, and the oldest', () => {
    const all = [
      answered({ id: 'delivered', deliveredAt: NOW - 1, createdAt: 1 }),
      known({ id: 'old work', createdAt: 2 }),
      known({ id: 'new work', createdAt: 3 }),
      answered({ id: 'new answer', createdAt: 5 }),
      answered({ id: 'old answer', createdAt: 4 }),
    ]
    const order = ['old answer', 'new answer', 'old work', 'new work', 'delivered']
    for (const [place, id] of order.entries()) {
      const left = all.filter((one) => !order.slice(0, place).includes(one.id))
      expect(decided({ mode: 'poll' }, ...left)).toMatchObject({ kind: 'joined', id })
    }
  })
})

describe('a call with a key', () => {
  const key = { idempotencyKey: 'k' }
  test.each<[string, ReturnType<typeof decided>, unknown]>([
    ['that is the first', decided(key), NEW],
    ['does not go with the same body', decided(key, known(), answered()), NEW],
    ['of another key', decided(key, known({ idempotencyKey: 'other' })), NEW],
    [
      'goes with its own, though that is waited for',
      decided(key, known({ ...key, isHeld: true })),
      joined(false),
    ],
    [
      'gets its own, though that was delivered long ago',
      decided(key, answered({ ...key, deliveredAt: 0 })),
      joined(true),
    ],
    ['gets its own failure each time', decided(key, failed({ ...key, deliveredAt: 0 })), joined(true)],
    ['is told that it was cancelled', decided(key, answered({ ...key, ending: 'cancelled' })), joined(true)],
    [
      'with another body',
      decided(key, known({ ...key, fingerprint: 'other' })),
      { kind: 'conflict', id: 'req_known' },
    ],
    [
      'with another body, of mode cache',
      decided({ ...key, mode: 'cache' }, known({ ...key, fingerprint: 'other' })),
      { kind: 'conflict', id: 'req_known' },
    ],
    [
      'is not waited for in mode cache',
      decided({ ...key, mode: 'cache' }, known(key)),
      { kind: 'absent', pending: 'req_known' },
    ],
    ['is served in mode cache', decided({ ...key, mode: 'cache' }, answered(key)), joined(true)],
  ])('%s', (_, acceptance, expected) => expect(acceptance).toEqual(expected))
})

describe('the cache', () => {
  const cached = { kind: 'cached', id: 'req_known' }
  test.each<[string, ReturnType<typeof decided>, unknown]>([
    ['is off', decided({ cacheMs: 0 }, answered({ deliveredAt: NOW, isHeld: true })), NEW],
    ['serves what is young enough', decided({ cacheMs: 50 }, answered({ deliveredAt: NOW })), cached],
    ['does not serve what is older', decided({ cacheMs: 49 }, answered({ deliveredAt: NOW })), NEW],
    ['serves what another waits for', decided({ cacheMs: 50 }, answered({ isHeld: true })), cached],
    ['serves a key that is new', decided({ cacheMs: 50, idempotencyKey: 'k' }, answered()), cached],
    ['serves what has a key', decided({ cacheMs: 50 }, answered({ idempotencyKey: 'k' })), cached],
    ['serves no failure', decided({ cacheMs: 50 }, failed({ deliveredAt: NOW })), NEW],
    [
      'in mode cache serves any answer',
      decided({ mode: 'cache' }, answered({ finishedAt: 0, deliveredAt: 0 })),
      cached,
    ],
    [
      'in mode cache tells of work',
      decided({ mode: 'cache' }, known({ isHeld: true })),
      { kind: 'absent', pending: 'req_known' },
    ],
    ['in mode cache makes no work', decided({ mode: 'cache' }), { kind: 'absent', pending: undefined }],
    [
      'in mode cache has no failures',
      decided({ mode: 'cache' }, failed()),
      { kind: 'absent', pending: undefined },
    ],
  ])('%s', (_, acceptance, expected) => expect(acceptance).toEqual(expected))

  test('serves the newest answer', () => {
    const all = [3, 9, 5].map((finishedAt) => answered({ id: `at ${finishedAt}`, finishedAt }))
    expect(decided({ mode: 'cache' }, ...all)).toEqual({ kind: 'cached', id: 'at 9' })
  })
})

describe('whatever is known', () => {
  const time = fc.integer({ min: NOW - 2 * HOUR, max: NOW })
  const body = fc.constantFrom('same', 'same', 'other')
  const key = fc.constantFrom(undefined, undefined, 'k', 'l')
  const state = fc.oneof(
    fc.record({ state: fc.constantFrom('queued' as const, 'batched' as const, 'calling' as const) }),
    fc.record({
      state: fc.constant('done' as const),
      ending: fc.constantFrom('succeeded' as const, 'failed' as const, 'cancelled' as const),
      finishedAt: time,
      deliveredAt: fc.option(time, { nil: undefined }),
    }),
  )
  const candidate = fc
    .record({ fingerprint: body, idempotencyKey: key, isHeld: fc.boolean(), createdAt: time })
    .chain((parts) => state.map((more) => known({ ...parts, ...more })))
  // Of one key there is one request; no two came, or ended, in the same millisecond.
  const candidates = fc
    .array(candidate, { maxLength: 8 })
    .map((all) => all.filter((one, place) => one.idempotencyKey === undefined || firstOf(all, one) === place))
    .map((all) => all.map((one, place) => ({ ...one, ...unlike(one, place), id: `req_${place}` })))
  const arrival = fc
    .record({
      fingerprint: body,
      idempotencyKey: key,
      mode: fc.constantFrom(...MODES),
      cacheMs: fc.constantFrom(0, 0, HOUR),
      claimMs: fc.constantFrom(0, HOUR),
    })
    .map(arrivalOf)

  test('it is never another body’s, never what another waits for, and nobody gets a delivered answer unasked', () => {
    fc.assert(
      fc.property(arrival, candidates, (arrival, all) => {
        const acceptance = decideArrival(arrival, all, NOW)
        const to = all.find(({ id }) => acceptance && 'id' in acceptance && acceptance.id === id)
        const byKey = arrival.idempotencyKey !== undefined && to?.idempotencyKey === arrival.idempotencyKey
        if (acceptance?.kind === 'conflict') return byKey && to?.fingerprint !== arrival.fingerprint
        if (to && to.fingerprint !== arrival.fingerprint) return false
        if (acceptance?.kind === 'cached')
          return to?.ending === 'succeeded' && (arrival.cacheMs > 0 || arrival.mode === 'cache')
        if (acceptance?.kind !== 'joined' || byKey) return true
        if (acceptance.isDone !== (to?.state === 'done')) return false
        const isFree =
          to !== undefined && !to.isHeld && to.idempotencyKey === undefined && to.ending !== 'cancelled'
        const isPolled = arrival.mode === 'poll' || arrival.mode === 'async'
        return (
          isFree &&
          arrival.mode !== 'cache' &&
          (to.deliveredAt === undefined || (isPolled && to.ending === 'succeeded'))
        )
      }),
      { numRuns: 2000 },
    )
  })

  test('work that nobody waits for is never done twice', () => {
    fc.assert(
      fc.property(arrival, candidates, (arrival, all) => {
        const isLost = ({ fingerprint, idempotencyKey, isHeld, deliveredAt, ending }: Candidate) =>
          fingerprint === arrival.fingerprint &&
          idempotencyKey === undefined &&
          !isHeld &&
          deliveredAt === undefined &&
          ending !== 'cancelled'
        fc.pre(arrival.idempotencyKey === undefined && all.some(isLost))
        return decideArrival(arrival, all, NOW) !== undefined
      }),
    )
  })

  test('mode cache never makes work', () => {
    fc.assert(
      fc.property(
        arrival,
        candidates,
        (arrival, all) => decideArrival({ ...arrival, mode: 'cache' }, all, NOW) !== undefined,
      ),
    )
  })

  test('neither the order of what is known nor what has nothing to do with it matters', () => {
    const shuffled = candidates.chain((all) =>
      fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })),
    )
    fc.assert(
      fc.property(arrival, shuffled, (arrival, [all, other]) => {
        fc.pre(arrival.mode !== 'cache')
        const strangers = [
          known({ id: 'stranger', fingerprint: 'stranger' }),
          known({ fingerprint: 'stranger', idempotencyKey: 'm' }),
        ]
        expect(decideArrival(arrival, [...strangers, ...other], NOW)).toEqual(
          decideArrival(arrival, all, NOW),
        )
      }),
    )
  })
})

const firstOf = (all: readonly Candidate[], one: Candidate): number =>
  all.findIndex(({ idempotencyKey }) => idempotencyKey === one.idempotencyKey)

const unlike = ({ createdAt, finishedAt }: Candidate, place: number) => ({
  createdAt: createdAt + place / 16,
  ...(finishedAt !== undefined && { finishedAt: finishedAt + place / 16 }),
})
