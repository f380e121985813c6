import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ROUTES } from '../../../src/gateway/domain/request.ts'
import { createValuer } from '../../../src/gateway/engine/money/valuer.ts'

const MODEL = 'gpt-5-mini'
const AT = Date.UTC(2026, 0, 1)
const usage = { input: 1000, cachedInput: 200, cacheWrite: 0, output: 500, reasoning: 100 }
const forecast = {
  requests: 1,
  input: 900,
  output: 400,
  mostInput: 1000,
  mostOutput: 500,
  longest: 1000,
  unbounded: 0,
}

describe('what an answer costs', () => {
  test('is half by batch and by flex of what it is directly', () => {
    const valuer = createValuer()
    const [batch, flex, direct] = ROUTES.map((route) => valuer.costNanoUsd(MODEL, route, usage, AT))
    expect(direct).toBeGreaterThan(0)
    expect([batch, flex]).toEqual([(direct ?? 0) / 2, (direct ?? 0) / 2])
    expect(valuer.directNanoUsd(MODEL, usage, AT)).toBe(direct)
  })

  test('is not made up for a model without a known price', () => {
    const valuer = createValuer()
    for (const route of ROUTES) {
      expect(valuer.costNanoUsd('nobody-knows', route, usage, AT)).toBeUndefined()
      expect(valuer.mostNanoUsd('nobody-knows', route, forecast, AT)).toBeUndefined()
    }
  })

  test('is by the prices that are given, where some are', () => {
    const valuer = createValuer({ inputPerMtok: 2, cachedPerMtok: 1, outputPerMtok: 10 })
    expect(valuer.costNanoUsd('my-own', 'direct', usage, AT)).toBe(800 * 2000 + 200 * 1000 + 500 * 10_000)
  })
})

describe('the most that a request can cost', () => {
  test('is no less by flex than directly: nobody has to answer at the tier that was asked for', () => {
    const valuer = createValuer()
    const [batch = 0, flex, direct = 0] = ROUTES.map((route) =>
      valuer.mostNanoUsd(MODEL, route, forecast, AT),
    )
    expect(flex).toBe(direct)
    expect(batch).toBeLessThan(direct)
  })

  test('cannot be told without a maximum of output tokens', () => {
    expect(createValuer().mostNanoUsd(MODEL, 'batch', { ...forecast, unbounded: 1 }, AT)).toBeUndefined()
  })

  test('is never passed by an answer within its tokens, on any route and whatever tier it is answered at', () => {
    const valuer = createValuer()
    const tokens = fc.nat({ max: 300_000 })
    const holds = (model: string, input: number, output: number, cached: number, days: number) => {
      const most = { ...forecast, mostInput: input, longest: input, mostOutput: output }
      const used = { input, output, cachedInput: Math.min(input, cached), cacheWrite: 0, reasoning: 0 }
      const later = AT + days * 86_400_000
      for (const [asked, served] of [
        ['batch', 'batch'],
        ['flex', 'flex'],
        ['flex', 'direct'],
        ['direct', 'direct'],
      ] as const) {
        const bound = valuer.mostNanoUsd(model, asked, most, AT) ?? 0
        expect(valuer.costNanoUsd(model, served, used, later)).toBeLessThanOrEqual(bound)
      }
    }
    const models = fc.constantFrom('gpt-5-mini', 'gpt-4o', 'gpt-5', 'gpt-4.1-nano')
    fc.assert(fc.property(models, tokens, tokens, tokens, fc.constantFrom(0, 1, 2), holds), { numRuns: 300 })
  })
})
