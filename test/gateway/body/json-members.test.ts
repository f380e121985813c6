import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  cutMembers,
  itemsOf,
  membersOf,
  setMember,
  valuesOf,
} from '../../../src/gateway/body/json-members.ts'
import { jsonObjectText, jsonText } from './json-texts.ts'

const parse = (json: string): unknown => JSON.parse(json)

describe('the members of an object', () => {
  test('are found with their places, their names decoded', () => {
    const json = ' { "a" : [1, {"b":2}] ,"str\\u0065am":true,"":"}\\"" } '
    expect(membersOf(json).map(({ name, start, end }) => [name, json.slice(start, end)])).toEqual([
      ['a', '"a" : [1, {"b":2}]'],
      ['stream', '"str\\u0065am":true'],
      ['', '"":"}\\""'],
    ])
    expect([...valuesOf(json)]).toEqual([
      ['a', '[1, {"b":2}]'],
      ['stream', 'true'],
      ['', '"}\\""'],
    ])
  })

  test('are all there when names come twice, and the last counts', () => {
    const json = '{"a":1,"\\u0061":2,"__proto__":3}'
    expect(membersOf(json).map(({ name }) => name)).toEqual(['a', 'a', '__proto__'])
    expect(valuesOf(json).get('a')).toBe('2')
  })

  test('are what JSON.parse finds, in any text', () => {
    fc.assert(
      fc.property(jsonObjectText, (json) => {
        const values = [...valuesOf(json)].map(([name, value]) => [name, parse(value)])
        expect(Object.fromEntries(values)).toEqual(parse(json))
        for (const { start, valueStart, end } of membersOf(json)) {
          expect(() => parse(`{${json.slice(start, end)}}`)).not.toThrow()
          expect(json.slice(start, valueStart)).toMatch(/:\s*$/)
        }
      }),
    )
  })

  test('are found in linear time in whatever is sent', () => {
    const deep = `{"a":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)},"b":1}`
    expect(valuesOf(deep).get('b')).toBe('1')
    const many = `{${Array.from({ length: 300_000 }, (_, index) => `"k${index}":${index}`).join(',')}}`
    expect(membersOf(many)).toHaveLength(300_000)
    const slashes = `{"a":"${'\\\\'.repeat(1_000_000)}","b":"${'\\"'.repeat(1_000_000)}","c":3}`
    expect(valuesOf(slashes).get('c')).toBe('3')
  })
})

test('the items of a list are found in any text', () => {
  expect(itemsOf(' [ ] ')).toEqual([])
  expect(itemsOf('[1 , "a,]" ,{"b":[]}]')).toEqual(['1', '"a,]"', '{"b":[]}'])
  fc.assert(
    fc.property(fc.array(jsonText), (texts) => {
      expect(itemsOf(`[${texts.join(' , ')}]`).map(parse)).toEqual(texts.map(parse))
    }),
  )
})

describe('cutting members', () => {
  test.each([
    ['{"a":1,"x":2,"b":3}', '{"a":1,"b":3}'],
    ['{"x":1,"a":2}', '{"a":2}'],
    ['{"a":1 , "x":2}', '{"a":1}'],
    ['{"x":1,"y":2,"a":3,"x":4,"b":5,"y":6}', '{"a":3,"b":5}'],
    ['{ "x" : 1 }', '{  }'],
    ['{"x":1,"y":2}', '{}'],
    ['{"a":{"x":1},"b":["x"]}', '{"a":{"x":1},"b":["x"]}'],
    ['{"\\u0078":1,"a":1.50}', '{"a":1.50}'],
    [' {\n  "x": 1,\n  "a": 0\n}\n', ' {\n  "a": 0\n}\n'],
    ['{}', '{}'],
  ])('of %s leaves %s', (json, left) => {
    expect(cutMembers(json, new Set(['x', 'y']))).toBe(left)
  })

  test('leaves all others as they are written', () => {
    fc.assert(
      fc.property(jsonObjectText, fc.integer({ min: 0, max: 7 }), (json, mask) => {
        const names = [...valuesOf(json).keys()].filter((_, index) => (mask >> (index % 3)) & 1)
        const cut = cutMembers(json, new Set(names))
        const text =
          (of: string) =>
          ({ name, start, end }: { name: string; start: number; end: number }) =>
            [name, of.slice(start, end)] as const
        const left = membersOf(json).filter(({ name }) => !names.includes(name))
        expect(membersOf(cut).map(text(cut))).toEqual(left.map(text(json)))
        expect(() => parse(cut)).not.toThrow()
      }),
    )
  })
})

describe('setting a member', () => {
  test.each([
    ['{}', '{"x":9}'],
    [' { } ', ' {"x":9 } '],
    ['{"a":1}', '{"a":1,"x":9}'],
    ['{"x" : 1, "a":2}', '{"x" : 9, "a":2}'],
    ['{"x":1,"\\u0078":[2]}', '{"x":9,"\\u0078":9}'],
  ])('in %s gives %s', (json, set) => {
    expect(setMember(json, 'x', '9')).toBe(set)
  })

  test('changes nothing else', () => {
    fc.assert(
      fc.property(jsonObjectText, fc.string(), (json, name) => {
        const before = Object.entries(Object(parse(json))).filter(([key]) => key !== name)
        const after = Object.entries(Object(parse(setMember(json, name, '"set"'))))
        expect(after.filter(([key]) => key !== name)).toEqual(before)
        expect(after).toContainEqual([name, 'set'])
      }),
    )
  })
})
