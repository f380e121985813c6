import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Spread } from '../../src/util/spread.ts'

function spreadOver(length: number, count: number): readonly number[] {
  const spread = new Spread<number>(count)
  for (let at = 0; at < length; at++) spread.add(at)
  return spread.items
}

const lengths = fc.integer({ min: 0, max: 5000 })
const counts = fc.integer({ min: 0, max: 60 })

test('keeps as many as were asked for, each once and in order, or all when there are not so many', () => {
  fc.assert(
    fc.property(lengths, counts, (length, count) => {
      const kept = spreadOver(length, count)
      expect(kept).toHaveLength(Math.min(length, count))
      expect([...new Set(kept)].toSorted((a, b) => a - b)).toEqual(kept)
    }),
  )
})

test('every tenth of a long stream has its share of what is kept', () => {
  fc.assert(
    fc.property(fc.integer({ min: 500, max: 20_000 }), fc.integer({ min: 20, max: 60 }), (length, count) => {
      const kept = spreadOver(length, count)
      for (let tenth = 0; tenth < 10; tenth++) {
        const share = kept.filter((at) => Math.floor((at * 10) / length) === tenth).length
        expect(share).toBeGreaterThanOrEqual(Math.floor(count / 10) - 2)
        expect(share).toBeLessThanOrEqual(Math.ceil(count / 10) + 2)
      }
    }),
  )
})

test('of a stream that goes round in kinds every kind has about its share', () => {
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 8 }), fc.integer({ min: 500, max: 20_000 }), (kinds, length) => {
      const count = 400
      const kept = spreadOver(length, count)
      for (let kind = 0; kind < kinds; kind++) {
        const share = kept.filter((at) => at % kinds === kind).length
        const fair = kept.length / kinds
        // Five standard deviations.
        expect(Math.abs(share - fair)).toBeLessThan(5 * Math.sqrt(fair))
      }
    }),
  )
})
