import fc from 'fast-check'
import { expect, test } from 'vitest'
import { customId } from '../../src/batch/custom-id.ts'
import { lineBody, lineId, wireLine } from '../../src/batch/wire-line.ts'
import { ENDPOINTS } from '../../src/openai/wire.ts'

const ids = fc
  .tuple(fc.integer({ min: 1, max: 1e9 }), fc.nat(999))
  .map(([request, queued]) => customId(request, queued))
const endpoints = fc.constantFrom(...ENDPOINTS)
const bodies = fc.dictionary(
  fc.oneof(fc.string(), fc.constantFrom('body', 'custom_id', 'url')),
  fc.jsonValue(),
)

test('a line is one JSON line of a batch input file and gives id, endpoint and body back unchanged', () => {
  fc.assert(
    fc.property(ids, endpoints, bodies, (id, endpoint, body) => {
      const bodyText = JSON.stringify(body)
      const line = wireLine(id, endpoint, bodyText)
      expect(line).not.toMatch(/[\r\n]/)
      expect(JSON.parse(line)).toEqual({
        custom_id: id,
        method: 'POST',
        url: endpoint,
        body: JSON.parse(bodyText),
      })
      expect(lineId(line)).toBe(id)
      expect(lineBody(line)).toBe(bodyText)
    }),
    { numRuns: 500 },
  )
})

test('a body that contains a line keeps it', () => {
  const inner = wireLine('r1-0', '/v1/responses', '{"input":"x"}')
  const bodyText = JSON.stringify({ model: 'm', input: inner, body: { body: inner } })
  expect(lineBody(wireLine('r2-0', '/v1/responses', bodyText))).toBe(bodyText)
})

test.each(['', '{}', '{"custom_id":"r1-0', '{"id":"r1-0"}', ' {"custom_id":"r1-0"'])(
  'finds no id in %j',
  (text) => {
    expect(lineId(text)).toBeUndefined()
  },
)
