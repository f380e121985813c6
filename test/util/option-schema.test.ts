import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { allowedText, schemaFacts, valueFromText } from '../../src/util/option-schema.ts'

describe('schemaFacts', () => {
  test.each([
    [z.boolean(), { shape: { kind: 'boolean' }, required: true }],
    [z.string().optional(), { shape: { kind: 'text' }, required: false }],
    [z.url().nullable().default(null), { shape: { kind: 'text' }, fallback: null, required: false }],
    [
      z.int().min(1).max(9).default(3),
      { shape: { kind: 'number', whole: true, min: 1, max: 9 }, fallback: 3 },
    ],
    [z.int(), { shape: { kind: 'number', whole: true } }],
    [z.coerce.number(), { shape: { kind: 'number', whole: false } }],
    [z.enum(['a', 'b']).readonly(), { shape: { kind: 'choice', choices: ['a', 'b'] } }],
    [z.literal([1, 'two']), { shape: { kind: 'choice', choices: [1, 'two'] } }],
    [z.array(z.int()).default([]), { shape: { kind: 'list', element: { kind: 'number', whole: true } } }],
    [z.string().transform((text) => text.length), { shape: { kind: 'text' }, required: true }],
    [z.preprocess((value) => value, z.number()), { shape: { kind: 'number', whole: false } }],
    [z.object({}), { shape: undefined }],
    [z.array(z.boolean()), { shape: undefined }],
    [z.literal([true, 'two']), { shape: undefined }],
  ])('reads %#', (schema, expected) => {
    expect(schemaFacts(schema)).toMatchObject(expected)
  })
})

describe('valueFromText', () => {
  test.each([
    [{ kind: 'number', whole: false }, '-1.5e3', -1500],
    [{ kind: 'number', whole: false }, '.5', 0.5],
    [{ kind: 'number', whole: false }, '', undefined],
    [{ kind: 'number', whole: false }, ' 1', undefined],
    [{ kind: 'number', whole: false }, '0x10', undefined],
    [{ kind: 'number', whole: false }, 'Infinity', undefined],
    [{ kind: 'boolean' }, 'TRUE', true],
    [{ kind: 'boolean' }, 'constructor', undefined],
    [{ kind: 'choice', choices: [1, 'two'] }, '1', 1],
    [{ kind: 'choice', choices: ['two'] }, 'Two', undefined],
    [{ kind: 'text' }, ' as is ', ' as is '],
    [{ kind: 'list', element: { kind: 'text' } }, 'a', 'a'],
  ] as const)('reads %o from "%s" as %s', (shape, text, expected) => {
    expect(valueFromText(shape, text)).toBe(expected)
  })

  test('reads back every finite number', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(valueFromText({ kind: 'number', whole: false }, String(value))).toBe(
          value === 0 ? value + 0 : value,
        )
      }),
    )
  })
})

test.each([
  [{ kind: 'number', whole: false }, 'a number'],
  [{ kind: 'number', whole: true, min: 0 }, 'a whole number, 0 or more'],
  [{ kind: 'number', whole: false, max: 1 }, 'a number, 1 or less'],
  [{ kind: 'number', whole: false, min: 0, max: 1 }, 'a number from 0 to 1'],
  [{ kind: 'choice', choices: ['only'] }, 'only'],
  [{ kind: 'list', element: { kind: 'text' } }, 'a list, each of it a text'],
] as const)('allowedText(%o) is %s', (shape, expected) => {
  expect(allowedText(shape)).toBe(expected)
})
