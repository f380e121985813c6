import { expect, test } from 'vitest'
import { median } from '../../src/util/median.ts'

test('the median is one of the values, the lower one of two', () => {
  expect(median([])).toBeUndefined()
  expect(median([3])).toBe(3)
  expect(median([9, 1, 5])).toBe(5)
  expect(median([9, 1, 5, 7])).toBe(5)
})
