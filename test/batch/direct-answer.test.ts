import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CallEnd, isSoundAnswer, mayHaveActed, planAfterCall } from '../../src/batch/direct-answer.ts'
import type { Failure } from '../../src/batch/reply.ts'

const failed = (status: number, code = 'c', message = 'm'): CallEnd => {
  const failure: Failure = { code, message, status, retryable: false, countsAsAttempt: true }
  return { kind: 'answered', failure }
}
const good: CallEnd = { kind: 'answered', failure: undefined }
const unreachable: CallEnd = { kind: 'unreachable' }
const reset: CallEnd = { kind: 'lost', timedOut: false }
const timeout: CallEnd = { kind: 'lost', timedOut: true }

const alone = { losses: 0, failing: 1, keyWorks: false }
const outage = { losses: 0, failing: 3, keyWorks: false }

describe('after a direct call', () => {
  test('a good answer, and an error about the request, are recorded whatever else goes on', () => {
    for (const facts of [alone, outage]) {
      expect(planAfterCall(good, facts)).toBe('record')
      for (const status of [400, 404, 408, 409, 413, 422, 500, 501])
        expect(planAfterCall(failed(status), facts)).toBe('record')
    }
  })

  test('a refused key stops, an exhausted account and a server out of reach are waited for', () => {
    for (const facts of [alone, outage]) {
      expect(planAfterCall(failed(401), facts)).toBe('stop')
      expect(planAfterCall(failed(429), facts)).toBe('repeat')
      expect(planAfterCall(failed(400, 'billing_hard_limit_reached'), facts)).toBe('repeat')
      expect(planAfterCall(unreachable, facts)).toBe('repeat')
    }
  })

  test('a 403 is about the request once the key has brought good answers; a 401 never is', () => {
    expect(planAfterCall(failed(403), alone)).toBe('stop')
    expect(planAfterCall(failed(403), { ...alone, keyWorks: true })).toBe('record')
    expect(planAfterCall(failed(401), { ...alone, keyWorks: true })).toBe('stop')
  })

  test.each([502, 503, 504, 520, 529])(
    'HTTP %i is the fault of one request, or of the server when it hits several',
    (status) => {
      expect(planAfterCall(failed(status), alone)).toBe('record')
      expect(planAfterCall(failed(status), outage)).toBe('repeat')
    },
  )

  test('a lost answer is asked for again a few times; one that took too long only when nothing else works', () => {
    const plans = [1, 2, 3, 4, 5].map((losses) => planAfterCall(reset, { ...alone, losses }))
    expect(plans).toEqual(['repeat', 'repeat', 'repeat', 'record', 'record'])
    expect(planAfterCall(reset, { ...outage, losses: 3 })).toBe('repeat')
    expect(planAfterCall(reset, { ...outage, losses: 4 })).toBe('record')
    expect(planAfterCall(timeout, { ...outage, losses: 4 })).toBe('record')
    expect(planAfterCall(timeout, { ...alone, losses: 1 })).toBe('record')
    expect(planAfterCall(timeout, { ...outage, losses: 1 })).toBe('repeat')
  })

  test('one request alone can never be taken for an outage: its repeats come to an end', () => {
    const end = fc.oneof(
      fc.constantFrom(good, reset, timeout),
      fc.integer({ min: 200, max: 599 }).map((status) => failed(status)),
    )
    fc.assert(
      fc.property(end, fc.integer({ min: 1, max: 2 }), (one, failing) => {
        const isAboutRequest =
          one.kind === 'lost' || one === good || ![401, 402, 403, 429].includes(statusOf(one))
        if (isAboutRequest) expect(planAfterCall(one, { losses: 4, failing, keyWorks: false })).toBe('record')
      }),
    )
  })

  test('only an answer about a request shows that the server works', () => {
    expect([good, failed(400), failed(404)].map(isSoundAnswer)).toEqual([true, true, true])
    expect([failed(429), failed(401), failed(500), failed(503), reset, unreachable].some(isSoundAnswer)).toBe(
      false,
    )
  })
})

test('the work may have been done when an answer was lost, or a gateway got none', () => {
  expect([reset, timeout, failed(502), failed(504), failed(524)].every(mayHaveActed)).toBe(true)
  expect([good, unreachable, failed(400), failed(500), failed(503), failed(529)].some(mayHaveActed)).toBe(
    false,
  )
})

const statusOf = (end: CallEnd): number => (end.kind === 'answered' ? (end.failure?.status ?? 200) : 0)
