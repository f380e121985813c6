import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { LineOutcome } from '../../src/batch/line-outcome.ts'
import { type AnswerCost, answerCost, ReplyTotals } from '../../src/requester/reply-totals.ts'
import { createPriceTable } from '../../src/tokens/prices.ts'
import { addUsage, type TokenUsage, zeroUsage } from '../../src/tokens/usage.ts'

const DAY = Date.UTC(2026, 10, 1)
const prices = createPriceTable()
const cards = {
  card: prices.card({ model: 'gpt-5-mini', api: 'batch', at: DAY }),
  list: prices.card({ model: 'gpt-5-mini', api: 'direct', at: DAY }),
}
const unpriced = prices.card({ model: 'gpt-unheard-of', api: 'batch', at: DAY })
const unknown = { card: unpriced, list: unpriced }

const usage: TokenUsage = { ...zeroUsage, input: 1000, cachedInput: 400, output: 10 }
type Outcome = Pick<LineOutcome, 'kind' | 'usage' | 'charge'>
const reply = (over: Partial<Outcome> = {}): Outcome => ({ kind: 'reply', ...over })
const failed = (over: Partial<Outcome> = {}): Outcome => ({ kind: 'failure', ...over })

describe('an answer', () => {
  test('costs what its tokens cost as they were sent, and is compared with a direct call', () => {
    // 600 plain, 400 cached, 10 out at 0.25, 0.025 and 2 USD per million; half of it in a batch.
    const expected = { usage, costNanoUsd: 90_000, listNanoUsd: 180_000, isUnmetered: false }
    expect(answerCost(reply({ usage }), cards)).toEqual(expected)
    expect(answerCost(failed({ usage }), cards)).toEqual(expected)
  })

  test('without usage costs the most its request can, and is marked', () => {
    const most = (card: unknown) => (card === cards.card ? 77 : 154)
    expect(answerCost(reply(), cards, most)).toEqual({
      ...{ usage: zeroUsage, costNanoUsd: 77, listNanoUsd: 154, isUnmetered: true },
    })
    expect(answerCost(reply(), cards)).toMatchObject({ costNanoUsd: undefined, isUnmetered: true })
  })

  test('that is a failure without usage costs nothing', () => {
    const never = (): number => {
      throw new Error('a failure has no worst case')
    }
    expect(answerCost(failed(), cards, never)).toEqual({
      ...{ usage: zeroUsage, costNanoUsd: 0, listNanoUsd: 0, isUnmetered: false },
    })
  })

  test('keeps what it was charged when it came, whatever it would be now', () => {
    const charge = { costNanoUsd: 5, tier: 'flex' } as const
    expect(answerCost(reply({ usage, charge }), cards)).toMatchObject({
      costNanoUsd: 5,
      listNanoUsd: 180_000,
    })
    expect(answerCost(reply({ charge }), cards, () => 99)).toMatchObject({
      costNanoUsd: 5,
      isUnmetered: true,
    })
    const unsettled = { costNanoUsd: undefined }
    expect(answerCost(reply({ usage, charge: unsettled }), cards).costNanoUsd).toBeUndefined()
  })

  test('of a model without a known price has an unknown cost, unless it used nothing', () => {
    expect(answerCost(reply({ usage }), unknown)).toMatchObject({ costNanoUsd: undefined, listNanoUsd: 0 })
    expect(answerCost(reply({ usage: zeroUsage }), unknown).costNanoUsd).toBe(0)
  })
})

const usages: fc.Arbitrary<TokenUsage> = fc.record({
  input: fc.nat(100_000),
  cachedInput: fc.nat(1000),
  cacheWrite: fc.nat(1000),
  output: fc.nat(100_000),
  reasoning: fc.nat(1000),
})
const costs: fc.Arbitrary<AnswerCost> = fc.record({
  usage: usages,
  costNanoUsd: fc.option(fc.nat(1e9), { nil: undefined }),
  listNanoUsd: fc.nat(1e9),
  isUnmetered: fc.boolean(),
})
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)

describe('totals', () => {
  test('are the sums of their parts, to the last nano-USD', () => {
    fc.assert(
      fc.property(fc.array(costs), (list) => {
        const totals = new ReplyTotals()
        for (const cost of list) totals.add(cost)
        const unpriced = list.filter(({ costNanoUsd }) => costNanoUsd === undefined).length
        const unmetered = list.filter(({ isUnmetered }) => isUnmetered).length
        expect(totals.columns).toEqual({
          usage: list.map((cost) => cost.usage).reduce(addUsage, zeroUsage),
          costNanoUsd: sum(list.map(({ costNanoUsd }) => costNanoUsd ?? 0)),
          listNanoUsd: sum(list.map(({ listNanoUsd }) => listNanoUsd)),
          ...(unpriced > 0 && { unpriced }),
          ...(unmetered > 0 && { unmetered }),
        })
      }),
    )
  })

  test('of answers one by one are those of all together', () => {
    fc.assert(
      fc.property(fc.array(usages, { maxLength: 20 }), (list) => {
        const totals = new ReplyTotals()
        let cost = 0
        for (const one of list) {
          const each = answerCost(reply({ usage: one }), cards)
          cost += each.costNanoUsd ?? Number.NaN
          totals.add(each)
        }
        expect(totals.columns.costNanoUsd).toBe(cost)
      }),
    )
  })
})
