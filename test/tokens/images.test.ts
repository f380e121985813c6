import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { imageTokens, mostImageTokens } from '../../src/tokens/images.ts'

const size = (width: number, height: number) => ({ width, height })

describe('tiles', () => {
  test.each([
    // OpenAI's examples.
    ['gpt-4o', 'high', 1024, 1024, 765],
    ['gpt-4o', 'high', 2048, 4096, 1105],
    ['gpt-4o', 'low', 4096, 8192, 85],
    // Bills: 773 and 1453 tokens, 8 of them text.
    ['gpt-4.1', undefined, 1800, 2400, 765],
    ['gpt-4.1', undefined, 2049, 513, 1445],
    ['gpt-4.1', undefined, 2050, 513, 765],
    ['gpt-4o-mini', 'high', 1024, 1024, 2833 + 4 * 5667],
    ['gpt-4o-mini', 'low', 1024, 1024, 2833],
    ['gpt-4.5-preview', 'high', 512, 512, 255],
    ['gpt-4-turbo', 'high', 512, 513, 425],
    ['o1', 'high', 512, 512, 225],
    ['o3', 'low', 512, 512, 75],
    ['gpt-5', 'high', 1024, 1024, 630],
    ['gpt-5-2025-08-07', 'low', 1024, 1024, 70],
    ['gpt-5.1', 'high', 1024, 1024, 630],
    ['gpt-5-chat-latest', 'high', 1024, 1024, 630],
    ['computer-use-preview', 'high', 1024, 768, 65 + 4 * 129],
    ['ft:gpt-4o-2024-08-06:org::id', 'high', 1024, 1024, 765],
  ])('%s, %s, %d x %d costs %d', (model, detail, width, height, tokens) => {
    expect(imageTokens(model, detail, size(width, height))).toBe(tokens)
  })

  test('a small image is never enlarged, and costs the base where the detail is left open', () => {
    expect(imageTokens('gpt-4o', 'high', size(10, 10))).toBe(255)
    expect(imageTokens('gpt-4o', 'auto', size(10, 10))).toBe(85)
    expect(imageTokens('gpt-4o', undefined, size(512, 512))).toBe(85)
  })
})

describe('patches', () => {
  test.each([
    // OpenAI's example: 57 x 75 patches are brought down to 33 x 44.
    ['gpt-4.1-mini', undefined, 1800, 2400, Math.ceil(1452 * 1.62)],
    ['gpt-4.1-mini', 'high', 4000, 1474, Math.ceil(1536 * 1.62)],
    ['gpt-4.1-nano', undefined, 1024, 1024, Math.ceil(1024 * 2.46)],
    ['o4-mini', undefined, 1024, 1024, Math.ceil(1024 * 1.72)],
    // Measured.
    ['gpt-5-mini', undefined, 256, 256, 77],
    ['gpt-5-mini', undefined, 512, 512, 308],
    ['gpt-5-mini', undefined, 768, 1024, 922],
    ['gpt-5-mini', undefined, 1280, 720, 1104],
    ['gpt-5-mini', undefined, 1024, 1024, 1229],
    ['gpt-5-mini', undefined, 2048, 768, 1844],
    ['gpt-5-mini', 'low', 1024, 1024, 1229],
    ['gpt-5-nano', undefined, 1800, 1200, 2304],
    ['gpt-5.5', 'auto', 4032, 3024, 11868],
    ['gpt-6', 'auto', 1024, 1024, 1229],
    ['gpt-6', 'auto', 4032, 3024, 14364],
    ['gpt-6-luna', 'high', 4032, 3024, 2942],
    ['gpt-6', 'high', 3840, 2160, 2931],
    ['a-model-of-2031', undefined, 4032, 3024, 14364],
    // No rounding upwards for what only a float makes of it: 50 x 2.46 is 123.
    ['gpt-4.1-nano', undefined, 32 * 50, 32, 123],
  ])('%s, %s, %d x %d costs %d', (model, detail, width, height, tokens) => {
    expect(imageTokens(model, detail, size(width, height))).toBe(tokens)
  })

  test.each(['gpt-5.2', 'gpt-5.3-chat-latest', 'gpt-5.4-mini', 'gpt-5.4-nano'])(
    '%s has 1536 at most',
    (model) => {
      expect(imageTokens(model, 'high', size(4096, 1536))).toBe(1844)
      expect(mostImageTokens(model, 'high')).toBe(1844)
    },
  )
})

const models = [
  ...['gpt-4o', 'gpt-4o-mini', 'gpt-4.1', 'gpt-4.1-mini', 'gpt-4.1-nano', 'o1', 'o3', 'o4-mini', 'gpt-5'],
  ...['gpt-5-mini', 'gpt-5-nano', 'gpt-5.2', 'gpt-5.4', 'gpt-5.4-mini', 'gpt-5.6-luna', 'gpt-6', 'llava'],
]
const someModel = fc.constantFrom(...models)
const someDetail = fc.constantFrom(undefined, 'low', 'high', 'auto', 'original', 'extreme')
const somePixels = fc.oneof(fc.integer({ min: 0, max: 1100 }), fc.integer({ min: 0, max: 60_000 }))
const someSize = fc.record({ width: somePixels, height: somePixels })

describe('for any image', () => {
  test('the cost is a positive whole number that no ceiling is below', () => {
    fc.assert(
      fc.property(someModel, someDetail, someSize, (model, detail, image) => {
        const tokens = imageTokens(model, detail, image)
        expect(Number.isSafeInteger(tokens) && tokens > 0).toBe(true)
        expect(mostImageTokens(model, detail, image)).toBeGreaterThanOrEqual(tokens)
        expect(mostImageTokens(model, detail)).toBeGreaterThanOrEqual(mostImageTokens(model, detail, image))
      }),
      { numRuns: 5000 },
    )
  })

  test('the ceiling of a model nobody knows is that of any model it may be', () => {
    fc.assert(
      fc.property(someModel, someDetail, someSize, (model, detail, image) => {
        const tokens = imageTokens(model, detail, image)
        expect(mostImageTokens('my-deployment', detail, image)).toBeGreaterThanOrEqual(tokens)
      }),
      { numRuns: 5000 },
    )
  })

  test('turning it by 90 degrees changes nothing', () => {
    fc.assert(
      fc.property(someModel, someDetail, someSize, (model, detail, { width, height }) => {
        const turned = imageTokens(model, detail, size(height, width))
        expect(turned).toBe(imageTokens(model, detail, size(width, height)))
      }),
    )
  })
})
