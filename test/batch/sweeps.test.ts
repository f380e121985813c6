import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nextSweep, type SweepFacts } from '../../src/batch/sweeps.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'
import { queueFile } from '../support/queue-files.ts'

const GRACE_MS = 1_000
const facts = (nowMs: number, more: Partial<SweepFacts> = {}): SweepFacts => ({
  ...{ nowMs, graceMs: GRACE_MS, waited: new Map(), givenUp: new Set() },
  ...more,
})
const doubting = (doubts: Readonly<Record<string, number>>): TaskState => ({
  ...initialState,
  uploadDoubts: new Map(Object.entries(doubts)),
})

test('without doubts there is nothing to do', () => {
  expect(nextSweep(initialState, facts(0))).toEqual({ do: 'nothing' })
})

test('a doubt is searched for when its grace is over, and not before', () => {
  fc.assert(
    fc.property(fc.nat(1e6), fc.nat(3_000), (at, passed) => {
      const action = nextSweep(doubting({ a: at }), facts(at + passed))
      expect(action.do).toBe(passed < GRACE_MS ? 'wait' : 'search')
      if (action.do === 'wait') expect(action.untilMs).toBe(at + GRACE_MS)
    }),
  )
})

test('those that are due are searched for together; the others keep their time', () => {
  const state = doubting({ a: 0, b: 100, c: 900 })
  expect(nextSweep(state, facts(1_200))).toEqual({
    do: 'search',
    doubts: new Map([
      ['a', 0],
      ['b', 100],
    ]),
  })
  expect(nextSweep(doubting({ c: 900 }), facts(1_200))).toMatchObject({ do: 'wait', untilMs: 1_900 })
})

test('nothing is searched for while it may yet be uploaded again, nor what was given up', () => {
  const files = new Map([[1, queueFile('intended')]])
  expect(nextSweep({ ...doubting({ 'tag-1': 0 }), files }, facts(1e6))).toEqual({ do: 'nothing' })
  const uploaded = new Map([[1, queueFile('uploaded')]])
  expect(nextSweep({ ...doubting({ 'tag-1': 0 }), files: uploaded }, facts(1e6)).do).toBe('search')
  expect(nextSweep(doubting({ a: 0 }), facts(1e6, { givenUp: new Set(['a']) }))).toEqual({ do: 'nothing' })
})

test('with a clock that was set back the grace is waited for once, in whole, and then believed', () => {
  const state = doubting({ a: 1e9 })
  const action = nextSweep(state, facts(50))
  expect(action).toMatchObject({ do: 'wait', untilMs: 50 + GRACE_MS })
  if (action.do !== 'wait') return
  expect(nextSweep(state, facts(60, { waited: action.doubts })).do).toBe('search')
  // A doubt that came since is owed a grace of its own.
  expect(nextSweep(doubting({ a: 1e9 + 1 }), facts(60, { waited: action.doubts })).do).toBe('wait')
})
