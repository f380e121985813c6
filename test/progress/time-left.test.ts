import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { aboutText, type BatchLeft, timeLeft, type WorkLeft } from '../../src/progress/time-left.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

const work = (told: Partial<WorkLeft> = {}): WorkLeft => ({
  isProducing: false,
  pending: 1000,
  queued: 0,
  inFlight: 1000,
  mostInFlight: 1000,
  isDirect: false,
  batches: [],
  durationsMs: [],
  recent: undefined,
  ...told,
})

const batch = (told: Partial<BatchLeft> = {}): BatchLeft => ({
  requests: 1000,
  ageMs: HOUR_MS,
  watched: undefined,
  ...told,
})

describe('the time left', () => {
  test('of direct calls comes from the present rate', () => {
    const recent = { verdicts: 100, ms: MINUTE_MS }
    expect(timeLeft(work({ recent }))).toEqual({ ms: 10 * MINUTE_MS, basis: 'at the present rate' })
  })

  test('of batches comes from those before', () => {
    const durationsMs = [1.5 * HOUR_MS, 2 * HOUR_MS, 9 * HOUR_MS]
    const batches = [batch(), batch({ ageMs: 0.5 * HOUR_MS })]
    const left = timeLeft(work({ batches, durationsMs }))
    expect(left).toEqual({ ms: 1.5 * HOUR_MS, basis: 'from 3 batches' })
  })

  test('counts the rounds that what is queued will make', () => {
    const durationsMs = [2 * HOUR_MS]
    const left = timeLeft(work({ batches: [batch(), batch()], durationsMs, queued: 2001 }))
    expect(left).toEqual({ ms: HOUR_MS + 2 * 2 * HOUR_MS, basis: 'from 1 batch' })
  })

  test('of these rounds does not jump when the last batch of one is alone', () => {
    const durationsMs = [2 * HOUR_MS]
    const left = timeLeft(work({ batches: [batch()], durationsMs, queued: 3000, mostInFlight: 3000 }))
    expect(left).toEqual({ ms: HOUR_MS + 2 * HOUR_MS, basis: 'from 1 batch' })
  })

  test('is that of judging where there are more answers than can be judged meanwhile', () => {
    const recent = { verdicts: 100, ms: MINUTE_MS }
    const known = { pending: 31_000, inFlight: 1000, durationsMs: [2 * HOUR_MS], recent }
    expect(timeLeft(work({ ...known, batches: [batch()] }))).toEqual({
      ms: 5 * HOUR_MS,
      basis: 'from 1 batch',
    })
  })

  test('between rounds is that of the next ones, after the verdicts of the last', () => {
    const recent = { verdicts: 100, ms: MINUTE_MS }
    const known = { durationsMs: [2 * HOUR_MS], inFlight: 0, recent }
    const basis = 'from 1 batch'
    expect(timeLeft(work({ ...known, pending: 13, queued: 13 }))).toEqual({ ms: 2 * HOUR_MS, basis })
    expect(timeLeft(work({ ...known, pending: 1013, queued: 13 }))).toEqual({
      ms: 2 * HOUR_MS + 10 * MINUTE_MS,
      basis,
    })
    // Calls that are made one by one have their rate.
    expect(timeLeft(work({ ...known, pending: 100, queued: 13, isDirect: true }))).toEqual({
      ms: MINUTE_MS,
      basis: 'at the present rate',
    })
  })

  test('of the first batches comes from how fast the server answers', () => {
    const watched = { answered: 250, total: 400, ms: HOUR_MS }
    const left = timeLeft(work({ batches: [batch({ watched })] }))
    expect(left).toEqual({ ms: 2.4 * HOUR_MS, basis: 'from the progress of 1 batch' })
  })

  test.each<[string, Partial<WorkLeft>]>([
    ['more may be added', { isProducing: true, recent: { verdicts: 100, ms: MINUTE_MS } }],
    ['nothing is left', { pending: 0, recent: { verdicts: 100, ms: MINUTE_MS } }],
    ['nothing was seen yet', {}],
    ['a handful was answered', { recent: { verdicts: 19, ms: MINUTE_MS } }],
    ['it has only begun', { recent: { verdicts: 100, ms: 5000 } }],
    ['no batch was ever over', { batches: [batch()] }],
    [
      'the next batches are still to be sent, and answers of the last ones to be judged',
      { queued: 500, inFlight: 0, durationsMs: [HOUR_MS] },
    ],
    ['a batch takes longer than any before', { batches: [batch()], durationsMs: [HOUR_MS / 2] }],
    [
      'other batches follow, and none was ever over',
      { batches: [batch({ watched: { answered: 250, total: 400, ms: HOUR_MS } })], queued: 1 },
    ],
  ])('is not told when %s', (_, told) => {
    expect(timeLeft(work(told))).toBeUndefined()
  })

  test('is a finite number or nothing, whatever is known', () => {
    const ms = fc.nat(100 * HOUR_MS)
    const count = fc.nat(10_000)
    const anyBatch = fc
      .record({ requests: fc.integer({ min: 1, max: 10_000 }), ageMs: ms, answered: count, seenMs: ms })
      .map(({ requests, ageMs, answered, seenMs }) => {
        const total = Math.min(requests, answered)
        return { requests, ageMs, watched: { answered: total, total, ms: seenMs } }
      })
    const anyWork = fc.record({
      isProducing: fc.boolean(),
      pending: count,
      queued: count,
      inFlight: count,
      mostInFlight: count,
      isDirect: fc.boolean(),
      batches: fc.array(anyBatch, { maxLength: 5 }),
      durationsMs: fc.array(ms, { maxLength: 5 }),
      recent: fc.option(fc.record({ verdicts: count, ms }), { nil: undefined }),
    })
    fc.assert(
      fc.property(anyWork, (known) => {
        const left = timeLeft(known)
        if (left) expect(left.ms).toSatisfy((value: number) => Number.isFinite(value) && value >= 0)
      }),
    )
  })

  test.each([
    [10_000, 'less than a minute'],
    [12.4 * MINUTE_MS, 'about 12 min'],
    [89 * MINUTE_MS, 'about 89 min'],
    [2.3 * HOUR_MS, 'about 2.5 h'],
    [17.7 * HOUR_MS, 'about 18 h'],
    [75 * HOUR_MS, 'about 3 days'],
  ])('%d ms is said as %s', (ms, text) => {
    expect(aboutText(ms)).toBe(text)
  })
})
