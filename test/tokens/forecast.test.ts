import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  addForecasts,
  expectedNanoUsd,
  mostNanoUsd,
  noForecast,
  type TokenForecast,
} from '../../src/tokens/forecast.ts'
import { costOf, createPriceTable, type PricedApi, type RateCard } from '../../src/tokens/prices.ts'
import type { TokenUsage } from '../../src/tokens/usage.ts'

const DAY = Date.UTC(2026, 10, 1)
const prices = createPriceTable()
const cardOf = (model: string, api: PricedApi = 'direct') => prices.card({ model, api, at: DAY })

const one = (mostInput: number, mostOutput: number, over: Partial<TokenForecast> = {}): TokenForecast => ({
  ...{ requests: 1, input: Math.ceil(mostInput / 2), output: Math.ceil(mostOutput / 2) },
  ...{ mostInput, mostOutput, longest: mostInput, unbounded: 0 },
  ...over,
})

/** Whole pico-USD of a token, as prices are: also of cache writes that cost more than plain input. */
const rate = fc.nat(20_000_000)
const rates = fc.record({ input: rate, cached: rate, cacheWrite: rate, output: rate })
/** One to three tiers, the dearest anywhere. */
const cards: fc.Arbitrary<RateCard> = fc
  .record({
    tiers: fc.array(rates, { minLength: 1, maxLength: 3 }),
    steps: fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 2, maxLength: 2 }),
  })
  .map(({ tiers, steps: [first = 1, second = 1] }) => {
    const starts = [-1, first, first + second]
    return tiers.map((tier, at) => ({ ...tier, above: starts[at] ?? -1 }))
  })

/** A request with ceilings, and how much of them its reply takes. */
const share = fc.double({ min: 0, max: 1, noNaN: true })
const replies = fc.record({
  mostInput: fc.nat(500_000),
  mostOutput: fc.nat(100_000),
  input: share,
  output: share,
  cached: share,
  written: share,
})
type Reply = typeof replies extends fc.Arbitrary<infer Value> ? Value : never

function usageOf(reply: Reply): TokenUsage {
  const input = Math.round(reply.mostInput * reply.input)
  const cachedInput = Math.round(input * reply.cached)
  const cacheWrite = Math.round((input - cachedInput) * reply.written)
  const output = Math.round(reply.mostOutput * reply.output)
  return { input, cachedInput, cacheWrite, output, reasoning: output }
}

const together = (list: readonly Reply[]): TokenForecast =>
  list.map(({ mostInput, mostOutput }) => one(mostInput, mostOutput)).reduce(addForecasts, noForecast)

const costOfAll = (list: readonly Reply[], card: RateCard): number =>
  list.reduce((sum, reply) => sum + (costOf(usageOf(reply), card) ?? Number.NaN), 0)

describe('the most that requests can cost', () => {
  test('is never less than what replies within the ceilings cost, at any tier and in any token class', () => {
    fc.assert(
      fc.property(fc.array(replies, { maxLength: 30 }), cards, (list, card) => {
        expect(costOfAll(list, card)).toBeLessThanOrEqual(mostNanoUsd(together(list), card) ?? -1)
      }),
      { numRuns: 2000 },
    )
  })

  test.each(['gpt-5-mini', 'gpt-6-luna', 'gpt-4o', 'o3'])('nor by the listed prices of %s', (model) => {
    for (const api of ['direct', 'batch', 'flex'] as const) {
      fc.assert(
        fc.property(fc.array(replies, { minLength: 1, maxLength: 10 }), (list) => {
          const most = mostNanoUsd(together(list), cardOf(model, api)) ?? -1
          expect(costOfAll(list, cardOf(model, api))).toBeLessThanOrEqual(most)
        }),
      )
    }
  })

  test('stays so where sums pass what a double can hold exactly', () => {
    fc.assert(
      fc.property(cards, fc.integer({ min: 1, max: 1_000_000 }), (card, requests) => {
        const usage = { input: 500_000, cachedInput: 1, cacheWrite: 1, output: 100_001, reasoning: 0 }
        const each = costOf(usage, card) ?? 0
        const forecast = {
          ...one(500_000, 100_001),
          requests,
          mostInput: 500_000 * requests,
          mostOutput: 100_001 * requests,
        }
        const most = mostNanoUsd(forecast, card) ?? -1
        expect(BigInt(each) * BigInt(requests)).toBeLessThanOrEqual(BigInt(most))
      }),
    )
  })

  test('is no more than a rounding above what the dearest reply of one request costs', () => {
    // 0.25 in and 2 out per million: 1,000 and 100 tokens are 0.00025 and 0.0002 USD.
    const most = mostNanoUsd(one(1000, 100), cardOf('gpt-5-mini')) ?? 0
    expect(most).toBeGreaterThanOrEqual(450_000)
    expect(most).toBeLessThanOrEqual(450_003)
    expect(mostNanoUsd(one(1000, 100), cardOf('gpt-5-mini', 'batch'))).toBeLessThanOrEqual(225_003)
  })

  test('takes a tier into account as soon as the longest request can reach it', () => {
    const card = [
      { above: -1, input: 1000, cached: 0, cacheWrite: 0, output: 0 },
      { above: 100, input: 9000, cached: 0, cacheWrite: 0, output: 0 },
    ]
    const [below, beyond] = [mostNanoUsd(one(100, 0), card), mostNanoUsd(one(101, 0), card)]
    expect([below, beyond]).toEqual([100 + 1 + 2, 909 + 1 + 2])
    const both = addForecasts(one(100, 0), one(101, 0))
    expect(mostNanoUsd(both, card)).toBeGreaterThanOrEqual(201 * 9)
  })

  test('counts every prompt token as the dearest there is, such as one written to a cache', () => {
    const card = [{ above: -1, input: 1000, cached: 100, cacheWrite: 1250, output: 0 }]
    expect(mostNanoUsd(one(1000, 0), card)).toBeGreaterThanOrEqual(1250)
  })

  test('of one without a ceiling, or without a price for what it can use, nobody knows', () => {
    const card = cardOf('gpt-5-mini')
    expect(mostNanoUsd(addForecasts(one(10, 10), one(10, 10, { unbounded: 1 })), card)).toBeUndefined()
    expect(mostNanoUsd(one(10, 10), cardOf('gpt-unheard-of'))).toBeUndefined()
    expect(mostNanoUsd(one(10, 10), [{ above: -1, input: 1, cached: 1, cacheWrite: 1 }])).toBeUndefined()
    expect(mostNanoUsd(one(10, 0), [{ above: -1, input: 1, cached: 1, cacheWrite: 1 }])).toBeDefined()
    expect(mostNanoUsd(one(10, 0), [{ above: -1, input: 1, cacheWrite: 1 }])).toBeUndefined()
  })

  test('is nothing where nothing has a price, so that a cap of 0 does not keep it back', () => {
    const free = createPriceTable({ inputPerMtok: 0, outputPerMtok: 0 })
    expect(mostNanoUsd(one(10, 10), free.card({ model: 'my-own', api: 'batch', at: DAY }))).toBe(0)
  })

  test('of nothing is nothing, whatever the price', () => {
    expect(mostNanoUsd(noForecast, [])).toBe(0)
    expect(mostNanoUsd(noForecast, cardOf('gpt-5-mini'))).toBe(0)
  })
})

describe('the expected cost', () => {
  test('is by the tier of an average prompt', () => {
    const card = [
      { above: -1, input: 1000, output: 0 },
      { above: 100, input: 2000, output: 0 },
    ]
    const of = (input: number, requests: number) => ({ ...noForecast, requests, input })
    expect(expectedNanoUsd(of(200, 2), card)).toBe(200)
    expect(expectedNanoUsd(of(202, 2), card)).toBe(404)
  })

  test('is 0 for nothing, and where no price is known', () => {
    expect(expectedNanoUsd(noForecast, cardOf('gpt-5-mini'))).toBe(0)
    expect(expectedNanoUsd(one(1000, 100), cardOf('gpt-unheard-of'))).toBe(0)
  })

  test('is never more than the most, and a whole number', () => {
    fc.assert(
      fc.property(fc.array(replies, { minLength: 1, maxLength: 5 }), rates, (list, tier) => {
        const card = [{ ...tier, above: -1 }]
        const forecast = together(list)
        const ceilings = { input: forecast.mostInput, output: forecast.mostOutput }
        const expected = expectedNanoUsd({ ...forecast, ...ceilings }, card)
        expect(Number.isInteger(expected)).toBe(true)
        expect(expected).toBeLessThanOrEqual(mostNanoUsd(forecast, card) ?? -1)
      }),
    )
  })
})

test('forecasts add up in any order', () => {
  fc.assert(
    fc.property(replies, replies, replies, (a, b, c) => {
      const [first, second, third] = [a, b, c].map((reply) => together([reply]))
      if (!first || !second || !third) return
      expect(addForecasts(addForecasts(first, second), third)).toEqual(
        addForecasts(first, addForecasts(third, second)),
      )
      expect(addForecasts(first, noForecast)).toEqual(first)
    }),
  )
})
