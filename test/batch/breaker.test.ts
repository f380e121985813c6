import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isTripped, passFailuresAfter } from '../../src/batch/breaker.ts'

const settings = fc.record({
  minPassRatio: fc.double({ min: 0, max: 1, noNaN: true }),
  maxPassFailures: fc.integer({ min: 1, max: 5 }),
})
const batches = fc
  .integer({ min: 1, max: 500 })
  .chain((requests) => fc.record({ requests: fc.constant(requests), passed: fc.nat(requests) }))

test('trips exactly when so many batches in a row are bad, and a good one starts the count anew', () => {
  fc.assert(
    fc.property(settings, fc.array(batches, { maxLength: 20 }), (limits, list) => {
      let failures = 0
      const verdicts: boolean[] = []
      for (const { passed, requests } of list) {
        failures = passFailuresAfter(failures, passed, requests, limits)
        verdicts.push(passed > 0 && passed >= requests * limits.minPassRatio - 1e-9)
        const inARow = verdicts.length - 1 - verdicts.lastIndexOf(true)
        expect(failures).toBe(inARow)
        expect(isTripped(failures, limits)).toBe(inARow >= limits.maxPassFailures)
      }
    }),
  )
})

test.each([
  [5, 10, 0.5, 0],
  [4, 10, 0.5, 1],
  [10, 10, 1, 0],
  [9, 10, 1, 1],
  [0, 10, 0, 1],
  [1, 10, 0, 0],
])(
  '%d usable answers of %d, with a ratio of %d, make %d bad batches',
  (passed, requests, minPassRatio, bad) => {
    expect(passFailuresAfter(0, passed, requests, { minPassRatio, maxPassFailures: 2 })).toBe(bad)
  },
)
