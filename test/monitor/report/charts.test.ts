import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { binOf, numberBins, timeBins } from '../../../src/monitor/report/bins.ts'
import { inLanes } from '../../../src/monitor/report/lanes.ts'
import { merged } from '../../../src/monitor/report/timeline-chart.ts'

describe('bins', () => {
  test('of time have a width that people count in, and hold all of it', () => {
    const time = fc.integer({ min: 0, max: 4e12 })
    fc.assert(
      fc.property(time, time, fc.integer({ min: 3, max: 100 }), (a, b, most) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)]
        const { width, starts } = timeBins(from, to, most)
        expect(starts.length).toBeLessThanOrEqual(most + 1)
        expect(starts[0]).toBeLessThanOrEqual(from)
        expect((starts.at(-1) ?? 0) + width).toBeGreaterThan(to)
        expect(width % 1000).toBe(0)
      }),
    )
  })

  test('of numbers begin at nothing, and hold the highest', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1e9, noNaN: true }),
        fc.integer({ min: 4, max: 40 }),
        (highest, most) => {
          const bins = numberBins(highest, most)
          expect(bins.starts[0]).toBe(0)
          expect(bins.starts.length).toBeLessThanOrEqual(most + 1)
          expect((bins.starts.at(-1) ?? 0) + bins.width).toBeGreaterThanOrEqual(highest)
          expect(binOf(bins, highest)).toBe(bins.starts.length - 1)
          expect(binOf(bins, 0)).toBe(0)
        },
      ),
    )
  })

  test.each([
    [90, 24, 5, 19],
    [2.09, 24, 0.1, 21],
    [1, 24, 0.05, 21],
    [0, 24, undefined, 1],
  ])('of numbers up to %d', (highest, most, width, count) => {
    const bins = numberBins(highest, most)
    if (width !== undefined) expect(bins.width).toBeCloseTo(width, 10)
    expect(bins.starts).toHaveLength(count)
  })
})

const stretches = fc
  .array(fc.tuple(fc.nat({ max: 1000 }), fc.nat({ max: 300 })), { maxLength: 80 })
  .map((pairs) => pairs.map(([from, length]) => ({ from, to: from + length })))

describe('lanes', () => {
  test('hold no two stretches at one time, and are as many as there are at most at one time', () => {
    fc.assert(
      fc.property(stretches, (items) => {
        const laned = inLanes(items)
        expect(laned).toHaveLength(items.length)
        for (const [index, one] of laned.entries())
          for (const other of laned.slice(index + 1))
            if (one.lane === other.lane)
              expect(one.item.to <= other.item.from || other.item.to <= one.item.from).toBe(true)
        const long = items.filter(({ from, to }) => to > from)
        const atOnce = long.map(({ from: at }) => long.filter(({ from, to }) => from <= at && at < to).length)
        const lanes = new Set(inLanes(long).map(({ lane }) => lane))
        expect(lanes.size).toBe(Math.max(0, ...atOnce))
      }),
    )
  })
})

describe('joining spans', () => {
  test('leaves few of them, which cover the same time', () => {
    const kinds = fc.constantFrom(0, 1, 2)
    fc.assert(
      fc.property(
        stretches,
        fc.array(kinds, { minLength: 80, maxLength: 80 }),
        fc.integer({ min: 1, max: 50 }),
        (items, kindOf, most) => {
          const spans = inLanes(items).map(({ item, lane }, index) => ({
            ...item,
            lane,
            kind: kindOf[index] ?? 0,
            label: `${index}`,
          }))
          const joined = merged(spans, most)
          expect(joined.length).toBeLessThanOrEqual(Math.max(most, 0))
          if (spans.length <= most) expect(joined).toEqual(spans)
        },
      ),
    )
  })

  test('keeps to a bound when there are more lanes than can be told apart', () => {
    const spans = Array.from({ length: 5_000 }, (_, lane) => ({
      from: lane,
      to: 10_000,
      lane,
      kind: 0,
      label: '',
    }))
    expect(merged(spans, 2_000).length).toBeLessThanOrEqual(2_000)
  })
})
