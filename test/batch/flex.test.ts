import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { flexRefusal, withFlexTier } from '../../src/batch/flex.ts'
import type { Failure } from '../../src/batch/reply.ts'

const failure = (over: Partial<Failure>): Failure => ({
  code: 'x',
  message: 'no',
  retryable: false,
  countsAsAttempt: true,
  ...over,
})

describe('a refusal of flex', () => {
  test.each([
    ['no room', { status: 429, code: 'resource_unavailable' }, 'full'],
    ['the account is exhausted', { status: 429, code: 'insufficient_quota' }, undefined],
    ['too many calls', { status: 429, code: 'rate_limit_exceeded' }, undefined],
    ['a model without flex', { status: 400, message: 'Flex is not available for this model.' }, 'unknown'],
    ['an unknown field', { status: 400, message: 'Unrecognized request argument: service_tier' }, 'unknown'],
    ['another fault of the body', { status: 400, message: 'Invalid value: flexible' }, undefined],
    ['a broken server', { status: 500, message: 'flex processing failed' }, undefined],
  ] as const)('%s', (_, said, is) => {
    expect(flexRefusal(failure(said))).toBe(is)
  })
})

describe('a body that asks for flex', () => {
  test('says the same otherwise, as text and as an object', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (fields) => {
        const { service_tier: _, ...body } = fields
        const text = JSON.stringify(body)
        const flex = withFlexTier(text) ?? ''
        expect(JSON.parse(flex)).toEqual({ ...JSON.parse(text), service_tier: 'flex' })
        expect(flex.startsWith(text.slice(0, -1))).toBe(true)
      }),
    )
  })

  test.each(['default', 'flex', 'priority', 'scale'])('is not made of one that says %s', (tier) => {
    expect(withFlexTier(JSON.stringify({ service_tier: tier, model: 'm' }))).toBeUndefined()
  })

  test.each(['auto', null])('is made of one that says %s', (tier) => {
    expect(withFlexTier(JSON.stringify({ service_tier: tier, model: 'm' }))).toBe(
      '{"service_tier":"flex","model":"m"}',
    )
  })
})
