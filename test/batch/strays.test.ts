import { describe, expect, test } from 'vitest'
import { applyStep } from '../../src/batch/apply-step.ts'
import type { Phase } from '../../src/batch/queue-file.ts'
import { RequestIndex } from '../../src/batch/request-index.ts'
import type { Step } from '../../src/batch/steps.ts'
import { findingOf, inputsInUse, mayServe, noteSteps, oldestStrayDate } from '../../src/batch/strays.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'
import { PHASES, queueFile } from '../support/queue-files.ts'

const stateOf = (steps: readonly Step[], from: TaskState = initialState): TaskState =>
  steps.reduce((state, step) => applyStep(state, new RequestIndex(), step), from)

const FILE_1: readonly Step[] = [
  { kind: 'open', file: 1, endpoint: '/v1/responses', model: 'm' },
  { kind: 'add', file: 1, first: 1, keys: ['a'], hashes: ['0'.repeat(16)], bytes: 9 },
  { kind: 'seal', file: 1, as: 'batch' },
]
const ATTEMPT: readonly Step[] = [
  { kind: 'intent', file: 1, tag: 't1' },
  { kind: 'uploaded', file: 1, inputFileId: 'f1', since: 50_000 },
]
const GIVEN_UP: readonly Step[] = [
  { kind: 'doubt', file: 1, why: 'timeout' },
  { kind: 'fenced', file: 1, at: 0 },
  { kind: 'abandoned', file: 1, why: 'no batch', litter: [] },
]
const atLarge = stateOf([...FILE_1, ...ATTEMPT, ...GIVEN_UP])
/** The queue file in some phase, an attempt of it being at large. */
const inPhaseNow = (phase: Phase): TaskState => ({ ...atLarge, files: new Map([[1, queueFile(phase)]]) })

const late = { id: 'b1', tag: 't1', inputFileId: 'f1', status: 'in_progress' } as const

describe('an attempt that was given up', () => {
  test.each<[string, readonly Step[], number]>([
    ['after a fence is at large', [...ATTEMPT, ...GIVEN_UP], 1],
    ['before its upload is not', [{ kind: 'intent', file: 1, tag: 't1' }, abandoned()], 0],
    ['since its create was refused is not', [...ATTEMPT, abandoned()], 0],
    [
      'since its batch failed is not',
      [
        ...ATTEMPT,
        { kind: 'created', file: 1, batchId: 'b', inputFileId: 'f1' },
        { kind: 'ended', file: 1, status: 'failed' },
        abandoned(),
      ],
      0,
    ],
    [
      'by a wipe is, when its create was in doubt',
      [
        ...ATTEMPT,
        { kind: 'doubt', file: 1, why: '' },
        { kind: 'wiped', scope: 'requests', pending: 1, failed: 0, thrownAway: 0 },
      ],
      1,
    ],
  ])('%s', (_, steps, count) => {
    const state = stateOf([...FILE_1, ...steps])
    expect([...state.retiredTags.keys()]).toEqual(['t1'])
    expect(state.atLarge.size).toBe(count)
  })

  test('ends to be at large when its batch has turned up', () => {
    for (const phase of ['sealed', 'remote'] as const) {
      const state = inPhaseNow(phase)
      const noted = stateOf(noteSteps(state, late, 0), state)
      expect(noted.atLarge.size).toBe(0)
      expect(noted.retiredTags).toEqual(atLarge.retiredTags)
      expect(noteSteps(noted, late, 0)).toEqual([])
    }
  })

  test('is looked for no further back than its input file is old', () => {
    expect(oldestStrayDate(initialState)).toBeUndefined()
    expect(oldestStrayDate(atLarge)).toBe(50_000 - 3_600)
    const undated = stateOf([{ kind: 'intent', file: 1, tag: 't2' }], stateOf(FILE_1))
    const older = stateOf([{ kind: 'uploaded', file: 1, inputFileId: 'f2' }, ...GIVEN_UP], undated)
    expect(oldestStrayDate(older)).toBeLessThan(0)
  })
})

function abandoned(): Step {
  return { kind: 'abandoned', file: 1, why: '', litter: [] }
}

describe('a listed batch of an attempt at large', () => {
  test('is adopted while its queue file has no other, and is a stray in every other case', () => {
    const adopting = PHASES.filter((phase) => findingOf(inPhaseNow(phase), late).kind === 'adopt')
    const straying = PHASES.filter((phase) => findingOf(inPhaseNow(phase), late).kind === 'stray')
    expect(adopting).toEqual(['sealed', 'intended'])
    expect(straying).toEqual(PHASES.filter((phase) => !adopting.includes(phase)))
    expect(findingOf({ ...atLarge, files: new Map() }, late).kind).toBe('stray')
  })

  test('is never adopted once it has failed', () => {
    expect(findingOf(atLarge, { ...late, status: 'failed' }).kind).toBe('stray')
  })

  test('is known by its input file where the server keeps no metadata', () => {
    expect(findingOf(atLarge, { ...late, tag: undefined })).toEqual({ kind: 'adopt', file: 1, tag: 't1' })
    expect(findingOf(atLarge, { ...late, tag: undefined, inputFileId: 'f9' }).kind).toBe('other')
    expect(findingOf(atLarge, { ...late, tag: 'somebody-else' }).kind).toBe('other')
  })

  test('makes the upload of a later attempt one to be searched for', () => {
    const state = stateOf([{ kind: 'intent', file: 1, tag: 't2' }], atLarge)
    const noted = stateOf(noteSteps(state, late, 7), state)
    expect(noted.files.get(1)).toMatchObject({ phase: 'remote', tag: 't1', batchId: 'b1', adopted: true })
    expect([...noted.uploadDoubts]).toEqual([['t2', 7]])
  })
})

test('a second batch of the attempt that a queue file is at is a stray, and shares its input', () => {
  const state = stateOf([
    ...FILE_1,
    ...ATTEMPT,
    { kind: 'created', file: 1, batchId: 'b0', inputFileId: 'f1' },
  ])
  expect(findingOf(state, { ...late, id: 'b0' }).kind).toBe('other')
  expect(findingOf(state, late)).toEqual({ kind: 'stray', file: 1, tag: 't1' })
  expect(inputsInUse(state)).toContain('f1')
})

test('a stray serves for as long as requests of its queue file wait', () => {
  const usage = { input: 0, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 }
  const state = inPhaseNow('remote')
  const ended: Step = { kind: 'stray-ended', batchId: 'b1', status: 'cancelled', outputFileId: 'o1' }
  const received: Step = {
    kind: 'stray-received',
    batchId: 'b1',
    usage,
    costNanoUsd: 9,
    litter: ['f1', 'o1'],
  }
  const after = stateOf([...noteSteps(state, late, 0), ended, received], state)
  const stray = after.strays.get('b1')
  expect(stray).toMatchObject({ phase: 'received', file: 1, place: 1, inputFileId: 'f1' })
  expect(after.spending.costNanoUsd).toBe(9)
  expect([...after.litter]).toEqual(['f1', 'o1'])
  expect(stray && mayServe(after, stray)).toBe(true)
  const done = { ...after, files: new Map([[1, queueFile('remote', { live: 0 })]]) }
  expect(stray && mayServe(done, stray)).toBe(false)
})

test('what the first release wrote about strays is read as a stray to be settled', () => {
  const state = stateOf(
    [{ kind: 'stray', tag: 't1', batchId: 'b1', status: 'in_progress', litter: [] }],
    atLarge,
  )
  expect(state.strays.get('b1')).toEqual({ phase: 'live', batchId: 'b1', tag: 't1', file: 1, place: 1 })
})
