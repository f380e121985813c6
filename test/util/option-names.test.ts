import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { editDistance, kebab, nearest, quoteValue } from '../../src/util/option-names.ts'

test.each([
  ['maxRetries', 'max-retries'],
  ['createGraceMs', 'create-grace-ms'],
  ['task_dir', 'task-dir'],
  ['maxURL', 'max-url'],
  ['top5Words', 'top5-words'],
  ['run', 'run'],
])('kebab(%s) is %s', (name, expected) => {
  expect(kebab(name)).toBe(expected)
})

describe('editDistance', () => {
  test.each([
    ['', 'abc', 3],
    ['kitten', 'sitting', 3],
    ['only', 'olny', 1],
    ['same', 'same', 0],
  ])('of %s and %s is %i', (a, b, expected) => {
    expect(editDistance(a, b)).toBe(expected)
  })

  test('is symmetric, zero only for equal words, and never more than the longer word', () => {
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 8 })
    fc.assert(
      fc.property(word, word, (a, b) => {
        const distance = editDistance(a, b)
        expect(distance).toBe(editDistance(b, a))
        expect(distance === 0).toBe(a === b)
        expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length))
        expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length))
      }),
    )
  })
})

test.each([
  ['max-retry', ['name', 'max-retries'], 'max-retries'],
  ['maxRetries', ['max-retries'], 'max-retries'],
  ['zebra', ['max-retries', 'name'], undefined],
  ['x', ['n', 'xy'], undefined],
  ['', ['name'], undefined],
])('nearest(%s, %o) is %s', (word, candidates, expected) => {
  expect(nearest(word, candidates)).toBe(expected)
})

describe('quoteValue', () => {
  test('keeps values short and on one line', () => {
    expect(quoteValue('a\nb')).toBe('"a\\nb"')
    expect(quoteValue('x'.repeat(500))).toHaveLength(81)
    expect(quoteValue(-1.5)).toBe('-1.5')
    expect(quoteValue(undefined)).toBe('undefined')
    expect(quoteValue({ secret: 1 })).toBe('an object')
    expect(quoteValue(() => 1)).toBe('a Function')
  })

  test('hides what looks like a key or a password', () => {
    expect(quoteValue('see sk-proj-abc_DEF')).toBe('"see sk-…"')
    expect(quoteValue('http://me:pass@host/v1?a=b@c')).toBe('"http://…@host/v1?a=b@c"')
  })
})
