import { describe, expect, test } from 'vitest'
import type { ProgressEvent, RequestCounts } from '../../src/progress/events.ts'
import { LiveFacts } from '../../src/progress/live-facts.ts'

const START = Date.UTC(2026, 0, 1)
const MINUTE_MS = 60_000

const counts = (told: Partial<RequestCounts> = {}): RequestCounts => ({
  requests: 3000,
  succeeded: 0,
  failed: 0,
  pending: 3000,
  queued: 0,
  inFlight: 3000,
  costNanoUsd: 0,
  ...told,
})

/** Facts of a run, each told so many minutes after its start. */
function facts(...told: readonly (readonly [minutes: number, event: ProgressEvent])[]) {
  const found = new LiveFacts(START)
  for (const [minutes, event] of told) found.take(event, START + minutes * MINUTE_MS)
  return { at: (minutes: number) => found.view(START + minutes * MINUTE_MS) }
}

const batch = (file: number, status: string, completed?: number): ProgressEvent => ({
  kind: 'batch-changed',
  file,
  status,
  model: 'm',
  requests: 1000,
  ...(completed === undefined ? {} : { completed, failed: 0 }),
})

const result = (file: number, hours?: number): ProgressEvent => ({
  kind: 'batch-result',
  file,
  metrics: hours === undefined ? {} : { 'Result/duration_hours': hours },
})

describe('what the events of a run add up to', () => {
  test('the time of a batch in its state, until it is over', () => {
    const run = facts(
      [1, batch(1, 'validating')],
      [3, batch(1, 'in_progress', 0)],
      [8, batch(1, 'in_progress', 500)],
      [8, batch(2, 'completed', 1000)],
      [9, result(2)],
    )
    expect(run.at(10)).toMatchObject({
      batches: [{ file: 1, status: 'in_progress', statusMs: 7 * MINUTE_MS, answered: 500 }],
      batchesOver: 1,
    })
  })

  test('the time left, from batches that are over', () => {
    const judged: ProgressEvent = { kind: 'judged', counts: counts({ succeeded: 1000, pending: 2000 }) }
    const run = facts(
      [0, batch(1, 'in_progress')],
      [0, batch(2, 'in_progress')],
      [30, result(1, 0.5)],
      [30, judged],
    )
    expect(run.at(20).left).toEqual({ ms: 10 * MINUTE_MS, basis: 'from 1 batch' })
    expect(run.at(31).left).toBeUndefined()
  })

  test('the time left when the server is done, from how fast its answers are judged', () => {
    const judged = (succeeded: number): ProgressEvent => ({
      kind: 'judged',
      counts: counts({ succeeded, pending: 3000 - succeeded, inFlight: 0 }),
    })
    const run = facts(
      [0, batch(1, 'completed', 1000)],
      [0, batch(2, 'in_progress', 900)],
      [0.5, result(1, 0.1)],
      [20, batch(2, 'completed', 1000)],
      // For minutes there was nothing to judge, which says nothing about how fast it goes.
      [20, judged(0)],
      ...Array.from({ length: 61 }, (_, second) => [21 + second / 60, judged(second * 10)] as const),
    )
    expect(run.at(22).left).toEqual({ ms: 4 * MINUTE_MS, basis: 'at the present rate' })
    expect(run.at(22).perMinute).toBeCloseTo(600)
  })

  test('a batch of an earlier run is as old as the server says', () => {
    const at = (minutes: number) => START + minutes * MINUTE_MS
    const first = { ...batch(1, 'in_progress', 0), createdMs: at(-50), sinceMs: at(-40) }
    const future = { ...batch(2, 'in_progress', 0), createdMs: at(9), sinceMs: at(9) }
    const run = facts([0, first], [0, batch(3, 'in_progress', 0)], [0, future], [60, result(3, 1)])
    expect(run.at(5).batches).toMatchObject([
      { file: 1, statusMs: 45 * MINUTE_MS },
      // A server whose clock is wrong.
      { file: 2, statusMs: 5 * MINUTE_MS },
    ])
    const judged: ProgressEvent = { kind: 'judged', counts: counts({ succeeded: 1000, pending: 2000 }) }
    const known = facts([0, batch(3, 'in_progress', 0)], [60, result(3, 1)], [60, first], [60, judged])
    // Older than any batch before it, it may take for ever.
    expect(known.at(60).left).toBeUndefined()
    const later = { ...first, createdMs: at(30), sinceMs: at(40) }
    const young = facts([0, batch(3, 'in_progress', 0)], [60, result(3, 1)], [60, later], [60, judged])
    expect(young.at(60)).toMatchObject({
      left: { ms: 30 * MINUTE_MS },
      batches: [{ statusMs: 20 * MINUTE_MS }],
    })
  })

  test('a batch that waits for another attempt, or for a person, is not waited for', () => {
    const judged: ProgressEvent = { kind: 'judged', counts: counts({ succeeded: 1000, pending: 2000 }) }
    const before = [
      [0, batch(1, 'in_progress')],
      [30, result(1, 0.5)],
      [30, judged],
      [30, batch(2, 'in_progress')],
      [30, batch(3, 'uploading')],
    ] as const
    expect(facts(...before).at(50).left).toMatchObject({ ms: 10 * MINUTE_MS })
    // Longer than any before it took: were it under way, nothing could be said.
    const old = [...before, [59, batch(2, 'in_progress')]] as const
    expect(facts(...old).at(61).left).toBeUndefined()
    for (const status of ['refused', 'sealed'])
      expect(facts(...before, [31, batch(2, status)], [59, batch(3, 'uploading')]).at(59)).toMatchObject({
        batches: [{ status }, { status: 'uploading' }],
        left: { ms: 1 * MINUTE_MS },
      })
    expect(facts(...before, [31, batch(3, 'requeued')]).at(31).batches).toMatchObject([{ file: 2 }])
    // A new attempt begins anew.
    const again = [
      [40, batch(2, 'sealed')],
      [55, batch(2, 'uploading')],
      [56, batch(2, 'validating')],
    ] as const
    expect(facts(...before, [31, batch(3, 'requeued')], ...again).at(60).left).toMatchObject({
      ms: 25 * MINUTE_MS,
    })
  })

  test('calls that are made one by one make no round of batches', () => {
    const half = counts({ requests: 1100, pending: 1100, inFlight: 1000, queued: 100 })
    const run = facts(
      [0, { kind: 'judged', counts: half }],
      [0, { kind: 'direct-started', file: 2, model: 'm', requests: 100 }],
      [0, batch(1, 'in_progress', 100)],
      [10, batch(1, 'in_progress', 600)],
    )
    expect(run.at(10).left).toMatchObject({ ms: 8 * MINUTE_MS })
  })

  test('no time left from batches that failed or were cancelled', () => {
    const run = facts(
      [0, batch(1, 'in_progress')],
      [0, batch(2, 'failed')],
      [0, batch(3, 'cancelled')],
      [1, result(2)],
      [1, result(3)],
      [1, { kind: 'judged', counts: counts() }],
    )
    expect(run.at(1)).toMatchObject({ left: undefined, batchesOver: 2 })
  })

  test('says when it looks again, but not that this is in no time', () => {
    const untilMs = START + 90_000
    const run = facts([1, { kind: 'waiting', reason: 'remote batches', untilMs, counts: counts() }])
    expect(run.at(1)).toMatchObject({ state: 'waiting for batches', stateDetail: ', next look in 30s' })
    expect(run.at(1.49)).toMatchObject({ state: 'waiting for batches', stateDetail: '' })
    expect(run.at(1.5)).toMatchObject({ state: 'running', stateDetail: '' })
  })

  test('none while more may be added, and none while a limit holds the work up', () => {
    const known = [
      [0, { kind: 'judged', counts: counts() }],
      [0, batch(1, 'in_progress', 100)],
      [10, batch(1, 'in_progress', 600)],
    ] as const
    expect(facts(...known).at(10).left).toMatchObject({ basis: 'from the progress of 1 batch' })
    const sample = (producing: number): ProgressEvent => ({
      kind: 'sample',
      metrics: { 'Generation/is_producing': producing },
      counts: counts(),
    })
    expect(facts(...known, [10, sample(1)]).at(10)).toMatchObject({ isProducing: true, left: undefined })
    expect(facts(...known, [10, sample(0)]).at(10).left).toBeDefined()
    const wait = (reason: string): ProgressEvent => ({
      kind: 'waiting',
      reason,
      untilMs: START + 30 * MINUTE_MS,
      counts: counts(),
    })
    expect(facts(...known, [10, wait('token limit')]).at(10)).toMatchObject({
      state: 'waiting 20m: token limit',
      left: undefined,
    })
    expect(facts(...known, [10, wait('token limit')]).at(31)).toMatchObject({ state: 'running' })
    expect(facts(...known, [10, wait('remote batches')]).at(10).left).toBeDefined()
  })

  test('the rate of the last five minutes, and none after a wipe', () => {
    const judged = (succeeded: number): ProgressEvent => ({
      kind: 'judged',
      counts: counts({ succeeded, pending: 3000 - succeeded }),
    })
    const steady = Array.from({ length: 20 }, (_, minute) => [minute, judged(minute * 100)] as const)
    expect(facts(...steady).at(19).perMinute).toBeCloseTo(100)
    expect(facts(...steady).at(60).perMinute).toBeUndefined()
    expect(facts(...steady, [19, judged(5)]).at(19).perMinute).toBeUndefined()
  })

  test('direct calls, until their set is over', () => {
    const begun: ProgressEvent = { kind: 'direct-started', file: 3, model: 'm', requests: 40 }
    expect(facts([1, begun], [2, { ...begun, file: 4 }]).at(5).direct).toEqual({
      sets: 2,
      requests: 80,
      ms: 4 * MINUTE_MS,
    })
    expect(facts([1, begun], [2, result(3)]).at(5).direct).toBeUndefined()
  })

  test('how it ends', () => {
    expect(facts([1, { kind: 'run-failed', message: 'm', code: 'c' }]).at(2).state).toBe('failed')
    const end: ProgressEvent = { kind: 'run-finished', outcome: 'complete', counts: counts() }
    expect(facts([1, end]).at(2).state).toBe('complete')
  })
})
