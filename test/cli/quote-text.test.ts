import { describe, expect, test } from 'vitest'
import { quoteText } from '../../src/cli/quote-text.ts'
import type { Quote, QuotedModel, QuotedPrice } from '../../src/requester/quote.ts'
import { tooWide } from '../support/command.ts'

const price = (total: number): QuotedPrice => ({ input: total / 4, output: (3 * total) / 4, total })

const model = (over: Partial<QuotedModel> = {}): QuotedModel => ({
  endpoint: '/v1/chat/completions',
  model: 'gpt-4o-mini-2024-07-18',
  requests: 1,
  batches: 0,
  batchRequests: 0,
  directRequests: 1,
  bytes: 100,
  inputTokens: 100,
  countedShare: 1,
  estimate: { inputTokens: 100, inputCost: 0.1 },
  outputTokens: 50,
  mostOutputTokens: 100,
  cost: { direct: price(2), batch: price(1), planned: price(2), most: 3 },
  ...over,
})

const quote = (one: QuotedModel, over: Partial<Quote> = {}): Quote => ({
  ...one,
  models: [one],
  pending: 0,
  caps: [],
  assumptions: [],
  ...over,
})

describe('a quote for people', () => {
  test('counts one as one', () => {
    const text = quoteText(quote(model()), 80).join('\n')
    expect(text).toContain('the 1 request may be sent')
    expect(quoteText(quote(model({ requests: 3 })), 80).join('\n')).toContain('all 3 requests may be sent')
  })

  test('of ten million requests keeps its columns apart and below each other', () => {
    const large = model({
      requests: 10_000_000,
      batches: 200,
      directRequests: 9_999_999,
      inputTokens: 12_345_678_901,
      outputTokens: 5_000_000_000,
      cost: { direct: price(2_345_678), batch: price(1_172_839), planned: price(1_172_839), most: 3e6 },
    })
    const lines = quoteText(quote(large), 80)
    expect(tooWide(lines, 80)).toEqual([])
    const table = lines.filter((line) => line.startsWith('  gpt') || line.includes('tokens in'))
    expect(table).toEqual([
      '                           requests    batches   directly  tokens in tokens out',
      '  gpt-4o-mini-2024-07-18 10,000,000        200  9,999,999   12,346 M    5,000 M',
    ])
    const money = lines.filter((line) => line.includes('prompts') || line.startsWith('  all directly'))
    expect(new Set(money.map(({ length }) => length)).size).toBe(1)
    expect(money.at(-1)).toMatch(/ \$586,419\.50 +\$1,759,258\.50 +\$2,345,678\.00$/)
  })

  test('puts each assumption below its own mark', () => {
    const assumptions = ['first '.repeat(20).trim(), 'second']
    const lines = quoteText(quote(model(), { assumptions }), 80)
    const from = lines.findIndex((line) => line.startsWith('  assumed'))
    expect(lines.slice(from)).toEqual([
      `  assumed     - ${'first '.repeat(10).trim()}`,
      `                ${'first '.repeat(10).trim()}`,
      '              - second',
    ])
  })
})
