import { describe, expect, test } from 'vitest'
import { applyStep } from '../../src/batch/apply-step.ts'
import { waitingIn } from '../../src/batch/deadline-facts.ts'
import { RequestIndex } from '../../src/batch/request-index.ts'
import type { Step } from '../../src/batch/steps.ts'
import { initialState, type TaskState } from '../../src/batch/task-state.ts'
import { PHASES, queueFile } from '../support/queue-files.ts'

const KEYS = ['a', 'b', 'c', 'd']

/** A batch of four requests at the server. */
const CREATED: readonly Step[] = [
  { kind: 'open', file: 1, endpoint: '/v1/chat/completions', model: 'm' },
  { kind: 'add', file: 1, first: 1, keys: [...KEYS], hashes: KEYS.map(() => '0'.repeat(16)), bytes: 400 },
  { kind: 'seal', file: 1, as: 'batch' },
  { kind: 'intent', file: 1, tag: 't' },
  { kind: 'uploaded', file: 1, inputFileId: 'f' },
  { kind: 'created', file: 1, batchId: 'b', inputFileId: 'f' },
]
const usage = { input: 4, cachedInput: 0, cacheWrite: 0, output: 4, reasoning: 0 }

function stateAfter(...steps: readonly Step[]) {
  const requests = new RequestIndex()
  const state = steps.reduce((now: TaskState, step) => applyStep(now, requests, step, 0), initialState)
  return { state, requests }
}

describe('what waits', () => {
  const nothing = { completed: 0, isEnding: false }

  test('is all that is not sent', () => {
    const waiting = PHASES.filter((phase) => waitingIn(queueFile(phase, { live: 2 }), nothing) === 2)
    expect(waiting).toEqual(['open', 'sealed', 'intended', 'uploaded', 'doubtful', 'fenced', 'direct'])
  })

  test('is what a batch will not answer any more', () => {
    const remote = queueFile('remote', { requests: 10, live: 10 })
    expect(waitingIn(remote, { completed: 4, isEnding: false })).toBe(0)
    expect(waitingIn(remote, { completed: 4, isEnding: true })).toBe(6)
    const ended = queueFile('ended', { requests: 10, live: 10 })
    expect(waitingIn(ended, { completed: 4, isEnding: true })).toBe(0)
    expect(waitingIn({ ...ended, ...{ status: 'cancelled' } }, { completed: 4, isEnding: true })).toBe(6)
  })

  test('is never more than what has no verdict', () => {
    const received = queueFile('received', { requests: 10, live: 2 })
    expect(waitingIn({ ...received, ...{ status: 'cancelled', answers: 4 } }, nothing)).toBe(2)
  })
})

describe('a batch that was recalled', () => {
  const recalled: readonly Step[] = [
    ...CREATED,
    { kind: 'remote', file: 1, status: 'cancelling', recalled: true },
    { kind: 'remote', file: 1, status: 'in_progress' },
    { kind: 'ended', file: 1, status: 'cancelled' },
    { kind: 'received', file: 1, usage, answers: 1 },
  ]

  test('stays one until it is forgotten', () => {
    expect(stateAfter(...recalled).state.files.get(1)).toMatchObject({ phase: 'received', recalled: true })
  })

  test('uses nothing up of what it did not answer, and fails no ratio by it', () => {
    const { state, requests } = stateAfter(
      ...recalled,
      { kind: 'open', file: 2, endpoint: '/v1/chat/completions', model: 'm' },
      { kind: 'requeue', file: 2, why: 'recalled', requests: [2, 3, 4], bytes: 300 },
    )
    expect(state.files.get(1)).toMatchObject({ live: 1, passed: 3 })
    expect(requests.get(2)).toMatchObject({ state: 'pending', file: 2, attempt: 0, expiries: 0, queued: 1 })
    expect(state.tally).toMatchObject({ retries: 0, expired: 0 })
  })

  test('is none any more when it is given up and sent as another', () => {
    const { state } = stateAfter(
      ...CREATED,
      { kind: 'remote', file: 1, status: 'cancelling', recalled: true },
      { kind: 'ended', file: 1, status: 'failed' },
      { kind: 'abandoned', file: 1, why: 'full', litter: [] },
    )
    expect(state.files.get(1)).toMatchObject({ phase: 'sealed' })
    expect(state.files.get(1)?.recalled).toBeUndefined()
  })
})

test('of the durations of batches the last two hundred are kept', () => {
  const steps = Array.from({ length: 205 }, (_, index): Step[] => [
    ...CREATED.map((step) => ('file' in step ? { ...step, file: index + 1 } : step)).map((step) =>
      step.kind === 'add'
        ? { ...step, first: index * 4 + 1, keys: KEYS.map((key) => `${key}${index}`) }
        : step.kind === 'created'
          ? { ...step, batchId: `b${index}` }
          : step,
    ),
    { kind: 'ended', file: index + 1, status: index % 2 ? 'completed' : 'expired', tookMs: index * 1000 },
  ]).flat()
  const { batchDurationsMs } = stateAfter(...steps).state
  expect(batchDurationsMs).toHaveLength(200)
  expect(batchDurationsMs.at(0)).toBe(5_000)
  expect(batchDurationsMs.at(-1)).toBe(204_000)
})

test.each(['failed', 'cancelled'] as const)('what a batch took that %s is not among them', (status) => {
  const { batchDurationsMs } = stateAfter(...CREATED, { kind: 'ended', file: 1, status, tookMs: 1000 }).state
  expect(batchDurationsMs).toEqual([])
})
