import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { applyStep, ImpossibleStep } from '../../src/batch/apply-step.ts'
import { budgetOf } from '../../src/batch/budget.ts'
import { RequestIndex } from '../../src/batch/request-index.ts'
import type { CallState, RequestTable } from '../../src/batch/request-table.ts'
import { type Step, type StepOf, stepSchema } from '../../src/batch/steps.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'
import { PHASES, queueFile } from '../support/queue-files.ts'
import { hasCap, MOST, NaiveReserves } from '../support/step-money.ts'
import { lives, type Move, stepsOf } from '../support/step-walk.ts'
import { dumpTask } from '../support/task-dump.ts'

/** Freezes plain objects and arrays all the way down. Maps and sets are compared instead. */
function frozen<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const part of Object.values(value)) frozen(part)
  return Object.freeze(value)
}

/** Lives through the moves; `look` sees what is there after each of them. */
function live(moves: readonly Move[], look: (state: TaskState, table: RequestTable) => void = () => {}) {
  const requests = new RequestIndex()
  const steps: Step[] = []
  let state = initialState
  for (const move of moves) {
    for (const step of stepsOf({ state, requests }, move)) {
      steps.push(step)
      state = applyStep(state, requests, frozen(step), 1000 * steps.length)
    }
    look(state, requests)
  }
  return { state, requests, steps }
}

function pendingByFile(table: RequestTable): Map<number, number> {
  const byFile = new Map<number, number>()
  for (let request = 1; request <= table.last; request++) {
    const { state, file } = table.get(request)
    if (state === 'pending') byFile.set(file, (byFile.get(file) ?? 0) + 1)
    else expect(file).toBe(0)
  }
  return byFile
}

function callsIn(table: RequestTable, file: number, call: CallState): number {
  let calls = 0
  for (let request = 1; request <= table.last; request++) {
    const record = table.get(request)
    if (record.state === 'pending' && record.file === file && record.call === call) calls++
  }
  return calls
}

const withState = (table: RequestTable, state: string) =>
  Array.from({ length: table.last }, (_, index) => table.get(index + 1)).filter((one) => one.state === state)
    .length

describe('after any life', () => {
  test('the counters are the numbers of requests in each state, and add up', () => {
    fc.assert(
      fc.property(lives(60), (moves) => {
        live(moves, ({ counters }, table) => {
          const [pending, succeeded, failed] = ['pending', 'succeeded', 'failed'].map((one) =>
            withState(table, one),
          )
          expect(counters).toEqual({
            requests: table.last - withState(table, 'forgotten'),
            pending,
            succeeded,
            failed,
          })
          expect(counters.requests).toBe(counters.pending + counters.succeeded + counters.failed)
        })
      }),
    )
  })

  test('every pending request that does not wait is in exactly one file that is there, and that file counts it', () => {
    fc.assert(
      fc.property(lives(60), (moves) => {
        live(moves, ({ files }, table) => {
          const counted = [...files.values()]
            .filter((file) => file.live !== 0)
            .map(({ id, live }) => [id, live])
          const byFile = pendingByFile(table)
          byFile.delete(0)
          expect(new Map(counted.map(([id, live]) => [id, live]))).toEqual(byFile)
        })
      }),
    )
  })

  test('a direct set counts its calls that are on the wire, and those that are answered', () => {
    fc.assert(
      fc.property(lives(60), (moves) => {
        live(moves, ({ files }, table) => {
          for (const file of files.values()) {
            if (file.phase !== 'direct') continue
            const [sent, received] = [callsIn(table, file.id, 'sent'), callsIn(table, file.id, 'received')]
            expect(file.calls ?? { sent: 0, received: 0 }).toEqual({ sent, received })
          }
        })
      }),
    )
  })

  test('whoever is in no file waits behind one other that is pending, and nobody else waits for another', () => {
    fc.assert(
      fc.property(lives(60), (moves) => {
        live(moves, (_, table) => {
          const waiting: number[] = []
          const followers: number[] = []
          for (let request = 1; request <= table.last; request++) {
            const { state, file } = table.get(request)
            if (state === 'pending' && file === 0) waiting.push(request)
            const follower = table.follower(request)
            if (follower === 0) continue
            expect(state).toBe('pending')
            expect(follower).toBeGreaterThan(request)
            followers.push(follower)
          }
          expect(followers.sort((a, b) => a - b)).toEqual(waiting)
        })
      }),
    )
  })

  test('a file has no more living or passed requests than lines, and no two files of a model are open', () => {
    fc.assert(
      fc.property(lives(60), (moves) => {
        live(moves, ({ files, lastFile }) => {
          for (const { id, live, passed, requests, bytes } of files.values()) {
            expect(live).toBeGreaterThanOrEqual(0)
            expect(live + passed).toBeLessThanOrEqual(requests)
            expect(bytes).toBe(requests * 100)
            expect(id).toBeLessThanOrEqual(lastFile)
          }
          const open = [...files.values()].filter(({ phase }) => phase === 'open').map(({ model }) => model)
          expect(new Set(open).size).toBe(open.length)
        })
      }),
    )
  })

  test('nothing that was spent is ever taken back but what was never worked on', () => {
    fc.assert(
      fc.property(lives(60), (moves) => {
        let before = initialState.spending
        live(moves, ({ spending }) => {
          const { sentRequests, sentInputTokens, sentNanoUsd, ...rest } = spending
          for (const sent of [sentRequests, sentInputTokens, sentNanoUsd])
            expect(sent).toBeGreaterThanOrEqual(0)
          for (const [name, amount] of Object.entries(rest))
            expect(amount).toBeGreaterThanOrEqual(before[name as keyof typeof rest])
          before = spending
        })
      }),
    )
  })

  test('as much is reserved as its steps add up to, and only for what can still cost something', () => {
    fc.assert(
      fc.property(lives(80), (moves) => {
        const { state, steps } = live(moves)
        const naive = new NaiveReserves()
        for (const step of steps) naive.note(step)
        expect(budgetOf(state).reservedNanoUsd).toBe(naive.total)
      }),
      { numRuns: 1000 },
    )
  })

  test('nothing is reserved for a batch that was received, and for direct calls as much as is on the wire', () => {
    fc.assert(
      fc.property(lives(80), (moves) => {
        live(moves, ({ files }, table) => {
          for (const file of files.values()) {
            const { id, phase, reserved = 0 } = file
            expect(reserved).toBeGreaterThanOrEqual(0)
            if (phase === 'received' || phase === 'sealed' || phase === 'open') expect(reserved).toBe(0)
            if (phase === 'direct')
              expect(reserved).toBe(hasCap(file) ? MOST * callsIn(table, id, 'sent') : 0)
          }
        })
      }),
      { numRuns: 200 },
    )
  })

  test('tags that were given up, and strays that were seen, are never forgotten', () => {
    fc.assert(
      fc.property(lives(60), (moves) => {
        let tags = new Map<string, number>()
        let strays = new Set<string>()
        live(moves, ({ retiredTags, strays: seen, tally, atLarge }) => {
          expect([...retiredTags]).toEqual(expect.arrayContaining([...tags]))
          expect([...retiredTags.keys()]).toEqual(expect.arrayContaining([...atLarge.keys()]))
          expect(strays.isSubsetOf(seen)).toBe(true)
          expect(tally.strays).toBe(seen.size)
          tags = new Map(retiredTags)
          strays = new Set(seen.keys())
        })
      }),
    )
  })
})

test('the tag of every attempt is known for as long as no batch of it was seen, also through a wipe', () => {
  fc.assert(
    fc.property(lives(80), (moves) => {
      const { state, steps } = live(moves)
      const inFiles = [...state.files.values()].flatMap((file) => ('tag' in file ? [file.tag] : []))
      const known = new Set([...inFiles, ...state.retiredTags.keys()])
      for (const [at, step] of steps.entries()) {
        if (step.kind !== 'intent') continue
        const later = steps.slice(at + 1).filter((one) => 'file' in one && one.file === step.file)
        if (!later.some(({ kind }) => kind === 'created')) expect(known).toContain(step.tag)
      }
    }),
    { numRuns: 300 },
  )
})

test('the steps, written as JSON, read back and replayed, give the same state and requests', () => {
  fc.assert(
    fc.property(lives(80), (moves) => {
      const { state, requests, steps } = live(moves)
      const again = new RequestIndex()
      let replayed = initialState
      for (const [index, step] of steps.entries()) {
        const read = stepSchema.parse(JSON.parse(JSON.stringify(step)))
        expect(read).toEqual(step)
        replayed = applyStep(replayed, again, read, 1000 * (index + 1))
      }
      expect(dumpTask({ state: replayed, requests: again })).toEqual(dumpTask({ state, requests }))
    }),
  )
})

test('no step changes a state that was there before', () => {
  fc.assert(
    fc.property(lives(50), (moves) => {
      const states: { readonly state: TaskState; readonly copy: TaskState }[] = []
      live(moves, (state) => states.push({ state: frozen(state), copy: structuredClone(state) }))
      for (const { state, copy } of states) expect(state).toEqual(copy)
      expect(initialState.files.size + initialState.litter.size + initialState.strays.size).toBe(0)
    }),
  )
})

test('lives reach every kind of step and every phase of a file', () => {
  const kinds = new Set<string>()
  const phases = new Set<string>()
  for (const moves of fc.sample(lives(80), { numRuns: 400, seed: 7 })) {
    const { steps } = live(moves, ({ files }) => {
      for (const { phase } of files.values()) phases.add(phase)
    })
    for (const { kind } of steps) kinds.add(kind)
  }
  const all = stepSchema.options.map((one) => one.shape.kind.value)
  expect([...kinds].sort()).toEqual([...all].sort())
  expect(phases.size).toBe(PHASES.length)
})

function isPossible(state: TaskState, step: Step): boolean {
  try {
    applyStep(state, new RequestIndex(), step)
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(ImpossibleStep)
    return false
  }
}

describe('what an attempt was given when it began', () => {
  const file = 1
  const money = { at: 5, expectedNanoUsd: 7, reserved: 90 }
  const attempt: readonly Step[] = [
    { kind: 'open', file, endpoint: '/v1/responses', model: 'm' },
    { kind: 'add', file, first: 1, keys: ['a'], hashes: ['00'.repeat(8)], bytes: 10 },
    { kind: 'seal', file, as: 'batch' },
    { kind: 'intent', file, tag: 't', ...money },
    { kind: 'uploaded', file, inputFileId: 'f' },
    { kind: 'doubt', file, why: 'timeout' },
  ]
  const givenUp: readonly Step[] = [...attempt, { kind: 'abandoned', file, why: 'no batch', litter: [] }]
  const late: Step = { kind: 'created', file, batchId: 'b', inputFileId: 'f', adopted: true, tag: 't' }
  const stateAfter = (...steps: readonly Step[]): TaskState => {
    const table = new RequestIndex()
    return steps.reduce((state, step) => applyStep(state, table, step), initialState)
  }
  const given = { pricedAt: 5, expectedNanoUsd: 7, reserved: 90 }

  test('is with its batch for as long as that can cost something', () => {
    const adopted = stateAfter(...attempt, { kind: 'created', file, batchId: 'b', inputFileId: 'f' })
    expect(adopted.files.get(1)).toMatchObject(given)
    const ended = { kind: 'ended', file, status: 'completed', outputFileId: 'o' } as const
    const usage = { input: 0, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 }
    const batch = [...attempt, { ...late, tag: undefined }, ended] as const
    expect(budgetOf(stateAfter(...batch)).reservedNanoUsd).toBe(90)
    const received = stateAfter(...batch, { kind: 'received', file, usage, costNanoUsd: 20 })
    expect(budgetOf(received)).toEqual({ spentNanoUsd: 20, uncertainNanoUsd: 0, reservedNanoUsd: 0 })
  })

  test('stays charged when the batch was completed and its answers are nowhere to be seen', () => {
    const usage = { input: 0, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 }
    const created: Step = { kind: 'created', file, batchId: 'b', inputFileId: 'f' }
    const budgetAfter = (over: Partial<StepOf<'ended'>>) => {
      const ended: Step = { kind: 'ended', file, status: 'completed', ...over }
      return budgetOf(stateAfter(...attempt, created, ended, { kind: 'received', file, usage }))
    }
    const charged = { spentNanoUsd: 0, uncertainNanoUsd: 90, reservedNanoUsd: 0 }
    expect(budgetAfter({})).toEqual(charged)
    for (const over of [{ status: 'expired' }, { outputFileId: 'o' }, { usage }] as const)
      expect(budgetAfter(over)).toEqual({ ...charged, uncertainNanoUsd: 0 })
    expect(budgetAfter({ status: 'cancelled', gone: true })).toEqual(charged)
  })

  test('stays charged when the batch was refused after it was worked on, and is given up', () => {
    const counted = { input: 5, cachedInput: 0, cacheWrite: 0, output: 1, reasoning: 0 }
    const created: Step = { kind: 'created', file, batchId: 'b', inputFileId: 'f' }
    const budgetAfter = (over: Partial<StepOf<'ended'>>) => {
      const ended: Step = { kind: 'ended', file, status: 'failed', ...over }
      const abandoned: Step = { kind: 'abandoned', file, why: 'full', litter: [] }
      return budgetOf(stateAfter(...attempt, created, ended, abandoned))
    }
    const free = { spentNanoUsd: 0, uncertainNanoUsd: 0, reservedNanoUsd: 0 }
    expect(budgetAfter({ usage: counted })).toEqual({ ...free, uncertainNanoUsd: 90 })
    expect(budgetAfter({})).toEqual(free)
    // A failed batch may have files without a line in them.
    expect(budgetAfter({ errorFileId: 'e' })).toEqual(free)
  })

  test('is given back when the attempt is given up, and is not given to the next one', () => {
    expect(budgetOf(stateAfter(...givenUp)).reservedNanoUsd).toBe(0)
    const next = stateAfter(...givenUp, { kind: 'intent', file, tag: 'u' })
    for (const name of ['reserved', 'pricedAt', 'expectedNanoUsd'])
      expect(next.files.get(1)).not.toHaveProperty(name)
  })

  test.each<[string, readonly Step[]]>([
    ['a file that waits', []],
    ['a file with another attempt', [{ kind: 'intent', file, tag: 'u', at: 6, reserved: 80 }]],
  ])('comes back with its batch when that turns up late, as the batch of %s', (_, between) => {
    const state = stateAfter(...givenUp, ...between, late)
    expect(state.files.get(1)).toMatchObject(given)
    expect(budgetOf(state).reservedNanoUsd).toBe(90)
    expect(state.spending.sentNanoUsd).toBe(7)
  })

  test('comes back with its batch when that turns up late beside the batch of its file', () => {
    const other: readonly Step[] = [
      { kind: 'intent', file, tag: 'u', at: 6, reserved: 80 },
      { kind: 'uploaded', file, inputFileId: 'g' },
      { kind: 'created', file, batchId: 'c', inputFileId: 'g' },
    ]
    const stray: Step = { kind: 'stray', tag: 't', batchId: 'b', status: 'in_progress', litter: [], file }
    const state = stateAfter(...givenUp, ...other, stray)
    expect(budgetOf(state).reservedNanoUsd).toBe(80 + 90)
    expect(state.strays.get('b')).toMatchObject({ reserved: 90, pricedAt: 5 })
    const settled: Step = { kind: 'stray-settled', batchId: 'b', litter: [] }
    const ended: Step = { kind: 'stray-ended', batchId: 'b', status: 'cancelled' }
    expect(budgetOf(stateAfter(...givenUp, ...other, stray, ended)).reservedNanoUsd).toBe(80 + 90)
    expect(budgetOf(stateAfter(...givenUp, ...other, stray, ended, settled)).reservedNanoUsd).toBe(80)
  })
})

describe('what a stray was given', () => {
  const stray: Step = { kind: 'stray', tag: 't', batchId: 'b', status: 'in_progress', litter: [] }
  const reserve: Step = { kind: 'reserve', file: 0, stray: 'b', reserved: 90 }
  const settled: Step = { kind: 'stray-settled', batchId: 'b', litter: [] }
  const budgetAfter = (...steps: readonly Step[]) => {
    const table = new RequestIndex()
    return budgetOf(steps.reduce((state, step) => applyStep(state, table, step), initialState))
  }

  test('counts as soon as it is set aside', () => {
    expect(budgetAfter(stray, reserve).reservedNanoUsd).toBe(90)
    expect(budgetAfter(reserve).reservedNanoUsd).toBe(0)
  })

  test.each<[string, Partial<StepOf<'stray-ended'>>, number]>([
    ['charged when nobody knows it any more', { gone: true }, 90],
    ['charged when it was completed and its answers are nowhere to be seen', { status: 'completed' }, 90],
    ['charged when its answers are left', { outputFileId: 'o' }, 90],
    ['given back when it answered nothing', {}, 0],
  ])('is %s', (_, over, uncertainNanoUsd) => {
    const ended: Step = { kind: 'stray-ended', batchId: 'b', status: 'cancelled', ...over }
    const budget = { spentNanoUsd: 0, uncertainNanoUsd, reservedNanoUsd: 0 }
    expect(budgetAfter(stray, reserve, ended, settled)).toEqual(budget)
  })
})

describe('a step that cannot follow', () => {
  const open: Step = { kind: 'open', file: 1, endpoint: '/v1/responses', model: 'm' }
  const sealed: Step = { kind: 'seal', file: 1, as: 'batch' }
  const add: Step = { kind: 'add', file: 1, first: 1, keys: ['a'], hashes: ['00'.repeat(8)], bytes: 10 }
  const usage = { input: 0, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 }
  const stray: Step = { kind: 'stray', tag: 't', batchId: 'b', status: 'in_progress', litter: [] }

  test.each<[string, readonly Step[], Step]>([
    ['opening a file out of order', [], { ...open, file: 2 }],
    ['adding to a file that is not there', [], add],
    ['adding to a sealed file', [open, sealed], add],
    ['adding a key without its hash', [open], { ...add, hashes: [] }],
    ['sealing a file that is not there', [], sealed],
    [
      'the status of a batch that is not remote',
      [open, sealed],
      { kind: 'remote', file: 1, status: 'failed' },
    ],
    ['the end of a batch that is not remote', [open, sealed], { kind: 'ended', file: 1, status: 'failed' }],
    [
      'giving up an attempt that was not begun',
      [open, sealed],
      { kind: 'abandoned', file: 1, why: '', litter: [] },
    ],
    [
      'the end of a stray that nobody has seen',
      [],
      { kind: 'stray-ended', batchId: 'b', status: 'cancelled' },
    ],
    [
      'answers of a stray that is still going on',
      [stray],
      { kind: 'stray-received', batchId: 'b', usage, litter: [] },
    ],
    ['settling a stray that is still going on', [stray], { kind: 'stray-settled', batchId: 'b', litter: [] }],
    [
      'adopting a batch of an earlier attempt when another is under way',
      [open, sealed, { kind: 'intent', file: 1, tag: 't' }, { kind: 'uploaded', file: 1, inputFileId: 'f' }],
      { kind: 'created', file: 1, batchId: 'b', inputFileId: 'g', adopted: true, tag: 's' },
    ],
    [
      'a change of code before there is a task',
      [],
      { kind: 'drift', className: 'C', endpoint: '', schema: '' },
    ],
  ])('is refused: %s', (_, before, step) => {
    const table = new RequestIndex()
    const state = before.reduce((so, one) => applyStep(so, table, one), initialState)
    expect(() => applyStep(state, table, step)).toThrow(ImpossibleStep)
  })

  test.each<[string, Step]>([
    ['accepted', { kind: 'accepted', requests: [1], lines: 1, part: 1 }],
    ['rejected', { kind: 'rejected', request: 1, reason: 'x' }],
    ['queued again', { kind: 'requeue', file: 1, why: 'retry', requests: [1], bytes: 10 }],
  ])('is refused when a request that has its verdict is %s', (_, step) => {
    const table = new RequestIndex()
    const judged: Step = { kind: 'accepted', requests: [1], lines: 0, part: 1 }
    const state = [open, add, judged].reduce((so, one) => applyStep(so, table, one), initialState)
    expect(() => applyStep(state, table, step)).toThrow(ImpossibleStep)
    expect(table.get(1).state).toBe('succeeded')
  })

  const file = 1
  const steps: readonly (readonly [string, Step])[] = [
    ['open', { kind: 'seal', file, as: 'batch' }],
    ['sealed', { kind: 'intent', file, tag: 't' }],
    ['intended', { kind: 'uploaded', file, inputFileId: 'f' }],
    ['uploaded', { kind: 'doubt', file, why: '' }],
    ['uploaded doubtful', { kind: 'fenced', file, at: 0 }],
    ['uploaded doubtful fenced', { kind: 'created', file, batchId: 'b', inputFileId: 'f' }],
    ['intended uploaded doubtful fenced ended', { kind: 'abandoned', file, why: '', litter: [] }],
    ['remote', { kind: 'remote', file, status: 'finalizing' }],
    ['remote', { kind: 'ended', file, status: 'completed' }],
  ]
  test.each(steps)('is refused in every phase but: %s', (allowed, step) => {
    const inPhase = PHASES.map(
      (phase) => [phase, { ...initialState, files: new Map([[1, queueFile(phase)]]) }] as const,
    )
    const possible = inPhase.filter(([, state]) => isPossible(state, step)).map(([phase]) => phase)
    expect(possible).toEqual(allowed.split(' '))
  })

  test.each<[string, Step]>([
    ['a verdict', { kind: 'rejected', request: 2, reason: 'x' }],
    ['an accepted answer', { kind: 'accepted', requests: [1, 2], lines: 2, part: 1 }],
    ['a direct call', { kind: 'sent', file: 1, requests: [2] }],
    ['an answer', { kind: 'received', file: 1, requests: [2], usage }],
    ['a request out of order', { ...add, first: 5 }],
  ])('is refused when it names a request that is not there: %s', (_, step) => {
    const table = new RequestIndex()
    const state = [open, add].reduce((so, one) => applyStep(so, table, one), initialState)
    expect(() => applyStep(state, table, step)).toThrow(RangeError)
  })
})
