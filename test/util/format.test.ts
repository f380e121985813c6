import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatBytes, formatDuration, formatUsd } from '../../src/util/format.ts'

test.each([
  [0, '0s'],
  [999, '0s'],
  [15_000, '15s'],
  [180_000, '3m'],
  [200_000, '3m20s'],
  [7_500_000, '2h5m'],
  [7_200_000, '2h'],
  [7_215_000, '2h'],
  [86_400_000, '1d'],
  [100_800_000, '1d4h'],
  [-5000, '0s'],
  [Number.POSITIVE_INFINITY, 'for ever'],
  [Number.NaN, '?'],
])('formatDuration(%d) is %s', (ms, expected) => {
  expect(formatDuration(ms)).toBe(expected)
})

test('a duration is short and never later than the true one', () => {
  const unit: Record<string, number> = { d: 86_400, h: 3600, m: 60, s: 1 }
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e12 }), (ms) => {
      const parts = [...formatDuration(ms).matchAll(/(\d+)([dhms])/g)]
      const seconds = parts.reduce(
        (sum, [, count, letter]) => sum + Number(count) * (unit[letter ?? ''] ?? 0),
        0,
      )
      expect(parts.length).toBeLessThanOrEqual(2)
      expect(seconds * 1000).toBeLessThanOrEqual(ms)
      expect(seconds).toBeGreaterThanOrEqual(Math.floor(ms / 1000) * 0.95)
    }),
  )
})

describe('formatBytes', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [1500, '1.5 kB'],
    [12_345_678, '12.3 MB'],
    [999_999, '1 MB'],
    [1e17, '100 PB'],
    [1e19, '10000 PB'],
  ])('of %d is %s', (bytes, expected) => {
    expect(formatBytes(bytes)).toBe(expected)
  })
})

describe('formatUsd', () => {
  test.each([
    [0, '$0.00'],
    [1, '<$0.0001'],
    [12_300_000, '$0.0123'],
    [999_960_000, '$1.00'],
    [1_500_000_000, '$1.50'],
    [1_234_000_000_000, '$1,234.00'],
    [-1_500_000_000, '-$1.50'],
  ])('of %d is %s', (nanoUsd, expected) => {
    expect(formatUsd(nanoUsd)).toBe(expected)
  })
})
