import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NearestKeys } from '../../src/requester/nearest-keys.ts'
import { editDistance } from '../../src/util/option-names.ts'

function nearest(wanted: string, keys: readonly string[]): readonly string[] {
  const found = new NearestKeys(wanted)
  for (const key of keys) found.offer(key)
  return found.keys
}

describe('the nearest keys', () => {
  test.each([
    ['text-12', ['text-1', 'text-21', 'text-120', 'image-12'], ['text-1', 'text-21', 'text-120']],
    ['Text-7', ['text-8', 'text-7'], ['text-7', 'text-8']],
    ['doc', ['doc/1', 'doc/2', 'dog', 'document'], ['doc/1', 'doc/2', 'dog']],
    ['doc', ['something else'], []],
    ['', ['a', 'b'], []],
  ])('to %j of %j', (wanted, keys, expected) => {
    expect(nearest(wanted, keys)).toEqual(expected)
  })

  test('are as near as any other of short keys, and each is named once', () => {
    const key = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '-'), minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(key, fc.array(key), (wanted, keys) => {
        const found = nearest(wanted, [...keys, ...keys])
        expect(new Set(found).size).toBe(found.length)
        const distance = (one: string) => (one.startsWith(wanted) ? 1 : editOf(wanted, one))
        const least = Math.min(...keys.map(distance))
        if (found[0] !== undefined) expect(distance(found[0])).toBe(least)
        else expect(least).toBeGreaterThanOrEqual(Math.ceil(wanted.length / 3) + 1)
      }),
    )
  })
})

const editOf = (a: string, b: string): number => editDistance(a.toLowerCase(), b.toLowerCase())
