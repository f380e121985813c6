import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Row, ThinnedRows, thin } from '../../../src/monitor/report/thinned-rows.ts'

const COLUMNS = 3

/** Rows with rising times, many at a time or far between. */
const rows = fc
  .array(
    fc.record({
      after: fc.nat({ max: 1_000_000 }),
      values: fc.tuple(fc.nat(), fc.integer(), fc.nat({ max: 3 })),
    }),
    {
      minLength: 1,
      maxLength: 400,
    },
  )
  .map((steps): Row[] => {
    let at = 0
    return steps.map(({ after, values }) => {
      at += after
      return { at, values }
    })
  })

const extremes = (some: readonly Row[]): number[] =>
  Array.from({ length: COLUMNS }, (_, column) => some.map(({ values }) => values[column] ?? 0)).flatMap(
    (all) => [Math.min(...all), Math.max(...all)],
  )

describe('thinning', () => {
  test('keeps few rows, the ends and the extremes of every column, in order', () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 2 + 2 * COLUMNS, max: 60 }), (all, most) => {
        const kept = thin(all, most)
        expect(kept.length).toBeLessThanOrEqual(most)
        expect(kept.at(0)).toBe(all.at(0))
        expect(kept.at(-1)).toBe(all.at(-1))
        expect(extremes(kept)).toEqual(extremes(all))
        expect(kept.map((row) => all.indexOf(row))).toEqual(
          kept.map((row) => all.indexOf(row)).toSorted((a, b) => a - b),
        )
      }),
    )
  })

  test('of rows as they come keeps the same, whatever their number', () => {
    fc.assert(
      fc.property(rows, fc.integer({ min: 10, max: 40 }), (all, most) => {
        const table = new ThinnedRows(most)
        for (const { at, values } of all) table.add(at, values)
        const kept = table.upTo(0)
        expect(kept.length).toBeLessThanOrEqual(most)
        expect(kept.at(-1)?.values).toEqual(all.at(-1)?.values)
        const times = kept.map(({ at }) => at)
        expect(times).toEqual(times.toSorted((a, b) => a - b))
      }),
    )
  })

  test('spreads what it keeps over the whole time', () => {
    const table = new ThinnedRows(100)
    for (let at = 0; at < 1_000_000; at++) table.add(at, [at, at % 1000 === 7 ? 500 : 1])
    const kept = table.upTo(0)
    expect(kept.length).toBeGreaterThan(40)
    const gaps = kept.slice(1).map(({ at }, index) => at - (kept[index]?.at ?? 0))
    expect(Math.max(...gaps)).toBeLessThan(50_000)
    expect(kept.some(({ values }) => values[1] === 500)).toBe(true)
  })

  test('leaves out what changes nothing, and goes on to the end that is known', () => {
    const table = new ThinnedRows()
    for (const at of [1, 2, 3]) table.add(at, [5])
    table.add(4, [6])
    // The clock was set back.
    table.add(2, [7])
    expect(table.upTo(9)).toEqual([
      { at: 1, values: [5] },
      { at: 4, values: [7] },
      { at: 9, values: [7] },
    ])
    expect(table.upTo(0)).toHaveLength(2)
    expect(new ThinnedRows().upTo(9)).toEqual([])
  })
})
