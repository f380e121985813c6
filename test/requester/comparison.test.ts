import { describe, expect, test } from 'vitest'
import type { FileIn } from '../../src/batch/queue-file.ts'
import type { StepOf } from '../../src/batch/steps.ts'
import { estimateComplaints, expectedOf, usageComplaints } from '../../src/requester/comparison.ts'
import { type TokenUsage, zeroUsage } from '../../src/tokens/usage.ts'
import { tokensOf } from '../support/valuation.ts'

const ended = (over: Partial<FileIn<'ended'>> = {}): FileIn<'ended'> => ({
  ...{ id: 1, endpoint: '/v1/chat/completions', model: 'm', requests: 10, bytes: 100, live: 10, passed: 0 },
  ...{ tag: 't', inputFileId: 'f', batchId: 'b', status: 'completed', faults: [] },
  ...over,
  phase: 'ended',
})
const usage: TokenUsage = { input: 1000, cachedInput: 400, cacheWrite: 0, output: 300, reasoning: 20 }

describe("the server's count of a batch", () => {
  test('is believed when it is the sum of the answers, or when there is none', () => {
    expect(usageComplaints(ended({ usage }), usage)).toEqual([])
    expect(usageComplaints(ended(), usage)).toEqual([])
  })

  test.each([
    ['input', '1,001 prompt tokens against 1,000'],
    ['cachedInput', '401 cached prompt tokens against 400'],
    ['output', '301 output tokens against 300'],
    ['reasoning', '21 reasoning tokens against 20'],
  ] as const)('that differs in %s is told with both figures', (name, told) => {
    const [complaint, ...others] = usageComplaints(
      ended({ usage: { ...usage, [name]: usage[name] + 1 } }),
      usage,
    )
    expect(others).toEqual([])
    expect(complaint?.code).toBe('usage_differs')
    expect(complaint?.message).toContain(told)
    expect(complaint?.message).not.toContain(',,')
  })

  test('names every difference in one complaint', () => {
    const all = usageComplaints(ended({ usage: zeroUsage }), usage)
    expect(all).toHaveLength(1)
    expect(all[0]?.message.match(/ against /g)).toHaveLength(4)
  })
})

describe('what was expected of a batch', () => {
  const file = ended({ tokens: tokensOf(1000, { output: 500 }), expectedNanoUsd: 7000 })

  test('is that of the part that was answered', () => {
    expect(expectedOf(file, 10)).toEqual({ input: 1000, output: 500, costNanoUsd: 7000 })
    expect(expectedOf(file, 4)).toEqual({ input: 400, output: 200, costNanoUsd: 2800 })
    expect(expectedOf(file, 0)).toEqual({ input: 0, output: 0, costNanoUsd: 0 })
  })

  test('is not more for more answers than requests, and nothing where nothing was estimated', () => {
    expect(expectedOf(file, 11)).toEqual(expectedOf(file, 10))
    expect(expectedOf(ended(), 10)).toEqual({ input: 0, output: 0, costNanoUsd: 0 })
  })
})

describe('an estimate', () => {
  const factors = { warnPredictedInputFactor: 1.5, warnAssumedCompletionFactor: 2 }
  const received = (expected: { input: number; output: number }, said: Partial<TokenUsage>) =>
    ({
      ...{ kind: 'received', file: 1, usage: { ...zeroUsage, ...said } },
      expected: { ...expected, costNanoUsd: 0 },
    }) satisfies StepOf<'received'>
  const codes = (expected: { input: number; output: number }, said: Partial<TokenUsage>) =>
    estimateComplaints(received(expected, said), factors).map(({ code }) => code)

  test('is complained of when it is off by more than its factor, either way', () => {
    const fine = { input: 10_000, output: 10_000 }
    expect(codes(fine, { input: 15_000, output: 20_000 })).toEqual([])
    expect(codes(fine, { input: 15_001, output: 20_000 })).toEqual(['input_estimate'])
    expect(codes(fine, { input: 15_000, output: 20_001 })).toEqual(['output_estimate'])
    expect(codes(fine, { input: 6_666, output: 4_999 })).toEqual(['input_estimate', 'output_estimate'])
    expect(codes(fine, { input: 6_667, output: 5_000 })).toEqual([])
  })

  test('is told with both figures and, for output, the option it comes from', () => {
    const said = estimateComplaints(
      received({ input: 1000, output: 1000 }, { input: 5000, output: 9000 }),
      factors,
    )
    expect(said.map(({ message }) => message)).toEqual([
      '5,000 prompt tokens, where 1,000 were estimated',
      '9,000 output tokens, where 1,000 were assumed (--assumed-completion-ratio)',
    ])
  })

  test('of output is none where a request names no maximum, for what is assumed of it', () => {
    const step = received({ input: 1000, output: 20_480 }, { input: 5000, output: 90_000 })
    const complained = (unbounded: number) =>
      estimateComplaints(step, factors, tokensOf(1000, { requests: 20, unbounded })).map(({ code }) => code)
    expect(complained(0)).toEqual(['input_estimate', 'output_estimate'])
    expect(complained(1)).toEqual(['input_estimate'])
  })

  test('of a few tokens, of nothing, or that was never made, tells nothing', () => {
    expect(codes({ input: 999, output: 10 }, { input: 10, output: 999 })).toEqual([])
    expect(codes({ input: 0, output: 0 }, { input: 90_000, output: 90_000 })).toEqual([])
    expect(codes({ input: 90_000, output: 90_000 }, {})).toEqual([])
    expect(estimateComplaints({ kind: 'received', file: 1, usage }, factors)).toEqual([])
  })
})
