import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  afterPushback,
  afterSuccess,
  concurrencyOf,
  type DirectRate,
  initialRate,
} from '../../src/batch/direct-rate.ts'

interface Answer {
  readonly ok: boolean
  readonly afterMs: number
  readonly retryAfterMs: number | undefined
}

const answers = fc.array(
  fc.record<Answer>({
    ok: fc.boolean(),
    afterMs: fc.nat(5000),
    retryAfterMs: fc.option(fc.nat(120_000), { nil: undefined }),
  }),
  { maxLength: 60 },
)
const concurrencies = fc.integer({ min: 1, max: 200 })

/** The rate after each of some answers, and the time of each. */
function history(concurrency: number, list: readonly Answer[]) {
  let now = 0
  let rate = initialRate(concurrency)
  return list.map(({ ok, afterMs, retryAfterMs }) => {
    now += afterMs
    const before = rate
    rate = ok ? afterSuccess(rate) : afterPushback(rate, now, retryAfterMs)
    return { now, before, rate, ok, retryAfterMs }
  })
}

describe('whatever the server answers', () => {
  test('at least one call may be on the wire, and never more than asked for', () => {
    fc.assert(
      fc.property(concurrencies, answers, (concurrency, list) => {
        for (const { rate } of history(concurrency, list)) {
          expect(concurrencyOf(rate)).toBeGreaterThanOrEqual(1)
          expect(concurrencyOf(rate)).toBeLessThanOrEqual(concurrency)
        }
      }),
    )
  })

  test('the wait a server asks for is kept to the end', () => {
    fc.assert(
      fc.property(concurrencies, answers, (concurrency, list) => {
        for (const { now, rate, ok, retryAfterMs, before } of history(concurrency, list)) {
          expect(rate.pausedUntilMs).toBeGreaterThanOrEqual(
            before.pausedUntilMs > now ? before.pausedUntilMs : 0,
          )
          if (!ok && retryAfterMs !== undefined)
            expect(rate.pausedUntilMs).toBeGreaterThanOrEqual(now + retryAfterMs)
        }
      }),
    )
  })

  test('without a word from the server the pause is between a second and a minute', () => {
    fc.assert(
      fc.property(concurrencies, answers, (concurrency, list) => {
        for (const { now, rate, before, ok, retryAfterMs } of history(concurrency, list)) {
          if (ok || retryAfterMs !== undefined || now < before.pausedUntilMs) continue
          expect(rate.pausedUntilMs - now).toBeGreaterThanOrEqual(1000)
          expect(rate.pausedUntilMs - now).toBeLessThanOrEqual(60_000)
        }
      }),
    )
  })

  test('enough good answers bring the full rate back', () => {
    fc.assert(
      fc.property(concurrencies, answers, (concurrency, list) => {
        let rate: DirectRate = history(concurrency, list).at(-1)?.rate ?? initialRate(concurrency)
        for (let n = 0; n <= concurrency ** 2; n++) rate = afterSuccess(rate)
        expect(concurrencyOf(rate)).toBe(concurrency)
        expect(rate.pushbacks).toBe(0)
      }),
      { numRuns: 40 },
    )
  })
})

test('a full round of pushbacks halves the rate once', () => {
  let rate = initialRate(64)
  for (let n = 0; n < 64; n++) rate = afterPushback(rate, 1000 + n, undefined)
  expect(concurrencyOf(rate)).toBe(32)
  expect(rate.pushbacks).toBe(1)
})

test('one round of good answers at the present rate allows about one call more', () => {
  let rate: DirectRate = { ...initialRate(64), limit: 16 }
  for (let n = 0; n < 16; n++) rate = afterSuccess(rate)
  expect(rate.limit).toBeGreaterThan(16.9)
  expect(rate.limit).toBeLessThan(17.1)
})

test('pauses double while the server pushes back, and start anew after a good answer', () => {
  let rate = initialRate(8)
  const pauses: number[] = []
  for (let n = 0; n < 8; n++) {
    const now = rate.pausedUntilMs
    rate = afterPushback(rate, now, undefined)
    pauses.push(rate.pausedUntilMs - now)
  }
  expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000])
  const now = rate.pausedUntilMs
  expect(afterPushback(afterSuccess(rate), now, undefined).pausedUntilMs - now).toBe(1000)
})
