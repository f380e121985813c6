import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hasLoneSurrogate, onOneLine, shapeOf } from '../../../src/gateway/body/json-shape.ts'
import { jsonText } from './json-texts.ts'

const depthOf = (value: unknown): number =>
  typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0

test('the shape of a text is what is left without white space, and its depth', () => {
  expect(shapeOf(' { "a b" : [ 1 , "\\" " ] }\n')).toEqual({ compact: '{"a b":[1,"\\" "]}', depth: 2 })
  expect(shapeOf('"{ ["')).toEqual({ compact: '"{ ["', depth: 0 })
  fc.assert(
    fc.property(jsonText, (json) => {
      const { compact, depth } = shapeOf(json)
      expect(JSON.parse(compact)).toEqual(JSON.parse(json))
      expect(shapeOf(compact)).toEqual({ compact, depth })
      expect(depth).toBeGreaterThanOrEqual(depthOf(JSON.parse(json)))
      const outside = compact.replaceAll(/"(?:[^"\\]|\\.)*"/gs, '""')
      expect(outside).not.toMatch(/\s/)
    }),
  )
})

test('a text on one line means the same', () => {
  expect(onOneLine('{\r\n"a":\n1}')).toBe('{  "a": 1}')
  fc.assert(
    fc.property(jsonText, (json) => {
      expect(onOneLine(json)).not.toMatch(/[\r\n]/)
      expect(JSON.parse(onOneLine(json))).toEqual(JSON.parse(json))
    }),
  )
})

test('half a surrogate pair is found, however it is written', () => {
  expect(hasLoneSurrogate('["\\ud83d"]')).toBe(true)
  expect(hasLoneSurrogate('{"\\uDE42":1}')).toBe(true)
  expect(hasLoneSurrogate('["\\ud83d\\ude42", "🙂"]')).toBe(false)
  expect(hasLoneSurrogate('["\\\\ud83d"]')).toBe(false)
  const isWhole = (value: unknown): boolean => {
    if (typeof value === 'string') return value.isWellFormed()
    if (typeof value !== 'object' || value === null) return true
    return Object.entries(value).every(([name, inner]) => name.isWellFormed() && isWhole(inner))
  }
  const text = fc.string({ unit: fc.constantFrom('a', '"', '\\', '\ud83d', '\ude42', '🙂') })
  fc.assert(
    fc.property(fc.object({ key: text, values: [text] }), (value) => {
      expect(hasLoneSurrogate(JSON.stringify(value))).toBe(!isWhole(value))
    }),
  )
})
