import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addUsage, readUsage, zeroUsage } from '../../src/tokens/usage.ts'

describe('reading a usage block', () => {
  test.each([
    [
      'chat',
      {
        prompt_tokens: 100,
        completion_tokens: 20,
        total_tokens: 120,
        prompt_tokens_details: { cached_tokens: 64, cache_write_tokens: 8 },
        completion_tokens_details: { reasoning_tokens: 12 },
      },
      { input: 100, cachedInput: 64, cacheWrite: 8, output: 20, reasoning: 12 },
    ],
    [
      'responses',
      {
        input_tokens: 5,
        output_tokens: 7,
        input_tokens_details: { cached_tokens: 2 },
        output_tokens_details: null,
      },
      { input: 5, cachedInput: 2, cacheWrite: 0, output: 7, reasoning: 0 },
    ],
    ['embeddings', { prompt_tokens: 8, total_tokens: 8 }, { ...zeroUsage, input: 8 }],
    ['only a total', { total_tokens: 9 }, { ...zeroUsage, input: 9 }],
    ['no prompt count', { completion_tokens: 4, total_tokens: 9 }, { ...zeroUsage, input: 5, output: 4 }],
  ])('%s', (_, block, usage) => {
    expect(readUsage(block)).toEqual(usage)
  })

  test.each([[null], [undefined], [{}], ['12'], [[1]], [{ prompt_tokens: 'many' }], [{ prompt_tokens: -1 }]])(
    'says nothing: %j',
    (block) => {
      expect(readUsage(block)).toBeUndefined()
    },
  )

  test('is whole, never negative, and no token is in two classes, whatever the block holds', () => {
    const counts = fc.option(fc.oneof(fc.double(), fc.integer({ min: -9, max: 99 }), fc.string()), {
      nil: null,
    })
    const details = fc.option(
      fc.record({ cached_tokens: counts, cache_write_tokens: counts, reasoning_tokens: counts }),
    )
    const blocks = fc.record({
      prompt_tokens: counts,
      completion_tokens: counts,
      total_tokens: counts,
      prompt_tokens_details: details,
      completion_tokens_details: details,
    })
    fc.assert(
      fc.property(blocks, (block) => {
        const usage = readUsage(block) ?? zeroUsage
        for (const count of Object.values(usage)) expect(Number.isInteger(count) && count >= 0).toBe(true)
        expect(usage.cachedInput + usage.cacheWrite).toBeLessThanOrEqual(usage.input)
        expect(usage.reasoning).toBeLessThanOrEqual(usage.output)
      }),
    )
  })
})

test('adding is by class, zero changes nothing', () => {
  const one = { input: 1, cachedInput: 2, cacheWrite: 3, output: 4, reasoning: 5 }
  expect(addUsage(one, one)).toEqual({ input: 2, cachedInput: 4, cacheWrite: 6, output: 8, reasoning: 10 })
  expect(addUsage(one, zeroUsage)).toEqual(one)
})
