import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applyStep } from '../../src/batch/apply-step.ts'
import { budgetOf } from '../../src/batch/budget.ts'
import { RequestIndex } from '../../src/batch/request-index.ts'
import { type Step, type StepOf, stepSchema } from '../../src/batch/steps.ts'
import { initialState } from '../../src/batch/task-state.ts'
import { Draft, type View } from '../../src/requester/draft.ts'
import { addForecasts } from '../../src/tokens/forecast.ts'
import { lives, type Move, stepsOf } from '../support/step-walk.ts'
import { dumpTask } from '../support/task-dump.ts'
import { tokensOf } from '../support/valuation.ts'

const nothing = (): View => ({ state: initialState, requests: new RequestIndex() })

/** A draft over nothing, and side files of which one has 100 bytes. */
const draftOver = (below: View = nothing()) => new Draft(below, (file) => (file === '_old.jsonl' ? 100 : 0))

function liveOn(draft: Draft, moves: readonly Move[]): number {
  let steps = 0
  for (const move of moves) {
    for (const step of stepsOf(draft, move)) {
      draft.apply(step)
      steps++
    }
  }
  return steps
}

/** What a ledger line with these steps leads to, read back at this offset. */
function replayed(steps: readonly Step[], on: View, offset: number): View {
  let { state } = on
  for (const step of steps)
    state = applyStep(state, on.requests, stepSchema.parse(JSON.parse(JSON.stringify(step))), offset)
  return { state, requests: on.requests }
}

describe('a draft', () => {
  test('holds what its ledger line will lead to, however its steps were joined', () => {
    fc.assert(
      fc.property(lives(60), lives(60), (before, moves) => {
        const [below, other] = [nothing(), nothing()]
        const first = draftOver(below)
        liveOn(first, before)
        first.requests.mergeInto(below.requests, 100)
        const base: View = { state: first.state, requests: below.requests }
        const onDisk = replayed(first.group().steps, other, 100)

        const draft = draftOver(base)
        const count = liveOn(draft, moves)
        expect(draft.group().steps.length).toBeLessThanOrEqual(count)
        const after = replayed(draft.group().steps, onDisk, 200)
        draft.requests.mergeInto(below.requests, 200)
        expect(dumpTask({ state: draft.state, requests: below.requests })).toEqual(dumpTask(after))
      }),
      { numRuns: 200 },
    )
  })

  test('leaves what is below it alone', () => {
    fc.assert(
      fc.property(lives(40), (moves) => {
        const below = nothing()
        liveOn(draftOver(below), moves)
        expect(dumpTask(below)).toEqual(dumpTask(nothing()))
      }),
    )
  })

  test('that was thrown away leaves no trace in the next one', () => {
    const below = nothing()
    const file: Step = { kind: 'open', file: 1, endpoint: '/v1/responses', model: 'm' }
    draftOver(below).apply(file)
    const next = draftOver(below)
    expect(next.isEmpty).toBe(true)
    next.apply(file)
    expect([next.isEmpty, next.group().steps]).toEqual([false, [file]])
  })
})

describe('neighbouring steps', () => {
  const open: Step = { kind: 'open', file: 1, endpoint: '/v1/responses', model: 'm' }
  const add = (count: number): Step => ({
    kind: 'add',
    file: 1,
    first: 1,
    keys: Array.from({ length: count }, (_, n) => `k${n}`),
    hashes: Array(count).fill('0'.repeat(16)),
    bytes: 10 * count,
  })
  const stepsAfter = (count: number, ...steps: readonly Step[]) => {
    const draft = draftOver()
    for (const step of [open, add(count), ...steps]) draft.apply(step)
    return draft.group().steps.slice(2)
  }

  test('that accept become one, with all requests in their order; those without a line of output stay apart', () => {
    const steps = Array.from({ length: 2000 }, (_, n): Step => {
      return { kind: 'accepted', requests: [n + 1], lines: n < 1000 ? 1 : 0, part: 1 }
    })
    const requests = (first: number) => Array.from({ length: 1000 }, (_, n) => first + n)
    expect(stepsAfter(2000, ...steps)).toEqual([
      { kind: 'accepted', requests: requests(1), lines: 1000, part: 1 },
      { kind: 'accepted', requests: requests(1001), lines: 0, part: 1 },
    ])
  })

  test('that accept into another part of the output stay apart', () => {
    const [one, two]: Step[] = [
      { kind: 'accepted', requests: [1], lines: 1, part: 1 },
      { kind: 'accepted', requests: [2], lines: 1, part: 2 },
    ]
    expect(one && two && stepsAfter(2, one, two)).toEqual([one, two])
  })

  test('keep the columns beside their requests in step, where only some have them', () => {
    const judged = (request: number, more: object = {}): Step => {
      return { kind: 'accepted', requests: [request], lines: 1, part: 1, ...more }
    }
    const steps = [
      judged(1),
      judged(2, { ids: ['req_2'], costs: [5] }),
      judged(3, { costs: [null] }),
      judged(4),
    ]
    expect(stepsAfter(4, ...steps)).toEqual([
      {
        kind: 'accepted',
        requests: [1, 2, 3, 4],
        lines: 4,
        part: 1,
        ids: [null, 'req_2', null, null],
        costs: [null, 5, null, null],
      },
    ])
  })

  test('that send or queue again for one reason become one, and others stay apart', () => {
    const sent = (request: number): Step => ({ kind: 'sent', file: 1, requests: [request] })
    const again = (request: number, over: object = {}): Step => ({
      kind: 'requeue',
      file: 2,
      why: 'retry',
      requests: [request],
      bytes: 7,
      ...over,
    })
    const seal: Step = { kind: 'seal', file: 1, as: 'direct' }
    const next: Step = { ...open, file: 2 }
    expect(
      stepsAfter(
        8,
        seal,
        sent(1),
        sent(2),
        next,
        again(1),
        again(2),
        again(3, { why: 'expired' }),
        again(4, { why: 'expired', reason: 'x' }),
        again(5, { why: 'expired', reason: 'x', repaired: true }),
        again(6, { why: 'expired', reason: 'x' }),
      ),
    ).toEqual([
      seal,
      { kind: 'sent', file: 1, requests: [1, 2] },
      next,
      { ...again(1), requests: [1, 2], bytes: 14 },
      again(3, { why: 'expired' }),
      again(4, { why: 'expired', reason: 'x' }),
      again(5, { why: 'expired', reason: 'x', repaired: true }),
      again(6, { why: 'expired', reason: 'x' }),
    ])
  })
})

describe('the money of neighbouring steps', () => {
  const tokens = (input: number) => tokensOf(input)
  const begin: readonly Step[] = [
    { kind: 'open', file: 1, endpoint: '/v1/responses', model: 'm' },
    {
      ...{ kind: 'add', file: 1, first: 1, keys: ['a', 'b', 'c'], bytes: 30 },
      hashes: Array(3).fill('0'.repeat(16)),
    },
    { kind: 'seal', file: 1, as: 'direct' },
  ]
  const joinedWith = (...steps: readonly Step[]) => {
    const draft = draftOver()
    for (const step of [...begin, ...steps]) draft.apply(step)
    const { steps: joined } = draft.group()
    const { state } = replayed(joined, nothing(), 100)
    expect(state.spending).toEqual(draft.state.spending)
    expect(budgetOf(state)).toEqual(budgetOf(draft.state))
    return joined.slice(begin.length)
  }
  const sent = (request: number, over: Partial<StepOf<'sent'>> = {}): Step => ({
    ...{ kind: 'sent', file: 1, requests: [request] },
    ...over,
  })

  test('adds up when calls are sent one after another', () => {
    const money = (n: number) => ({ tokens: tokens(10 * n), expectedNanoUsd: 5 * n, reserved: 7 * n })
    expect(joinedWith(sent(1, money(1)), sent(2, money(2)), sent(3, money(3)))).toEqual([
      {
        ...{ kind: 'sent', file: 1, requests: [1, 2, 3] },
        tokens: [1, 2, 3].map((n) => tokens(10 * n)).reduce(addForecasts),
        ...{ expectedNanoUsd: 30, reserved: 42 },
      },
    ])
  })

  test('is that of those which have any, where others have none', () => {
    expect(joinedWith(sent(1), sent(2, { reserved: 4 }), sent(3))).toEqual([
      { kind: 'sent', file: 1, requests: [1, 2, 3], reserved: 4 },
    ])
    expect(joinedWith(sent(1), sent(2))).toEqual([{ kind: 'sent', file: 1, requests: [1, 2] }])
  })

  test('stays apart for calls of another tier', () => {
    expect(joinedWith(sent(1, { reserved: 4 }), sent(2, { reserved: 2, tier: 'flex' }))).toHaveLength(2)
  })

  test('is taken back for the calls alone that were not made after all', () => {
    const again = (request: number, over: Partial<StepOf<'requeue'>> = {}): Step => ({
      ...{ kind: 'requeue', file: 2, why: 'unsent', requests: [request], bytes: 10, tokens: tokens(90) },
      ...over,
    })
    const money = { tokens: tokens(80), expectedNanoUsd: 5, reserved: 7 }
    const back = { released: 7, takenBack: { input: 80, nanoUsd: 5 } }
    const next: Step = { kind: 'open', file: 2, endpoint: '/v1/responses', model: 'm' }
    const steps = joinedWith(sent(1, money), sent(2, money), next, again(1, back), again(3), again(2, back))
    expect(steps).toHaveLength(5)
    const all = replayed([...begin, ...steps], nothing(), 100)
    expect(all.state.spending).toMatchObject({ sentRequests: 0, sentInputTokens: 0, sentNanoUsd: 0 })
    expect(budgetOf(all.state).reservedNanoUsd).toBe(0)
  })
})

describe('the side files of a draft', () => {
  test('have the length they will have: appended bytes on top of what is there', () => {
    const draft = draftOver()
    draft.append('_old.jsonl', 'é\n')
    draft.append('_old.jsonl', 'more\n')
    draft.append('_new.jsonl', '€')
    expect(['_old.jsonl', '_new.jsonl', '_none.jsonl'].map((file) => draft.length(file))).toEqual([108, 3, 0])
    expect(draft.group().appends).toEqual([
      { file: '_old.jsonl', text: 'é\nmore\n' },
      { file: '_new.jsonl', text: '€' },
    ])
  })

  test('are cut, removed or named as asked', () => {
    const draft = draftOver()
    draft.truncate('_old.jsonl', 40)
    draft.forget('_gone.jsonl')
    draft.name('_batch1_result.jsonl')
    expect([draft.length('_old.jsonl'), draft.length('_gone.jsonl')]).toEqual([40, 0])
    expect(draft.group()).toEqual({
      steps: [],
      appends: [],
      truncate: [{ file: '_old.jsonl', length: 40 }],
      names: ['_batch1_result.jsonl'],
      forget: ['_gone.jsonl'],
    })
  })

  test('count on the draft below when one is on its way', () => {
    const writing = draftOver()
    writing.append('_old.jsonl', 'ten bytes\n')
    const open = new Draft(writing, (file) => writing.knownLength(file))
    open.append('_old.jsonl', 'more\n')
    expect([writing.length('_old.jsonl'), open.length('_old.jsonl')]).toEqual([110, 115])
  })
})
