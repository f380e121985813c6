import fc from 'fast-check'
import { expect, test } from 'vitest'
import { customId, parseCustomId } from '../../src/batch/custom-id.ts'

const requests = fc.integer({ min: 1, max: 999_999_999_999_999 })
const queuings = fc.nat(999_999)

test('a custom id is allowed by the API and reads back as the request and queuing it was made of', () => {
  fc.assert(
    fc.property(requests, queuings, (request, queued) => {
      const id = customId(request, queued)
      expect(id).toMatch(/^[a-zA-Z0-9_-]{1,64}$/)
      expect(parseCustomId(id)).toEqual({ request, queued })
    }),
  )
})

test('different lines have different ids', () => {
  fc.assert(
    fc.property(fc.tuple(requests, queuings), fc.tuple(requests, queuings), (one, other) => {
      const same = one[0] === other[0] && one[1] === other[1]
      expect(customId(...one) === customId(...other)).toBe(same)
    }),
  )
})

test('any text that is read as an id is exactly the id of that line', () => {
  const digits = fc.string({ unit: fc.constantFrom('0', '1', '9'), maxLength: 17 })
  const nearly = fc.tuple(
    fc.constantFrom('r', 'R', '', ' r'),
    digits,
    fc.constantFrom('-', '--', '_'),
    digits,
  )
  const texts = fc.oneof(
    fc.string(),
    nearly.map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(texts, (text) => {
      const line = parseCustomId(text)
      if (line) expect(customId(line.request, line.queued)).toBe(text)
    }),
    { numRuns: 2000 },
  )
})

test.each([
  '',
  'r1',
  'r-1',
  'r1-',
  'r1-1\n',
  ' r1-1',
  'r01-0',
  'r1-00',
  'r0-0',
  'r1.5-0',
  'R1-0',
  'r1-1234567',
  'req-7',
])('reads nothing from %j', (text) => {
  expect(parseCustomId(text)).toBeUndefined()
})
