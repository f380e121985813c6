import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type DeadlineFacts,
  planForDeadline,
  type RunningBatch,
  type SendMode,
} from '../../src/batch/deadline.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const NOW = Date.UTC(2026, 10, 21, 12)

/** Six hours left, 10,000 requests to send: 14 minutes of direct calls, 56 of flex calls. */
const factsOf = (over: Partial<DeadlineFacts> = {}): DeadlineFacts => ({
  nowMs: NOW,
  deadlineMs: NOW + 6 * HOUR,
  current: 'batch',
  batchDurationsMs: [],
  running: [],
  waiting: 10_000,
  callMs: 5 * SECOND,
  flexCallMs: 20 * SECOND,
  concurrency: 60,
  flexWorks: true,
  ...over,
})

const batch = (over: Partial<RunningBatch> = {}): RunningBatch => ({
  id: 1,
  sinceMs: NOW - HOUR,
  total: 10_000,
  completed: 0,
  ...over,
})

const inMinutes = (minutes: number) => ({ deadlineMs: NOW + minutes * MINUTE })

describe('a task with time', () => {
  test('sends batches while nothing is known of them', () => {
    expect(planForDeadline(factsOf())).toEqual({ mode: 'batch', cancel: [], why: '', nextLookMs: MINUTE })
  })

  test('sends batches that the history says will be done', () => {
    expect(planForDeadline(factsOf({ batchDurationsMs: [HOUR, 5 * HOUR] }))).toMatchObject({ mode: 'batch' })
  })

  test('waits for a batch to the last moment, though nothing is heard of it', () => {
    const facts = factsOf({ waiting: 0, running: [batch()] })
    // 10 minutes to cancel, one and a half times 56 for the calls, 1 to settle.
    expect(planForDeadline({ ...facts, ...inMinutes(95) })).toMatchObject({ mode: 'batch', why: '' })
    expect(planForDeadline({ ...facts, ...inMinutes(94) })).toEqual({
      mode: 'flex',
      cancel: [1],
      why: '10,000 flex calls may take 1h34m (10m of it to cancel batches), with 1h34m left: what is left goes by flex; batch 1 cancelled for the deadline, answers kept',
      nextLookMs: MINUTE,
    })
  })

  test('looks again right when the last moment comes', () => {
    const { nextLookMs } = planForDeadline(
      factsOf({ waiting: 0, running: [batch({ total: 60 })], deadlineMs: NOW + 11 * MINUTE + 40 * SECOND }),
    )
    expect(nextLookMs).toBe(10 * SECOND)
  })
})

describe('a task whose batches are known to be slow', () => {
  const slow = { batchDurationsMs: [HOUR, 7 * HOUR] }

  test('goes by flex at once: it costs the same', () => {
    const plan = planForDeadline(factsOf(slow))
    expect(plan).toMatchObject({ mode: 'flex', cancel: [] })
    expect(plan.why).toBe('batches take up to 7h, with 6h left: what is left goes by flex')
  })

  test('waits with direct calls, which cost twice that, to the last moment', () => {
    const facts = factsOf({ ...slow, flexWorks: false })
    expect(planForDeadline(facts)).toMatchObject({ mode: 'batch' })
    expect(planForDeadline({ ...facts, ...inMinutes(31) })).toMatchObject({ mode: 'direct' })
  })

  test('goes by direct calls at once when these cannot do all of it even so', () => {
    const facts = factsOf({ ...slow, flexWorks: false, waiting: 1_000_000 })
    expect(planForDeadline(facts)).toMatchObject({ mode: 'direct' })
  })

  test('goes by few outliers as little as by none', () => {
    const batchDurationsMs = [7 * HOUR, ...Array<number>(9).fill(HOUR)]
    expect(planForDeadline(factsOf({ batchDurationsMs }))).toMatchObject({ mode: 'batch' })
  })

  test('cancels them only once a flex call has been answered', () => {
    const facts = factsOf({ ...slow, running: [batch()] })
    expect(planForDeadline({ ...facts, flexCallMs: undefined })).toMatchObject({ mode: 'flex', cancel: [] })
    expect(planForDeadline(facts)).toMatchObject({ mode: 'flex', cancel: [1] })
  })

  test('cancels one, to find out about flex, when nothing else waits', () => {
    const running = [batch(), batch({ id: 2, total: 9_000 }), batch({ id: 3 })]
    const facts = factsOf({ ...slow, running, waiting: 0 })
    expect(planForDeadline({ ...facts, flexCallMs: undefined })).toMatchObject({ mode: 'flex', cancel: [2] })
    expect(planForDeadline(facts)).toMatchObject({ mode: 'flex', cancel: [2, 1, 3] })
  })
})

describe('running batches', () => {
  const due = { waiting: 0, ...inMinutes(94) }

  test('that make it at their pace are left alone at the last moment', () => {
    const running = [batch({ completed: 6_000 }), batch({ id: 2 })]
    expect(planForDeadline(factsOf({ ...due, running }))).toMatchObject({ mode: 'flex', cancel: [2] })
    expect(planForDeadline(factsOf({ ...due, running: running.slice(0, 1) }))).toMatchObject({
      mode: 'batch',
    })
  })

  test('whose pace is too slow go by flex at once', () => {
    const running = [batch({ completed: 1_200 })]
    const plan = planForDeadline(factsOf({ waiting: 0, running }))
    expect(plan).toMatchObject({ mode: 'flex', cancel: [1] })
    expect(plan.why).toContain('batch 1 will be late, with 6h left')
  })

  test('are not judged by their first few answers', () => {
    expect(planForDeadline(factsOf({ waiting: 0, running: [batch({ completed: 900 })] }))).toMatchObject({
      mode: 'batch',
    })
  })

  test('are given the time that the history knows, however slow they begin', () => {
    const running = [batch({ completed: 1_200 })]
    const facts = factsOf({ waiting: 0, running, batchDurationsMs: [2 * HOUR] })
    expect(planForDeadline(facts)).toMatchObject({ mode: 'batch' })
    expect(planForDeadline({ ...facts, batchDurationsMs: [30 * MINUTE] })).toMatchObject({ mode: 'flex' })
  })

  test('with all answers there are left alone to the end', () => {
    const running = [batch({ completed: 10_000 })]
    expect(planForDeadline(factsOf({ waiting: 0, running, ...inMinutes(1) }))).toMatchObject({ cancel: [] })
  })

  test('that calls could not do in time are their own best hope; smaller ones are taken back for the same price', () => {
    const running = [batch({ total: 50_000 }), batch({ id: 2, total: 900 }), batch({ id: 3, total: 50_000 })]
    const facts = factsOf({ waiting: 0, running, ...inMinutes(15) })
    expect(planForDeadline(facts)).toMatchObject({ mode: 'flex', cancel: [2] })
    expect(planForDeadline({ ...facts, flexWorks: false })).toMatchObject({ mode: 'batch', cancel: [] })
    expect(planForDeadline({ ...facts, running: running.slice(0, 1) })).toMatchObject({ mode: 'batch' })
  })
})

describe('a task that goes by flex', () => {
  const flex = { current: 'flex' } as const

  test('stays there while it is fast enough', () => {
    expect(planForDeadline(factsOf(flex))).toMatchObject({ mode: 'flex', why: '' })
    expect(planForDeadline(factsOf({ ...flex, ...inMinutes(90) }))).toMatchObject({ mode: 'flex', why: '' })
  })

  test('goes by direct calls at the last moment for these', () => {
    expect(planForDeadline(factsOf({ ...flex, ...inMinutes(23) }))).toMatchObject({ mode: 'flex' })
    const plan = planForDeadline(factsOf({ ...flex, ...inMinutes(21) }))
    expect(plan).toMatchObject({ mode: 'direct', cancel: [] })
    expect(plan.why).toBe(
      '10,000 direct calls may take 22m12s, with 21m left: what is left goes by direct calls',
    )
  })

  test('goes by direct calls when flex turns out not to work', () => {
    const plan = planForDeadline(factsOf({ ...flex, flexWorks: false }))
    expect(plan).toMatchObject({
      mode: 'direct',
      why: 'flex does not work: what is left goes by direct calls',
    })
  })

  test('stays there when direct calls are no faster', () => {
    const facts = factsOf({ ...flex, ...inMinutes(21), callMs: 20 * SECOND })
    expect(planForDeadline(facts)).toMatchObject({ mode: 'flex', why: '' })
  })
})

test('a short deadline is not left to batches of which nothing is known', () => {
  const facts = factsOf({ ...inMinutes(5), waiting: 100, callMs: undefined, flexCallMs: undefined })
  expect(planForDeadline(facts)).toMatchObject({ mode: 'flex' })
  expect(planForDeadline({ ...facts, ...inMinutes(1.5) })).toMatchObject({ mode: 'direct' })
})

const modes: readonly SendMode[] = ['batch', 'flex', 'direct']
const some = fc.nat(60_000)
const anyFacts: fc.Arbitrary<DeadlineFacts> = fc
  .record({
    leftMs: fc.integer({ min: -HOUR, max: 30 * HOUR }),
    current: fc.constantFrom(...modes),
    batchDurationsMs: fc.array(fc.nat(26 * HOUR), { maxLength: 20 }),
    batches: fc.array(
      fc.record({ ageMs: fc.integer({ min: -MINUTE, max: 26 * HOUR }), total: some, share: some }),
      {
        maxLength: 8,
      },
    ),
    waiting: fc.oneof(fc.constant(0), fc.nat(2_000_000)),
    callMs: fc.option(fc.integer({ min: 1, max: 5 * MINUTE }), { nil: undefined }),
    flexCallMs: fc.option(fc.integer({ min: 1, max: 15 * MINUTE }), { nil: undefined }),
    concurrency: fc.integer({ min: 1, max: 1000 }),
    flexWorks: fc.boolean(),
  })
  .map(({ leftMs, batches, ...rest }) => ({
    ...rest,
    nowMs: NOW,
    deadlineMs: NOW + leftMs,
    running: batches.map(({ ageMs, total, share }, id) => ({
      id,
      sinceMs: NOW - ageMs,
      total,
      completed: Math.floor((total * share) / 60_000),
    })),
  }))

describe('whatever is known', () => {
  const forAll = (check: (facts: DeadlineFacts) => void) =>
    fc.assert(fc.property(anyFacts, check), { numRuns: 2000 })

  test('nothing goes back towards batches, and flex is not begun where it does not work', () => {
    forAll((facts) => {
      const { mode } = planForDeadline(facts)
      expect(modes.indexOf(mode)).toBeGreaterThanOrEqual(modes.indexOf(facts.current))
      if (!facts.flexWorks && facts.deadlineMs > NOW) expect(mode).not.toBe('flex')
    })
  })

  test('only batches with something left are cancelled, each once, and none by a task that sends batches', () => {
    forAll((facts) => {
      const { mode, cancel } = planForDeadline(facts)
      const open = facts.running.filter(({ total, completed }) => completed < total).map(({ id }) => id)
      expect(open).toEqual(expect.arrayContaining([...cancel]))
      expect(new Set(cancel).size).toBe(cancel.length)
      if (mode === 'batch') expect(cancel).toEqual([])
    })
  })

  test('what is cancelled could be done by calls in the time that is left', () => {
    forAll((facts) => {
      const { cancel } = planForDeadline(facts)
      const callMs = Math.min(facts.flexCallMs ?? 0, facts.callMs ?? 0)
      const left = facts.running
        .filter(({ id }) => cancel.includes(id))
        .reduce((sum, { total, completed }) => sum + total - completed, facts.waiting)
      if (cancel.length > 0)
        expect(Math.ceil(left / facts.concurrency) * callMs).toBeLessThanOrEqual(facts.deadlineMs - NOW)
    })
  })

  test('a reason is given exactly when something changes', () => {
    forAll((facts) => {
      const { mode, cancel, why } = planForDeadline(facts)
      expect(why !== '').toBe(mode !== facts.current || cancel.length > 0)
    })
  })

  test('after the deadline nothing changes', () => {
    forAll((facts) => {
      const { why } = planForDeadline({ ...facts, deadlineMs: NOW })
      expect(why).toBe('')
    })
  })

  test('a plan that is carried out is not changed again at once', () => {
    forAll((facts) => {
      const { mode, cancel } = planForDeadline(facts)
      const moved = facts.running.filter(({ id }) => cancel.includes(id))
      const waiting = moved.reduce((sum, { total, completed }) => sum + total - completed, facts.waiting)
      const running = facts.running.filter(({ id }) => !cancel.includes(id))
      const again = planForDeadline({ ...facts, current: mode, running, waiting })
      if (again.mode !== mode) expect([mode, again.mode]).toEqual(['flex', 'direct'])
    })
  })

  test('the next look is never far off, and never at once', () => {
    forAll((facts) => {
      const { nextLookMs } = planForDeadline(facts)
      expect(nextLookMs).toBeGreaterThanOrEqual(SECOND)
      expect(nextLookMs).toBeLessThanOrEqual(MINUTE)
    })
  })
})
