import fc from 'fast-check'
import corpus from 'nlp-corpus'
import { describe, expect, test } from 'vitest'
import {
  type Calibration,
  estimateText,
  isSampled,
  noCalibration,
  sampleWeight,
  withSample,
} from '../../src/tokens/calibration.ts'
import { loadTokenCounter } from '../../src/tokens/counter.ts'

interface Sized {
  readonly bytes: number
  readonly tokens: number
}

const sampled = (requests: readonly Sized[]): Calibration =>
  requests.reduce<Calibration>(
    (c, { bytes, tokens }, at) => (isSampled(at) ? withSample(c, bytes, tokens, sampleWeight(at)) : c),
    noCalibration,
  )

/** How far the estimates of all requests are off in sum; 0.1 is 10 % too much. */
function errorOf(requests: readonly Sized[]): number {
  const calibration = sampled(requests)
  const estimated = requests.reduce((sum, { bytes }) => sum + estimateText(calibration, bytes), 0)
  return estimated / requests.reduce((sum, { tokens }) => sum + tokens, 0) - 1
}

describe('which requests are sampled', () => {
  const among = (requests: number): number[] => {
    const found: number[] = []
    for (let index = 0; index < requests; index++) if (isSampled(index)) found.push(index)
    return found
  }

  test.each([
    [10, 10],
    [32, 32],
    [1000, 45],
    [100_000, 118],
    [1_000_000, 225],
  ])('of %d: %d', (requests, samples) => {
    expect(among(requests)).toHaveLength(samples)
  })

  test('the distance between two grows, and none is far from the next', () => {
    const gaps = among(1_000_000).map((index, at, all) => (all[at + 1] ?? 1_000_000) - index)
    expect(Math.max(...gaps)).toBeLessThan(16_000)
    expect(gaps.slice(32, -1).every((gap, at, all) => gap >= (all[at - 1] ?? 0) - 1)).toBe(true)
  })

  test('together they stand for all requests so far', () => {
    const samples = among(200_000)
    const weight = samples.reduce((sum, index) => sum + sampleWeight(index), 0)
    expect(weight).toBe((samples.at(-1) ?? 0) + 1)
    expect(samples.every((index) => sampleWeight(index) >= 1)).toBe(true)
  })
})

describe('the estimate', () => {
  test('is 4 bytes a token without samples', () => {
    expect(estimateText(noCalibration, 400)).toBe(100)
    expect(estimateText(noCalibration, 0)).toBe(0)
  })

  test('one sample gives its ratio', () => {
    expect(estimateText(withSample(noCalibration, 1000, 300), 500)).toBe(150)
  })

  test.each([50, 150, 400])(
    'finds that every body has %d tokens in 800 bytes, and 1 in 4 bytes more',
    (base) => {
      const requests = [0, 200, 400, 800, 1000, 3000, 5000, 6000].map((bytes) => ({
        bytes: 800 + bytes,
        tokens: base + bytes / 4,
      }))
      const calibration = sampled(requests)
      for (const { bytes, tokens } of requests) expect(estimateText(calibration, bytes)).toBe(tokens)
      expect(estimateText(calibration, 100_800)).toBe(base + 25_000)
    },
  )

  test('lengths that do not differ give their ratio', () => {
    const same = Array.from({ length: 50 }, (_, at) => ({ bytes: 1000 + (at % 2), tokens: 250 + (at % 7) }))
    expect(estimateText(sampled(same), 2000)).toBeGreaterThan(490)
    expect(estimateText(sampled(same), 2000)).toBeLessThan(520)
  })

  test('a body without text teaches nothing', () => {
    expect(withSample(noCalibration, 0, 0)).toBe(noCalibration)
  })

  const sized = fc.record({
    bytes: fc.integer({ min: 1, max: 100_000 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  const requests = fc.array(
    sized.map(({ bytes, share }) => ({ bytes, tokens: Math.floor(bytes * share) })),
    { minLength: 1, maxLength: 60 },
  )

  test('is whole, not negative and at most a token a byte, whatever the samples', () => {
    fc.assert(
      fc.property(requests, fc.nat(1_000_000), (some, bytes) => {
        const tokens = estimateText(sampled(some), bytes)
        expect(Number.isSafeInteger(tokens) && tokens >= 0 && tokens <= bytes).toBe(true)
      }),
    )
  })

  test('meets the sum of the samples, but for rounding', () => {
    const sane = fc.array(
      fc.record({
        bytes: fc.integer({ min: 200, max: 100_000 }),
        noise: fc.double({ min: 0.8, max: 1.2, noNaN: true }),
      }),
      { minLength: 1, maxLength: 32 },
    )
    fc.assert(
      fc.property(sane, (some) => {
        const all = some.map(({ bytes, noise }) => ({ bytes, tokens: Math.round(20 + (bytes / 4) * noise) }))
        const total = all.reduce((sum, { tokens }) => sum + tokens, 0)
        expect(Math.abs(errorOf(all)) * total).toBeLessThanOrEqual(0.5 * all.length + 1e-6)
      }),
    )
  })
})

describe('real texts', async () => {
  const counter = await loadTokenCounter(['gpt-5-mini'])
  const schema = {
    type: 'json_schema',
    json_schema: {
      name: 'topics',
      schema: {
        type: 'object',
        properties: {
          topics: { type: 'array', items: { type: 'string' } },
          tone: { enum: ['plain', 'warm'] },
        },
        required: ['topics', 'tone'],
        additionalProperties: false,
      },
    },
  }
  const measured = (content: string): Sized => {
    const messages = [
      { role: 'system', content: 'Name the topics of the text.' },
      { role: 'user', content },
    ]
    const body = { model: 'gpt-5-mini', messages, response_format: schema }
    const { total, images } = counter.count({ endpoint: '/v1/chat/completions', model: 'gpt-5-mini', body })
    return { bytes: Buffer.byteLength(JSON.stringify(body)), tokens: total - images }
  }

  const sentences = corpus.some(3000)
  const short = sentences.map(measured)
  /** Texts of 1 to 40 sentences. */
  const mixed = sentences.map((_, at) => measured(sentences.slice(at, at + 1 + ((at * 7) % 40)).join(' ')))
  const rising = mixed.toSorted((a, b) => a.bytes - b.bytes)
  const japanese = sentences
    .slice(0, 1500)
    .map((_, at) => measured('吾輩は猫である。名前はまだ無い。'.repeat(1 + (at % 9))))

  test.each([
    ['sentences', short, 0.02],
    ['texts of all lengths', mixed, 0.02],
    ['texts in order of their length', rising, 0.03],
    ['the longest first', rising.toReversed(), 0.03],
    ['English, then Japanese', [...short.slice(0, 1500), ...japanese], 0.1],
  ])('%s with one schema in each: the sum is met', (_, texts, most) => {
    expect(Math.abs(errorOf(texts))).toBeLessThan(most)
  })
})
