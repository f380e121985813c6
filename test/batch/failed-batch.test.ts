import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { mayFinalise, planFailedBatch } from '../../src/batch/failed-batch.ts'
import type { BatchFault } from '../../src/batch/steps.ts'

const full: BatchFault = { code: 'token_limit_exceeded', message: 'Enqueued token limit reached' }
const badModel: BatchFault = { code: 'model_not_found', message: 'The model does not exist' }
const badLine = (line: number): BatchFault => ({ code: 'invalid_request', message: 'bad', line })

const sizes = fc.integer({ min: 1, max: 12 })
const faults = fc.array(
  fc.oneof(fc.constant(full), fc.constant(badModel), fc.integer({ min: -1, max: 14 }).map(badLine)),
  { maxLength: 14 },
)

describe('a failed batch', () => {
  test('that found the account full waits, however many faults say so', () => {
    const enqueued = { code: 'unknown', message: 'Enqueued token limit reached for gpt-5 in organization x' }
    for (const list of [[full], [full, enqueued], [enqueued]])
      expect(planFailedBatch({ faults: list, requests: 3, mayFinalise: true })).toEqual({ kind: 'wait' })
  })

  test.each(['insufficient_quota', 'billing_hard_limit_reached'])('for lack of money (%s) waits', (code) => {
    const faults = [{ code, message: 'You exceeded your current quota, please check your plan.' }]
    expect(planFailedBatch({ faults, requests: 3, mayFinalise: true })).toEqual({ kind: 'wait' })
  })

  test('of a single line fails that line when the fault is one of lines by its nature', () => {
    const own = { ...badLine(1), code: 'invalid_json_line' }
    const plan = planFailedBatch({ faults: [own], requests: 1, mayFinalise: false })
    expect(plan).toEqual({ kind: 'heal', lines: new Map([[1, own]]) })
    const model = { ...badModel, line: 1 }
    expect(planFailedBatch({ faults: [model], requests: 1, mayFinalise: false })).toEqual({ kind: 'block' })
  })

  test('with some faulty lines heals: they fail alone', () => {
    const plan = planFailedBatch({ faults: [badLine(2), badLine(5)], requests: 5, mayFinalise: false })
    expect(plan).toEqual({
      kind: 'heal',
      lines: new Map([
        [2, badLine(2)],
        [5, badLine(5)],
      ]),
    })
  })

  test.each([
    ['of every line', [badLine(1), badLine(2), badLine(3)]],
    ['of no line', [badModel]],
    ['of some lines and of the whole', [badLine(1), badModel]],
    ['of a line it does not have', [badLine(1), badLine(4)]],
    ['of line 0', [badLine(0)]],
    ['of half a line', [badLine(1.5)]],
    ['that is not named', []],
    ['of a line and for lack of room', [badLine(1), full]],
  ])('with a fault %s fails as a whole when that is allowed, else blocks', (_, list) => {
    expect(planFailedBatch({ faults: list, requests: 3, mayFinalise: true })).toEqual({ kind: 'fail' })
    expect(planFailedBatch({ faults: list, requests: 3, mayFinalise: false })).toEqual({ kind: 'block' })
  })

  test('that heals always fails at least one of its lines, and of several keeps at least one: healing comes to an end', () => {
    fc.assert(
      fc.property(faults, sizes, fc.boolean(), (list, requests, allowed) => {
        const plan = planFailedBatch({ faults: list, requests, mayFinalise: allowed })
        if (plan.kind !== 'heal') return
        const own = [...plan.lines.keys()].filter(
          (line) => line >= 1 && Number.isInteger(line) && line <= requests,
        )
        expect(own.length).toBe(plan.lines.size)
        expect(own.length).toBeGreaterThan(0)
        expect(own.length).toBeLessThan(Math.max(requests, 2))
      }),
      { numRuns: 1000 },
    )
  })

  test('is decided alike whether or not it may be finalised, but for fail and block', () => {
    fc.assert(
      fc.property(faults, sizes, (list, requests) => {
        const allowed = planFailedBatch({ faults: list, requests, mayFinalise: true })
        const refused = planFailedBatch({ faults: list, requests, mayFinalise: false })
        expect(refused).toEqual(allowed.kind === 'fail' ? { kind: 'block' } : allowed)
      }),
    )
  })
})

test('as many failed batches are finalised as allowed, and any number with a negative one', () => {
  expect(mayFinalise(0, 0)).toBe(false)
  expect(mayFinalise(2, 1)).toBe(true)
  expect(mayFinalise(2, 2)).toBe(false)
  expect(mayFinalise(-1, 1_000_000)).toBe(true)
})
