import { describe, expect, test } from 'vitest'
import type { ProgressEvent } from '../../src/progress/events.ts'
import type { Countable } from '../../src/requester/valuer.ts'
import { plainValuer } from '../support/valuation.ts'

const asking = (model: string, content: string): Countable => ({
  key: 'k',
  endpoint: '/v1/chat/completions',
  model,
  bodyText: JSON.stringify({ model, max_completion_tokens: 5, messages: [{ role: 'user', content }] }),
})

/** gpt-4 was made with an encoding that needs three times as many tokens for it as that of newer models. */
const HINDI = 'नमस्ते दुनिया, यह एक परीक्षण है। '.repeat(200)
const old = asking('gpt-4', HINDI)

describe('an exact count', () => {
  test('is never made by the encoding of another model: a ceiling would rest on it', async () => {
    const valuer = plainValuer()
    await valuer.load('gpt-5-mini')
    expect(valuer.counted(old)).toBeUndefined()
    const guessed = valuer.forecast(old, { exact: true })
    await valuer.load('gpt-4')
    const counted = valuer.forecast(old, { exact: true })
    expect(counted.mostInput).toBeGreaterThan(3 * 2009)
    expect(guessed.mostInput).toBeGreaterThanOrEqual(counted.mostInput)
  })

  test('of one model stays when another is loaded', async () => {
    const valuer = plainValuer()
    await Promise.all([valuer.load('gpt-4'), valuer.load('gpt-5-mini'), valuer.load('gpt-4-0613')])
    const before = valuer.counted(old)
    await valuer.load('o3')
    expect(valuer.counted(old)).toEqual(before)
    expect(before?.assumptions).toEqual([])
  })
})

describe('a sample', () => {
  const text = (words: number) => asking('gpt-5-mini', 'never again '.repeat(words))

  test('teaches what the text of its endpoint and model has, and of no other', async () => {
    const valuer = plainValuer()
    const [unknowing, other] = [valuer.forecast(text(100)).input, asking('o3', 'never again '.repeat(100))]
    const before = valuer.forecast(other).input
    await valuer.sample([text(50), text(100), text(200)])
    const { total } = valuer.counted(text(100)) ?? { total: 0 }
    expect(Math.abs(unknowing - total)).toBeGreaterThan(0.2 * total)
    expect(Math.abs(valuer.forecast(text(100)).input - total)).toBeLessThan(0.05 * total)
    expect(valuer.forecast(other).input).toBe(before)
  })

  test.each([
    ['never', 0],
    ['once', 1],
    ['always', 3],
  ] as const)('says what it assumes: %s', async (tokenEstimatorWarn, times) => {
    const events: ProgressEvent[] = []
    const valuer = plainValuer({ tokenEstimatorWarn, emit: (event) => events.push(event) })
    await valuer.sample([1, 2, 3].map((words) => asking('my-own', 'word '.repeat(words))))
    expect(events).toEqual(
      Array.from({ length: times }, () => ({
        kind: 'warning',
        code: 'estimate',
        message: 'token estimates: model my-own is unknown: counted as gpt-6',
      })),
    )
  })
})
