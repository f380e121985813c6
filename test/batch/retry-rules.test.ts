import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ruleOnRetry } from '../../src/batch/retry-rules.ts'

const bounds = fc.record({ maxRetries: fc.nat(6), maxExpiries: fc.nat(6) })

/** How often a request is sent when its attempts end like this, one after another. */
function sends(ends: readonly boolean[], limits: { maxRetries: number; maxExpiries: number }): number {
  let attempt = 0
  let expiries = 0
  for (const [index, lapsed] of ends.entries()) {
    if (ruleOnRetry({ attempt, expiries, lapsed, ...limits }).kind === 'exhausted') return index + 1
    if (lapsed) expiries++
    else attempt++
  }
  return ends.length
}

describe('a request that never succeeds', () => {
  test('is sent once, and once more for each allowed retry', () => {
    fc.assert(
      fc.property(bounds, (limits) => {
        expect(sends(Array(50).fill(false), limits)).toBe(limits.maxRetries + 1)
      }),
    )
  })

  test('is given up after its allowed expiries, too', () => {
    fc.assert(
      fc.property(bounds, (limits) => {
        expect(sends(Array(50).fill(true), limits)).toBe(limits.maxExpiries + 1)
      }),
    )
  })

  test('is given up however failures and expiries follow one another', () => {
    fc.assert(
      fc.property(bounds, fc.array(fc.boolean(), { minLength: 20, maxLength: 20 }), (limits, ends) => {
        expect(sends(ends, limits)).toBeLessThanOrEqual(limits.maxRetries + limits.maxExpiries + 1)
      }),
    )
  })
})

test('an expiry uses up no retry, and a failure no expiry', () => {
  const limits = { maxRetries: 2, maxExpiries: 2 }
  expect(ruleOnRetry({ ...limits, attempt: 2, expiries: 1, lapsed: true })).toEqual({ kind: 'again' })
  expect(ruleOnRetry({ ...limits, attempt: 1, expiries: 2, lapsed: false })).toEqual({ kind: 'again' })
})

test.each([
  [false, 'failed 3 times'],
  [true, 'expired or was cancelled 6 times'],
])('says how often it was tried in vain (lapsed: %s)', (lapsed, why) => {
  const facts = { attempt: 2, maxRetries: 2, expiries: 5, maxExpiries: 5, lapsed }
  expect(ruleOnRetry(facts)).toEqual({ kind: 'exhausted', why })
})
