import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  backoffMs,
  DEFAULT_TIMING,
  MAX_POST_BYTES,
  nextStep,
  planStart,
  type SenderView,
} from '../../src/progress/wandb/decide.ts'
import {
  begun,
  type DeliveryState,
  newDelivery,
  type RunWishes,
} from '../../src/progress/wandb/delivery-state.ts'

const WISHES: RunWishes = {
  baseUrl: 'https://api.wandb.ai',
  project: 'p',
  name: 'task',
  group: 'Task',
  tags: [],
  config: {},
}
const { paceMs, heartbeatMs } = DEFAULT_TIMING

const view = (over: Partial<SenderView> = {}): SenderView => ({
  nowMs: 1_000_000,
  isAttached: true,
  ackedLines: 10,
  ackedBytes: 1000,
  durableBytes: 1000,
  heardMs: 1_000_000,
  retryAtMs: 0,
  isRefused: false,
  isBehind: false,
  failures: 0,
  maxFailures: Number.POSITIVE_INFINITY,
  ending: undefined,
  ended: undefined,
  deadlineMs: Number.POSITIVE_INFINITY,
  ...over,
})
const step = (over: Partial<SenderView>) => nextStep(view(over), DEFAULT_TIMING)
const exit = { kind: 'exit', exitCode: 0 } as const

describe('the next step of a sender', () => {
  test('is to look the run up before anything else', () => {
    expect(step({ isAttached: false, durableBytes: 5000 })).toEqual({ do: 'attach' })
    expect(step({ isAttached: false, durableBytes: 0, ackedBytes: 0 })).toEqual({ do: 'attach' })
  })

  test('is to post when it is time, when a post is full, when there is a backlog, and when the run ends', () => {
    const due = 1_000_000 + paceMs
    expect(step({ durableBytes: 1001 })).toEqual({ do: 'wait', untilMs: due })
    expect(step({ durableBytes: 1001, nowMs: due })).toEqual({ do: 'post' })
    expect(step({ durableBytes: 1000 + MAX_POST_BYTES })).toEqual({ do: 'post' })
    expect(step({ durableBytes: 1001, isBehind: true })).toEqual({ do: 'post' })
    expect(step({ durableBytes: 1001, ending: exit })).toEqual({ do: 'post' })
  })

  test('is a heartbeat when there is nothing to say', () => {
    const beat = 1_000_000 + heartbeatMs
    expect(step({})).toEqual({ do: 'wait', untilMs: beat })
    expect(step({ nowMs: beat })).toEqual({ do: 'heartbeat' })
    expect(step({ durableBytes: 5, nowMs: beat })).toEqual({ do: 'heartbeat' })
  })

  test('is to tell of the end of the run, once all is there', () => {
    expect(step({ ending: exit })).toEqual({ do: 'complete', exitCode: 0 })
    expect(step({ ending: exit, ended: { lines: 9, exitCode: 0 } })).toEqual({ do: 'complete', exitCode: 0 })
    expect(step({ ending: exit, ended: { lines: 10, exitCode: 3 } })).toEqual({ do: 'complete', exitCode: 0 })
    expect(step({ ending: exit, ended: { lines: 10, exitCode: 0 } })).toEqual({
      do: 'stop',
      why: 'delivered',
    })
    expect(step({ ending: { kind: 'silent' } })).toEqual({ do: 'stop', why: 'delivered' })
    expect(step({ ending: { kind: 'silent' }, durableBytes: 1001 })).toEqual({ do: 'post' })
  })

  test('waits after a failure, and gives up only when it is told to end', () => {
    const retryAtMs = 1_000_500
    expect(step({ durableBytes: 1001, retryAtMs, isBehind: true })).toEqual({
      do: 'wait',
      untilMs: retryAtMs,
    })
    expect(step({ durableBytes: 1001, retryAtMs, isRefused: true })).toEqual({
      do: 'wait',
      untilMs: retryAtMs,
    })
    expect(step({ durableBytes: 1001, isRefused: true, ending: exit })).toEqual({
      do: 'stop',
      why: 'refused',
    })
    expect(step({ durableBytes: 1001, failures: 6, maxFailures: 6 })).toMatchObject({ do: 'wait' })
    expect(step({ durableBytes: 1001, failures: 6, maxFailures: 6, ending: exit })).toEqual({
      do: 'stop',
      why: 'unreachable',
    })
  })

  test('is over when its time is', () => {
    expect(step({ durableBytes: 1001, deadlineMs: 1_000_000 })).toEqual({ do: 'stop', why: 'out-of-time' })
    expect(step({ retryAtMs: 2_000_000, deadlineMs: 1_000_700, ending: exit })).toEqual({
      do: 'wait',
      untilMs: 1_000_700,
    })
  })

  test('never lies in the past, and never is a wait without an end', () => {
    const time = fc.integer({ min: 999_000, max: 1_100_000 })
    const bytes = fc.integer({ min: 0, max: 3000 })
    const views = fc.record({
      isAttached: fc.boolean(),
      ackedBytes: bytes,
      durableBytes: bytes,
      heardMs: time,
      retryAtMs: time,
      isRefused: fc.boolean(),
      isBehind: fc.boolean(),
      ending: fc.constantFrom(undefined, exit, { kind: 'silent' } as const),
      ended: fc.constantFrom(undefined, { lines: 10, exitCode: 0 }),
      deadlineMs: fc.constantFrom(Number.POSITIVE_INFINITY, 1_000_100),
    })
    fc.assert(
      fc.property(views, (over) => {
        const next = step(over)
        if (next.do === 'wait') {
          expect(next.untilMs).toBeGreaterThan(1_000_000)
          expect(next.untilMs).toBeLessThan(Number.POSITIVE_INFINITY)
        }
        if (next.do === 'stop') expect(over.ending !== undefined || over.deadlineMs <= 1_000_000).toBe(true)
      }),
    )
  })
})

test('waits grow to a bound, and differ', () => {
  expect(backoffMs(1, DEFAULT_TIMING, 0)).toBe(1000)
  expect(backoffMs(2, DEFAULT_TIMING, 0.5)).toBe(3000)
  expect(backoffMs(1000, DEFAULT_TIMING, 0.999)).toBeLessThanOrEqual(60_000)
  expect(backoffMs(1000, DEFAULT_TIMING, 0)).toBe(30_000)
})

const state = (over: Partial<DeliveryState> = {}): DeliveryState => ({
  ...newDelivery(WISHES, 'abcdefgh'),
  entity: 'me',
  project: 'p',
  ackedLines: 10,
  ackedBytes: 1000,
  ...over,
})
const file = (lines: number, isSame = true) => ({ lines, isSame })
const server = (lines: number, lastStep: number | undefined = lines - 1) => ({ lines, lastStep })
const goOn = (fromLine: number, baseLine = 0, baseStep = 0) => ({
  do: 'continue',
  fromLine,
  baseLine,
  baseStep,
})

describe('where a sender goes on', () => {
  test('where it stopped, whether or not the answer to its last post was lost', () => {
    expect(planStart(state(), server(10), file(12))).toEqual(goOn(10))
    expect(planStart(state(), server(12), file(12))).toEqual(goOn(10))
  })

  test('where the server lost lines', () => {
    expect(planStart(state(), server(4), file(12))).toEqual(goOn(4))
    expect(planStart(state(), undefined, file(12))).toEqual(goOn(0))
    expect(planStart(state({ baseLine: 5, baseStep: 50 }), undefined, file(12))).toEqual(goOn(0))
  })

  test('after the lines that a given run has of others, with rising steps', () => {
    const given = state({ entity: undefined, wantedRunId: 'abcdefgh', ackedLines: 0, ackedBytes: 0 })
    expect(planStart(given, server(7, 70), file(3))).toEqual(goOn(0, 7, 71))
    expect(planStart(given, { lines: 7, lastStep: undefined }, file(3))).toEqual(goOn(0, 7, 7))
    const later = state({ baseLine: 7, baseStep: 71 })
    expect(planStart(later, server(17), file(12))).toEqual(goOn(10, 7, 71))
    expect(planStart(later, server(9), file(12))).toEqual(goOn(2, 7, 71))
    expect(planStart(later, server(3, 30), file(12))).toEqual(goOn(0, 3, 31))
  })

  test('in a new run, when the old one is not of this file any more', () => {
    expect(planStart(state(), server(10), file(0, false))).toMatchObject({ do: 'renew' })
    expect(planStart(state(), server(13), file(12))).toMatchObject({ do: 'renew' })
    const fresh = state({ entity: undefined, ackedLines: 0, ackedBytes: 0 })
    expect(planStart(fresh, server(1), file(12))).toMatchObject({ do: 'renew' })
  })

  test('never replaces a line of others, and never leaves one of ours out', () => {
    const count = fc.nat(30)
    fc.assert(
      fc.property(count, count, count, count, fc.boolean(), (baseLine, acked, more, there, isOurs) => {
        const before = state({
          baseLine,
          baseStep: baseLine * 2,
          ackedLines: isOurs ? acked : 0,
          entity: isOurs ? 'me' : undefined,
          wantedRunId: 'abcdefgh',
        })
        const plan = planStart(before, server(there), file(acked + more))
        if (plan.do === 'renew') return
        const next = plan.baseLine + plan.fromLine
        expect(next).toBeLessThanOrEqual(there)
        expect(plan.fromLine).toBeLessThanOrEqual(before.ackedLines)
        const others = isOurs ? Math.min(before.baseLine, there) : there
        expect(plan.baseLine).toBeGreaterThanOrEqual(others)
      }),
    )
  })
})

describe('the run of a task', () => {
  test('stays the same from run to run, with what is wished of it now', () => {
    const { state: next, left } = begun(state(), { ...WISHES, name: 'other', tags: ['t'], config: { a: 1 } })
    expect(left).toBeUndefined()
    expect(next).toMatchObject({
      runId: 'abcdefgh',
      ackedLines: 10,
      name: 'other',
      tags: ['t'],
      config: { a: 1 },
    })
  })

  test.each([
    ['project', { project: 'q' }],
    ['entity', { entity: 'they' }],
    ['server', { baseUrl: 'https://other' }],
    ['id', { runId: 'mine' }],
  ])('is another one for another %s', (_, over) => {
    const { state: next, left } = begun(state(), { ...WISHES, ...over })
    expect(left?.runId).toBe('abcdefgh')
    expect(next.ackedLines).toBe(0)
    expect(next.runId).not.toBe('abcdefgh')
  })

  test('is not left for an id that it was asked for before', () => {
    const renewed = state({ wantedRunId: 'mine' })
    expect(begun(renewed, { ...WISHES, runId: 'mine' }).state.runId).toBe('abcdefgh')
    expect(begun(undefined, { ...WISHES, runId: 'mine' }).state.runId).toBe('mine')
    expect(begun(undefined, WISHES).state.runId).toMatch(/^[a-z0-9]{8}$/)
  })
})
