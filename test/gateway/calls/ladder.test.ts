import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PRIORITIES, ROUTES, type Route } from '../../../src/gateway/domain/request.ts'
import {
  batchRung,
  type Climber,
  chooseRung,
  firstRoute,
  type LadderFacts,
} from '../../../src/gateway/engine/calls/ladder.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const NOW = Date.UTC(2026, 0, 1)

const factsOf = (parts: Partial<LadderFacts> = {}): LadderFacts => ({
  nowMs: NOW,
  batchDurationsMs: [],
  callMs: undefined,
  flexCallMs: undefined,
  concurrency: 8,
  flexWorks: true,
  ahead: 0,
  ...parts,
})

const climberOf = (parts: Partial<Climber> = {}): Climber => ({
  priority: 'normal',
  deadlineAt: undefined,
  route: 'batch',
  ...parts,
})

const anything = () => true

/** Where a request with so much time left goes. */
const routeWith = (leftMs: number, facts: Partial<LadderFacts> = {}, route: Route = 'batch') =>
  chooseRung(climberOf({ deadlineAt: NOW + leftMs, route }), factsOf(facts), anything).route

describe('the way of a request', () => {
  test('is the batch, without a deadline', () => {
    expect(chooseRung(climberOf(), factsOf(), anything).route).toBe('batch')
  })

  test('is a direct call at once, when it is urgent: flex may be slow', () => {
    const urgent = climberOf({ priority: 'high', deadlineAt: NOW + 20 * HOUR_MS })
    expect(chooseRung(urgent, factsOf(), anything).route).toBe('direct')
    expect(chooseRung(urgent, factsOf(), (route) => route !== 'direct')).toMatchObject({
      route: 'batch',
      unaffordable: 'direct',
    })
  })

  test('is never anything but a batch for one of low priority, whatever its deadline', () => {
    const low = climberOf({ priority: 'low', deadlineAt: NOW + 1_000, route: 'flex' })
    expect(chooseRung(low, factsOf(), anything)).toEqual({
      route: 'batch',
      nextLookMs: Number.POSITIVE_INFINITY,
    })
  })

  test('gets dearer as its deadline comes near', () => {
    const left = [20 * HOUR_MS, HOUR_MS, 10 * MINUTE_MS, MINUTE_MS, 5_000]
    expect(left.map((ms) => routeWith(ms))).toEqual(['batch', 'batch', 'flex', 'direct', 'direct'])
  })

  test('is flex at once when batches are known to take too long, and a batch for as long as they do not', () => {
    const slow = { batchDurationsMs: [6 * HOUR_MS, 7 * HOUR_MS] }
    expect(routeWith(5 * HOUR_MS, slow)).toBe('flex')
    expect(routeWith(9 * HOUR_MS, slow)).toBe('batch')
    const quick = { batchDurationsMs: [MINUTE_MS, MINUTE_MS] }
    expect(routeWith(5 * MINUTE_MS, quick)).toBe('batch')
  })

  test('passes flex over where it does not work', () => {
    const facts = { flexWorks: false }
    expect(routeWith(30 * MINUTE_MS, facts)).toBe('batch')
    expect(routeWith(5 * MINUTE_MS, facts)).toBe('direct')
    expect(routeWith(5 * MINUTE_MS, facts, 'flex')).toBe('direct')
  })

  test('is dearer for one that stands behind many', () => {
    expect(routeWith(20 * MINUTE_MS)).toBe('batch')
    expect(routeWith(20 * MINUTE_MS, { ahead: 200 })).toBe('flex')
  })

  test('stays what it is after the deadline: nothing can be bought any more', () => {
    for (const route of ROUTES) expect(routeWith(0, {}, route)).toBe(route)
    expect(routeWith(-HOUR_MS)).toBe('batch')
  })

  test('is one that it can pay for, and it is said when that is not the one it should be', () => {
    const pressed = climberOf({ deadlineAt: NOW + MINUTE_MS })
    expect(chooseRung(pressed, factsOf(), () => false)).toMatchObject({
      route: 'batch',
      unaffordable: 'direct',
    })
    expect(chooseRung(pressed, factsOf(), (route) => route !== 'direct')).toMatchObject({
      route: 'flex',
      unaffordable: 'direct',
    })
  })
})

const climbers = fc.record({
  priority: fc.constantFrom(...PRIORITIES),
  deadlineAt: fc.option(fc.integer({ min: NOW - HOUR_MS, max: NOW + 48 * HOUR_MS }), { nil: undefined }),
  route: fc.constantFrom(...ROUTES),
})
const someFacts = fc.record({
  nowMs: fc.constant(NOW),
  batchDurationsMs: fc.array(fc.integer({ min: 1_000, max: 24 * HOUR_MS }), { maxLength: 5 }),
  callMs: fc.option(fc.integer({ min: 1, max: HOUR_MS }), { nil: undefined }),
  flexCallMs: fc.option(fc.integer({ min: 1, max: HOUR_MS }), { nil: undefined }),
  concurrency: fc.integer({ min: 1, max: 100 }),
  flexWorks: fc.boolean(),
  ahead: fc.integer({ min: 0, max: 10_000 }),
})
const budgets = fc.subarray([...ROUTES])

test('whatever is known, nothing gets cheaper again, costs more than it may, or is never looked at', () => {
  const holds = (climber: Climber, facts: LadderFacts, affordable: readonly Route[]) => {
    const rung = chooseRung(climber, facts, (route) => affordable.includes(route))
    if (climber.priority === 'low') expect(rung.route).toBe('batch')
    else expect(ROUTES.indexOf(rung.route)).toBeGreaterThanOrEqual(ROUTES.indexOf(climber.route))
    if (rung.route !== climber.route && rung.route !== 'batch') expect(affordable).toContain(rung.route)
    if (rung.route === 'flex' && climber.route !== 'flex') expect(facts.flexWorks).toBe(true)
    expect(rung.nextLookMs).toBeGreaterThan(0)
  }
  fc.assert(fc.property(climbers, someFacts, budgets, holds), { numRuns: 500 })
})

test('what was decided stays decided when it is thought over at once', () => {
  const holds = (climber: Climber, facts: LadderFacts) => {
    const { route } = chooseRung(climber, facts, anything)
    const again = chooseRung({ ...climber, route }, facts, anything).route
    expect(ROUTES.indexOf(again)).toBeGreaterThanOrEqual(ROUTES.indexOf(route))
    if (route === 'direct') expect(again).toBe('direct')
  }
  fc.assert(fc.property(climbers, someFacts, holds), { numRuns: 500 })
})

describe('a batch', () => {
  const batch = { id: 1, sinceMs: NOW - HOUR_MS, total: 100, completed: 0 }

  test('is called back in time for calls to do what it has not done', () => {
    const far = batchRung({ ...batch, deadlineAt: NOW + 5 * HOUR_MS }, factsOf())
    expect(far.isToBeCancelled).toBe(false)
    expect(batchRung({ ...batch, deadlineAt: NOW + 18 * MINUTE_MS }, factsOf()).isToBeCancelled).toBe(true)
    // Ten minutes may pass until a cancelled batch gives its answers.
    expect(far.nextLookMs).toBeLessThanOrEqual(MINUTE_MS)
  })

  test('that is all but done is left to end', () => {
    const almost = { ...batch, completed: 99, deadlineAt: NOW + 15 * MINUTE_MS }
    expect(batchRung(almost, factsOf()).isToBeCancelled).toBe(false)
  })

  test('whose deadline is past goes on', () => {
    expect(batchRung({ ...batch, deadlineAt: NOW - 1 }, factsOf()).isToBeCancelled).toBe(false)
  })
})

describe('what just came in', () => {
  const at = (leftMs: number | undefined, priority: Climber['priority'] = 'normal') =>
    firstRoute({ priority, deadlineAt: leftMs === undefined ? undefined : NOW + leftMs, nowMs: NOW })

  test('waits for a batch, but what is urgent, or has no time for anything else', () => {
    expect([at(undefined), at(HOUR_MS), at(5 * MINUTE_MS), at(10_000)]).toEqual([
      'batch',
      'batch',
      'batch',
      'direct',
    ])
    expect([at(undefined, 'high'), at(20 * HOUR_MS, 'high')]).toEqual(['direct', 'direct'])
    expect([at(undefined, 'low'), at(1_000, 'low')]).toEqual(['batch', 'batch'])
  })
})
