import { describe, expect, test } from 'vitest'
import { pilotQuestion, pilotText } from '../../src/cli/pilot-text.ts'
import type { PilotReport } from '../../src/requester/pilot-report.ts'
import { tooWide } from '../support/command.ts'

const range = (value: number) => ({ value, low: value * 0.8, high: value * 1.2 })

const report = (over: Partial<PilotReport['rest']> = {}): PilotReport => ({
  asked: 20,
  accepted: 20,
  passRate: { value: 1, low: 0.839, high: 1 },
  mean: { inputTokens: 122.2, outputTokens: 11.5, cost: 0.0000107 },
  spent: 0.00021,
  rest: {
    requests: 29_980,
    way: 'both',
    isMeasured: true,
    planned: range(0.1612),
    batch: range(0.1612),
    direct: range(0.3224),
    ...over,
  },
  maxSpend: { cap: 0.5, left: 0.4998 },
})

describe('a pilot for people', () => {
  test.each([80, 60, 40])('fits into %i columns', (columns) => {
    expect(tooWide(pilotText(report(), columns), columns)).toEqual([])
  })

  test.each([80, 40])('asks in lines of at most %i columns, the answer included', (columns) => {
    const question = pilotQuestion(report(), columns)
    expect(question.endsWith('? [y/N] ')).toBe(true)
    expect(tooWide(question.split('\n'), columns - 1)).toEqual([])
    expect(question.replaceAll(/\s+/g, ' ')).toBe(
      'Go on with the other 29,980 requests for about $0.1612 ($0.1290 to $0.1934) by batch and direct calls? [y/N] ',
    )
  })

  test('that taught nothing of the cost gives no range, and says so', () => {
    const certain = { value: 1, low: 1, high: 1 }
    const text = pilotText(
      report({ isMeasured: false, planned: certain, batch: certain, direct: certain }),
      80,
    )
    expect(text.join('\n')).toContain('Estimated beforehand')
    expect(text.join('\n')).not.toContain('95 of 100')
  })
})
