import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type CostQuery,
  costOf,
  createPriceTable,
  type PriceOverrides,
  type RateCard,
  tierFor,
} from '../../src/tokens/prices.ts'
import { addUsage, type TokenUsage, zeroUsage } from '../../src/tokens/usage.ts'

const DAY = Date.UTC(2026, 10, 1)
const usage = (parts: Partial<TokenUsage>): TokenUsage => ({ ...zeroUsage, ...parts })
const costNanoUsd = (
  some: TokenUsage,
  { overrides, ...query }: CostQuery & { readonly overrides?: PriceOverrides },
) => costOf(some, createPriceTable(overrides).card(query))
const listed = (model: string, parts: Partial<TokenUsage>, at = DAY) =>
  costNanoUsd(usage(parts), { model, api: 'direct', at })

describe('the table', () => {
  test('charges every class at its own price: gpt-5-mini is 0.25 in, 0.025 cached, 2 out per million', () => {
    expect(listed('gpt-5-mini', { input: 1000 })).toBe(250_000)
    expect(listed('gpt-5-mini', { input: 1000, cachedInput: 1000 })).toBe(25_000)
    expect(listed('gpt-5-mini', { output: 1000, reasoning: 900 })).toBe(2_000_000)
    expect(listed('gpt-5-mini', { input: 1000, cachedInput: 400, output: 10 })).toBe(
      150_000 + 10_000 + 20_000,
    )
  })

  test.each(['batch', 'flex'] as const)('%s costs half', (api) => {
    const some = usage({ input: 1000, cachedInput: 400, output: 10 })
    expect(costNanoUsd(some, { model: 'gpt-5-mini', api, at: DAY })).toBe(90_000)
  })

  test('each class is rounded half up by itself: one cached token in a batch is 12.5 nano-USD', () => {
    const cached = usage({ input: 1, cachedInput: 1 })
    expect(costNanoUsd(cached, { model: 'gpt-5-mini', api: 'batch', at: DAY })).toBe(13)
  })

  test('knows cache writes', () => {
    expect(listed('gpt-6-luna', { input: 1000, cacheWrite: 1000 })).toBe(125_000)
  })

  test('a long prompt raises the price of all of the request', () => {
    expect(listed('gpt-6-luna', { input: 272_000, output: 100 })).toBe(272_000 * 100 + 100 * 500)
    expect(listed('gpt-6-luna', { input: 272_001, cachedInput: 1, output: 100 })).toBe(
      272_000 * 200 + 20 + 100 * 750,
    )
  })

  test('is dated: gpt-5.6-luna fell to a fifth on 2026-07-30', () => {
    expect(listed('gpt-5.6-luna', { input: 1000 }, Date.UTC(2026, 6, 30) - 1)).toBe(1_000_000)
    expect(listed('gpt-5.6-luna', { input: 1000 }, Date.UTC(2026, 6, 30))).toBe(200_000)
    const query = { model: 'gpt-5.6-luna', api: 'direct', at: new Date('2026-07-30T12:00:00Z') } as const
    expect(costNanoUsd(usage({ input: 1000 }), query)).toBe(200_000)
  })

  test('names: snapshots, unknown snapshots of known models, fine-tuned models', () => {
    expect(listed('gpt-5-mini-2025-08-07', { input: 1000 })).toBe(250_000)
    expect(listed('gpt-5-mini-2031-01-01', { input: 1000 })).toBe(250_000)
    expect(listed('ft:gpt-4o-mini-2024-07-18:org::id', { input: 1000 })).toBe(300_000)
  })

  test.each(['llama-9', 'ft:gpt-5-mini-2025-08-07:org::id', ''])('does not guess: %j', (model) => {
    expect(listed(model, { input: 1 })).toBeUndefined()
    expect(listed(model, {})).toBe(0)
  })

  test('an embedding model has no price for output, and needs none', () => {
    expect(listed('text-embedding-3-small', { input: 1000 })).toBe(20_000)
    expect(listed('text-embedding-3-small', { output: 1 })).toBeUndefined()
  })
})

describe('overrides', () => {
  test('price an unknown model; cached input defaults to input, batch to half', () => {
    const table = createPriceTable({ inputPerMtok: 3, outputPerMtok: 9 })
    const some = usage({ input: 10, cachedInput: 4, output: 2 })
    expect(costOf(some, table.card({ model: 'llama-9', api: 'direct', at: DAY }))).toBe(30_000 + 18_000)
    expect(costOf(some, table.card({ model: 'llama-9', api: 'batch', at: DAY }))).toBe(15_000 + 9_000)
  })

  test('replace single prices, the batch ones apart', () => {
    const overrides = { outputPerMtok: 4, batchOutputPerMtok: 1 }
    const some = usage({ input: 10, output: 10 })
    const query = { model: 'gpt-5-mini', at: DAY, overrides }
    expect(costNanoUsd(some, { ...query, api: 'direct' })).toBe(2_500 + 40_000)
    expect(costNanoUsd(some, { ...query, api: 'flex' })).toBe(1_250 + 10_000)
  })

  test('are undefined where a class with tokens has none', () => {
    const query = { model: 'llama-9', api: 'direct', at: DAY, overrides: { inputPerMtok: 1 } } as const
    expect(costNanoUsd(usage({ input: 1 }), query)).toBe(1_000)
    expect(costNanoUsd(usage({ input: 1, output: 1 }), query)).toBeUndefined()
  })

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('refuse %d', (price) => {
    expect(() => createPriceTable({ inputPerMtok: price })).toThrow(/inputPerMtok/)
  })
})

describe('a card', () => {
  const table = createPriceTable()
  const apis = ['direct', 'batch', 'flex'] as const

  test('has its tiers by rising prompt length, the first for every prompt', () => {
    const card = table.card({ model: 'gpt-6-luna', api: 'direct', at: DAY })
    expect(card.map(({ above }) => above)).toEqual([-1, 272_000])
    expect(card[0]).toMatchObject({ input: 100_000, cached: 10_000, cacheWrite: 125_000, output: 500_000 })
    expect([0, 272_000, 272_001].map((tokens) => tierFor(card, tokens)?.above)).toEqual([-1, -1, 272_000])
  })

  test('of a model nobody knows has no rates, and prices nothing but nothing', () => {
    const card = table.card({ model: 'llama-9', api: 'direct', at: DAY })
    expect(
      card.flatMap(({ input, cached, cacheWrite, output }) => [input, cached, cacheWrite, output]),
    ).toEqual(Array(4).fill(undefined))
    expect(costOf(usage({ input: 1 }), card)).toBeUndefined()
    expect(costOf(zeroUsage, card)).toBe(0)
    expect(tierFor([], 5)).toBeUndefined()
  })

  test('kept, and read back as JSON, prices every answer as the table does', () => {
    const usages = fc
      .tuple(fc.nat(600_000), fc.nat(100), fc.nat(100), fc.nat(200_000))
      .map(([input, cached, written, output]) => {
        const cachedInput = Math.floor((input * cached) / 100)
        const cacheWrite = Math.floor(((input - cachedInput) * written) / 100)
        return usage({ input, cachedInput, cacheWrite, output })
      })
    const models = fc.constantFrom('gpt-5-mini', 'gpt-6-luna', 'gpt-4o', 'text-embedding-3-small', 'llama-9')
    fc.assert(
      fc.property(usages, models, fc.constantFrom(...apis), (some, model, api) => {
        const query = { model, api, at: DAY }
        const kept: RateCard = JSON.parse(JSON.stringify(table.card(query)))
        expect(costOf(some, kept)).toBe(costOf(some, table.card(query)))
      }),
    )
  })
})

test('costs are whole, and at listed prices that are whole per token they add up exactly', () => {
  const table = createPriceTable()
  const query = { model: 'gpt-5-mini', api: 'direct', at: DAY } as const
  const cost = (some: TokenUsage) => costOf(some, table.card(query)) ?? Number.NaN
  const usages = fc
    .tuple(fc.nat(200_000), fc.nat(100), fc.nat(200_000))
    .map(([input, percent, output]) =>
      usage({ input, cachedInput: Math.floor((input * percent) / 100), output }),
    )
  fc.assert(
    fc.property(usages, usages, (a, b) => {
      expect(Number.isInteger(cost(a))).toBe(true)
      expect(cost(addUsage(a, b))).toBe(cost(a) + cost(b))
    }),
  )
})

test('a lookup that was made before takes less than two microseconds', () => {
  const table = createPriceTable()
  const some = usage({ input: 100, cachedInput: 10, output: 50 })
  const query = { model: 'gpt-5-mini', api: 'batch', at: DAY } as const
  const rounds = 20_000
  for (let round = 0; round < rounds; round++) costOf(some, table.card(query))
  const start = process.cpuUsage()
  for (let round = 0; round < rounds; round++) costOf(some, table.card(query))
  const { user, system } = process.cpuUsage(start)
  expect((user + system) / rounds).toBeLessThan(2)
})
