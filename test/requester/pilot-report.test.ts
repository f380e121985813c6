import { describe, expect, test } from 'vitest'
import { initialState } from '../../src/batch/task-state.ts'
import { type PilotReport, pilotReport } from '../../src/requester/pilot-report.ts'
import { restAfter } from '../../src/requester/pilot-rest.ts'
import type { PilotSample, SampledRequest } from '../../src/requester/pilot-sample.ts'
import type { QuotedModel, QuotedPrice } from '../../src/requester/quote.ts'
import { createPriceTable } from '../../src/tokens/prices.ts'
import { zeroUsage } from '../../src/tokens/usage.ts'

const MODEL = 'gpt-5-nano'
const table = createPriceTable({})

const price = (total: number): QuotedPrice => ({ input: total / 2, output: total / 2, total })

interface Part {
  readonly model: string
  readonly requests: number
  readonly batchRequests: number
  /** In USD, by direct calls; half by batch. */
  readonly direct: number
}

const quoted = ({ model, requests, batchRequests, direct }: Part): QuotedModel => ({
  endpoint: '/v1/chat/completions',
  model,
  requests,
  batches: batchRequests > 0 ? 2 : 0,
  batchRequests,
  directRequests: requests - batchRequests,
  bytes: 0,
  inputTokens: 0,
  countedShare: 0,
  estimate: { inputTokens: 0, inputCost: 0 },
  outputTokens: 0,
  mostOutputTokens: 0,
  cost: { direct: price(direct), batch: price(direct / 2), planned: price(direct), most: direct },
})

const reportOn = (sample: PilotSample, whole: readonly Part[]): PilotReport =>
  pilotReport({
    state: initialState,
    sample,
    rest: restAfter(whole.map(quoted), [], 100),
    card: (model, api) => table.card({ model, api, at: Date.UTC(2026, 10, 1) }),
    maxSpendNanoUsd: undefined,
  })

const sampled = (replies: number): SampledRequest => ({
  model: MODEL,
  expectedInput: 100,
  replies: Array.from({ length: replies }, () => ({
    usage: { ...zeroUsage, input: 100, output: 50 },
    costNanoUsd: 25_000,
  })),
})

const nano: Part = { model: MODEL, requests: 1000, batchRequests: 1000, direct: 2 }

describe('what a pilot says of the rest', () => {
  test('is the plan, weighed by what each way costs and not by how many go that way', () => {
    const dear: Part = { model: 'gpt-5', requests: 10, batchRequests: 0, direct: 200 }
    const { rest } = reportOn([], [nano, dear])
    expect(rest).toMatchObject({ requests: 1010, way: 'both' })
    expect(rest.batch.value).toBeCloseTo(101, 9)
    expect(rest.direct.value).toBeCloseTo(202, 9)
    expect(rest.planned.value).toBeCloseTo(1 + 200, 9)
  })

  test.each([
    ['all by batch', 1000, 1],
    ['all directly', 0, 2],
    ['some each way', 500, 1.5],
  ])('is the plan: %s', (_, batchRequests, planned) => {
    expect(reportOn([], [{ ...nano, batchRequests }]).rest.planned.value).toBeCloseTo(planned, 9)
  })

  test('of what costs nothing is nothing', () => {
    const { rest } = reportOn([], [{ ...nano, batchRequests: 500, direct: 0 }])
    expect(rest.planned).toEqual({ value: 0, low: 0, high: 0 })
  })

  test('is measured when two requests or more were answered', () => {
    const { rest } = reportOn([sampled(1), sampled(1), sampled(0)], [nano])
    expect(rest.isMeasured).toBe(true)
    expect(rest.planned.low).toBeLessThan(rest.planned.high)
  })

  test.each([
    ['none', [sampled(0), sampled(0), sampled(0)]],
    ['one', [sampled(1), sampled(0)]],
  ])('is as estimated beforehand, and says so, when %s was answered', (_, sample) => {
    const { rest } = reportOn(sample, [nano])
    expect(rest.isMeasured).toBe(false)
    expect(rest.planned).toEqual({ value: 1, low: 1, high: 1 })
  })
})
