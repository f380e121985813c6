import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ageOf, RequestIds } from '../../../src/gateway/http/request-id.ts'
import { holdMs, retryAfterSeconds } from '../../../src/gateway/http/waiting/hold.ts'

const NO_MAXIMUM = Number.POSITIVE_INFINITY
const unsaid = { timeoutMs: undefined, waitMs: undefined }

describe('how long a call is held', () => {
  test.each([
    ['less than the 300 s of a fetch that says nothing', unsaid, NO_MAXIMUM, 280_000],
    [
      'ten seconds less than a patient client',
      { timeoutMs: 600_000, waitMs: undefined },
      NO_MAXIMUM,
      590_000,
    ],
    ['a tenth less than a hasty one', { timeoutMs: 3000, waitMs: undefined }, NO_MAXIMUM, 2700],
    ['a quarter of a second less, at least', { timeoutMs: 1000, waitMs: undefined }, NO_MAXIMUM, 750],
    ['not at all for one without patience', { timeoutMs: 0, waitMs: undefined }, NO_MAXIMUM, 0],
    ['as long as a caller asks for', { timeoutMs: undefined, waitMs: 3_600_000 }, NO_MAXIMUM, 3_600_000],
    ['but not for longer than its client bears', { timeoutMs: 60_000, waitMs: 90_000 }, NO_MAXIMUM, 54_000],
    ['nor than the server allows', { timeoutMs: 86_400_000, waitMs: undefined }, 1000, 1000],
  ])('%s', (_, patience, most, expected) => {
    expect(holdMs(patience, most)).toBe(expected)
  })

  test('is always less than the client waits, and never negative', () => {
    const patience = fc.record({
      timeoutMs: fc.option(fc.nat(1e9), { nil: undefined }),
      waitMs: fc.option(fc.nat(1e9), { nil: undefined }),
    })
    fc.assert(
      fc.property(patience, fc.nat(1e9), (given, most) => {
        const held = holdMs(given, most)
        expect(held).toBeGreaterThanOrEqual(0)
        expect(held).toBeLessThanOrEqual(most)
        if (given.timeoutMs !== undefined) expect(held === 0 || held < given.timeoutMs).toBe(true)
        if (given.waitMs !== undefined) expect(held).toBeLessThanOrEqual(given.waitMs)
      }),
    )
  })
})

test('whoever has to come back does so sooner for what is young, and within a minute', () => {
  expect([0, 5_000, 60_000, 300_000, 600_000, 86_400_000].map(retryAfterSeconds)).toEqual([
    1, 1, 6, 30, 60, 60,
  ])
})

describe('the id of a request', () => {
  test('tells its age, and ids are in the order of their making', () => {
    const ids = new RequestIds()
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4e12 }), fc.nat(1e10), (at, ageMs) => {
        const [first, second] = [ids.next(at), ids.next(at + ageMs + 1)]
        expect(ageOf(first, at + ageMs)).toBe(ageMs)
        expect(first < second).toBe(true)
        expect(first).toMatch(/^req_[a-z0-9]{26}$/)
      }),
    )
  })

  test('differs from all others of its time, of its process and of others', () => {
    const replicas = [new RequestIds(), new RequestIds()]
    const ids = replicas.flatMap((one) => Array.from({ length: 10_000 }, () => one.next(0)))
    expect(new Set(ids).size).toBe(20_000)
  })

  test('of another form has no age', () => {
    expect(ageOf('req_----', 1000)).toBe(0)
  })
})
