import { hash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DigestMap, digestOf } from '../../src/batch/digest-map.ts'

/** Some begin alike, so that they fall on the same places. */
const hexes = fc
  .tuple(fc.constantFrom('00000000', '00000001', 'ffffffff', '12345678'), fc.nat(6), fc.nat(6))
  .map(([first, second, third]) =>
    [first, second.toString(16).padStart(8, '0'), third.toString(16).padStart(8, '0')].join(''),
  )

test('it holds what a Map holds, whatever falls on the same place', () => {
  const entries = fc.array(fc.tuple(hexes, fc.oneof(fc.nat(5), fc.constant(2 ** 32 - 2))), { maxLength: 200 })
  fc.assert(
    fc.property(entries, (list) => {
      const [map, model] = [new DigestMap(), new Map<string, number>()]
      for (const [hex, value] of list) {
        map.set(digestOf(hex), value)
        model.set(hex, value)
        for (const [known, held] of model) expect(map.get(digestOf(known))).toBe(held)
        for (const [other] of list) expect(map.has(digestOf(other))).toBe(model.has(other))
      }
    }),
  )
})

test('it grows', () => {
  const map = new DigestMap()
  const names = Array.from({ length: 20_000 }, (_, n) => hash('sha256', `${n}`, 'hex'))
  for (const [n, name] of names.entries()) map.set(digestOf(name), n + 1)
  expect(names.every((name, n) => map.get(digestOf(name)) === n + 1)).toBe(true)
  expect(map.get(digestOf(hash('sha256', 'another', 'hex')))).toBe(0)
})

test('a hash of fewer digits is one with zeros', () => {
  expect(digestOf('0123456789abcdef')).toEqual([0x01234567, 0x89abcdef, 0])
})
