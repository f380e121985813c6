import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Allowance,
  blockedBy,
  callBlockedBy,
  isLasting,
  type Load,
  limitBytes,
  limitTokens,
  nanoUsd,
  type SendLimits,
} from '../../src/batch/limits.ts'
import type { QueueFile } from '../../src/batch/queue-file.ts'
import { initialState, type Spending, type TaskState } from '../../src/batch/task-state.ts'
import { queueFile, queueFiles } from '../support/queue-files.ts'
import { tokensOf, unlimitedSend } from '../support/valuation.ts'

const limitSets: fc.Arbitrary<SendLimits> = fc.record({
  maxTaskRequests: fc.nat(80),
  maxTaskTokens: fc.nat(8000),
  maxTaskNanoUsd: fc.nat(20_000),
  maxSessionRequests: fc.nat(80),
  maxSessionTokens: fc.nat(8000),
  maxSessionNanoUsd: fc.nat(20_000),
  maxRemoteBatches: fc.nat(6),
  maxRemoteRequests: fc.nat(80),
  maxRemoteBytes: fc.nat(8000),
  maxRemoteTokens: fc.nat(8000),
  maxRemoteNanoUsd: fc.nat(20_000),
  maxSpendNanoUsd: fc.option(fc.nat(40_000), { nil: undefined }),
})
/** Spending of a task and, of it, what was spent before this run. */
const pasts = fc
  .record({ requests: fc.nat(40), tokens: fc.nat(2000), nanoUsd: fc.nat(5000), cost: fc.nat(5000) })
  .map(
    ({ requests, tokens, nanoUsd, cost }): Spending => ({
      ...initialState.spending,
      sentRequests: requests,
      sentInputTokens: tokens,
      sentNanoUsd: nanoUsd,
      costNanoUsd: cost,
    }),
  )

const PROMISED = ['intended', 'uploaded', 'doubtful', 'fenced']
const AT_SERVER = ['remote', 'ended']
const isPromised = ({ phase }: QueueFile) => PROMISED.includes(phase)
const isOut = (file: QueueFile) => isPromised(file) || AT_SERVER.includes(file.phase)
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0)
const inputOf = ({ tokens }: QueueFile): number => tokens?.input ?? 0
const expectedOf = ({ expectedNanoUsd = 0 }: QueueFile): number => expectedNanoUsd
const reservedOf = ({ reserved = 0 }: QueueFile): number => reserved

const stateOf = (files: readonly QueueFile[], spending = initialState.spending): TaskState => ({
  ...initialState,
  spending,
  files: new Map(files.map((file) => [file.id, file])),
})

/** What a sealed file is: what it would have reserved is the most it can cost. */
const loadOf = (file: QueueFile): Load => ({
  requests: file.requests,
  bytes: file.bytes,
  tokens: inputOf(file),
  nanoUsd: expectedOf(file),
  mostNanoUsd: reservedOf(file),
})

const pushed = (spending: Spending, file: QueueFile): Spending => ({
  ...spending,
  sentRequests: spending.sentRequests + file.requests,
  sentInputTokens: spending.sentInputTokens + inputOf(file),
  sentNanoUsd: spending.sentNanoUsd + expectedOf(file),
})

/** Submits files one after another as far as the limits allow; creates are confirmed at once or never. */
function submitAll({ state: begin, before, limits }: Allowance, confirm: boolean): TaskState {
  let state = begin
  for (const file of begin.files.values()) {
    if (file.phase !== 'sealed' || blockedBy(loadOf(file), { state, before, limits }).length > 0) continue
    const files = new Map(state.files).set(file.id, queueFile(confirm ? 'remote' : 'intended', file))
    state = { ...state, files, spending: confirm ? pushed(state.spending, file) : state.spending }
  }
  return state
}

/** Of a sealed file nothing is set aside yet; the arbitrary's `reserved` says what will be. */
const queue = queueFiles(['sealed', 'open', 'received'])

describe('submitting as much as the limits allow', () => {
  test('never passes any of them, whether creates are confirmed at once or stay open', () => {
    fc.assert(
      fc.property(queue, pasts, limitSets, fc.boolean(), (files, before, limits, confirm) => {
        const after = submitAll({ state: stateOf(files, before), before, limits }, confirm)
        const out = [...after.files.values()].filter(isOut)
        if (out.length === 0) return
        const amounts: readonly (readonly [number, number])[] = [
          [out.length, limits.maxRemoteBatches],
          [sum(out.map(({ requests }) => requests)), limits.maxRemoteRequests],
          [sum(out.map(({ bytes }) => bytes)), limits.maxRemoteBytes],
          [sum(out.map(inputOf)), limits.maxRemoteTokens],
          [sum(out.map(expectedOf)), limits.maxRemoteNanoUsd],
          [sum(out.map(({ requests }) => requests)), limits.maxSessionRequests],
          [sum(out.map(inputOf)), limits.maxSessionTokens],
          [sum(out.map(expectedOf)), limits.maxSessionNanoUsd],
          [before.sentRequests + sum(out.map(({ requests }) => requests)), limits.maxTaskRequests],
          [before.sentInputTokens + sum(out.map(inputOf)), limits.maxTaskTokens],
          [before.sentNanoUsd + sum(out.map(expectedOf)), limits.maxTaskNanoUsd],
          // A past run may have had a higher cap: then only what costs nothing may go.
          [
            before.costNanoUsd + sum(out.map(reservedOf)),
            Math.max(before.costNanoUsd, limits.maxSpendNanoUsd ?? Number.POSITIVE_INFINITY),
          ],
        ]
        for (const [amount, most] of amounts) expect(amount).toBeLessThanOrEqual(most)
      }),
      { numRuns: 1000 },
    )
  })

  test('leaves no batch behind that would still fit', () => {
    fc.assert(
      fc.property(queueFiles(['sealed']), pasts, limitSets, (files, before, limits) => {
        const state = submitAll({ state: stateOf(files, before), before, limits }, true)
        const left = [...state.files.values()].filter(({ phase }) => phase === 'sealed')
        for (const file of left) expect(blockedBy(loadOf(file), { state, before, limits })).not.toEqual([])
      }),
    )
  })
})

test('nothing blocks a batch without limits, whatever else is under way', () => {
  fc.assert(
    fc.property(queueFiles(), pasts, (files, before) => {
      const load = { ...loadOf(queueFile('sealed', { id: 99 })), mostNanoUsd: undefined }
      expect(blockedBy(load, { state: stateOf(files), before, limits: unlimitedSend })).toEqual([])
    }),
  )
})

describe('one batch of 10 requests, 1,000 bytes, 100 tokens and 200 nano-USD', () => {
  const shared = { bytes: 500, tokens: tokensOf(50), expectedNanoUsd: 100, reserved: 300 }
  const other = queueFile('remote', { ...shared, id: 2, requests: 5 })
  const onItsWay = queueFile('doubtful', { ...shared, id: 3, requests: 5 })
  const load: Load = { requests: 10, bytes: 1000, tokens: 100, nanoUsd: 200, mostNanoUsd: 600 }
  const before = { ...initialState.spending, sentRequests: 50, sentInputTokens: 500, sentNanoUsd: 1000 }
  const sent = { sentRequests: 100, sentInputTokens: 1000, sentNanoUsd: 2000 }
  const money = { costNanoUsd: 900, uncertainNanoUsd: 70 }
  const state = stateOf([other, onItsWay], { ...initialState.spending, ...sent, ...money })
  const by = (limits: Partial<SendLimits>) => ({ state, before, limits: { ...unlimitedSend, ...limits } })

  test.each<[keyof SendLimits, number, string]>([
    ['maxTaskRequests', 115, 'max task requests'],
    ['maxTaskTokens', 1150, 'max task tokens'],
    ['maxTaskNanoUsd', 2300, 'max task cost'],
    ['maxSessionRequests', 65, 'max session requests'],
    ['maxSessionTokens', 650, 'max session tokens'],
    ['maxSessionNanoUsd', 1300, 'max session cost'],
    ['maxRemoteBatches', 3, 'max remote batches'],
    ['maxRemoteRequests', 20, 'max remote requests'],
    ['maxRemoteBytes', 2000, 'max remote size'],
    ['maxRemoteTokens', 200, 'max remote tokens'],
    ['maxRemoteNanoUsd', 400, 'max remote cost'],
    ['maxSpendNanoUsd', 900 + 70 + 300 + 300 + 600, 'max spend'],
  ])('may reach %s (%d) and not pass it', (limit, most, reason) => {
    expect(blockedBy(load, by({ [limit]: most }))).toEqual([])
    expect(blockedBy(load, by({ [limit]: most - 1 }))).toEqual([reason])
  })

  test('is told all that is in its way', () => {
    expect(blockedBy(load, by({ maxTaskTokens: 0, maxRemoteBatches: 2, maxSpendNanoUsd: 0 }))).toEqual([
      'max task tokens',
      'max remote batches',
      'max spend',
    ])
  })

  test('is not sent under a hard cap, however high, when nobody knows what it can cost', () => {
    const unknown = { ...load, mostNanoUsd: undefined }
    expect(blockedBy(unknown, by({ maxSpendNanoUsd: 1e18 }))).toEqual(['max spend'])
    expect(callBlockedBy(unknown, by({ maxSpendNanoUsd: 1e18 }))).toEqual(['max spend'])
    expect(blockedBy(unknown, by({}))).toEqual([])
  })
})

test('only limits on the task and the run last: remote ones, and the hard cap, pass', () => {
  expect((['max task requests', 'max task tokens', 'max task cost'] as const).every(isLasting)).toBe(true)
  expect((['max session requests', 'max session tokens', 'max session cost'] as const).every(isLasting)).toBe(
    true,
  )
  const passing = [
    'max remote batches',
    'max remote requests',
    'max remote size',
    'max remote tokens',
    'max remote cost',
    'max spend',
  ] as const
  expect(passing.some(isLasting)).toBe(false)
})

const callLoads: fc.Arbitrary<Load> = fc.record({
  requests: fc.constant(1),
  bytes: fc.constant(0),
  tokens: fc.nat(4000),
  nanoUsd: fc.nat(9000),
  mostNanoUsd: fc.option(fc.nat(20_000), { nil: undefined }),
})

describe('a direct call', () => {
  test('gets what neither batches on their way nor earlier calls have taken', () => {
    fc.assert(
      fc.property(
        ...([queueFiles(), pasts, pasts, limitSets, callLoads] as const),
        (files, past, before, limits, load) => {
          const state = stateOf(files, past)
          const promised = files.filter(isPromised)
          const requests = past.sentRequests + sum(promised.map((file) => file.requests)) + 1
          const tokens = past.sentInputTokens + sum(promised.map(inputOf)) + load.tokens
          const cost = past.sentNanoUsd + sum(promised.map(expectedOf)) + load.nanoUsd
          const fits =
            requests <= limits.maxTaskRequests &&
            tokens <= limits.maxTaskTokens &&
            cost <= limits.maxTaskNanoUsd &&
            requests - before.sentRequests <= limits.maxSessionRequests &&
            tokens - before.sentInputTokens <= limits.maxSessionTokens &&
            cost - before.sentNanoUsd <= limits.maxSessionNanoUsd
          const reasons = callBlockedBy(load, { state, before, limits })
          expect(reasons.every((reason) => reason === 'max spend')).toBe(fits)
        },
      ),
      { numRuns: 500 },
    )
  })

  test('is not held up by limits on what is remote', () => {
    const limits = {
      ...unlimitedSend,
      ...{ maxRemoteBatches: 0, maxRemoteRequests: 0, maxRemoteBytes: 0 },
      ...{ maxRemoteTokens: 0, maxRemoteNanoUsd: 0 },
    }
    const load = { requests: 1, bytes: 10, tokens: 10, nanoUsd: 10, mostNanoUsd: 20 }
    const allowance = { state: initialState, before: initialState.spending, limits }
    expect(callBlockedBy(load, allowance)).toEqual([])
    expect(blockedBy(load, allowance)).toHaveLength(5)
  })

  test('passes the hard cap neither alone nor with what is reserved for others', () => {
    const state = stateOf([
      queueFile('direct', { id: 1, reserved: 40 }),
      queueFile('remote', { id: 2, reserved: 30 }),
    ])
    const limits = { ...unlimitedSend, maxSpendNanoUsd: 100 }
    const of = (mostNanoUsd: number) => ({ requests: 1, bytes: 0, tokens: 0, nanoUsd: 0, mostNanoUsd })
    expect(callBlockedBy(of(30), { state, before: initialState.spending, limits })).toEqual([])
    expect(callBlockedBy(of(31), { state, before: initialState.spending, limits })).toEqual(['max spend'])
  })
})

test('a limit in MB counts millions of bytes, is divided by its safety factor and is never under 1 MB', () => {
  expect(limitBytes(100, 1)).toBe(100_000_000)
  expect(limitBytes(100, 1.25)).toBe(80_000_000)
  expect(limitBytes(1, 1.01)).toBe(1_000_000)
  fc.assert(
    fc.property(
      fc.double({ min: 1, max: 1e6, noNaN: true }),
      fc.double({ min: 1, max: 3, noNaN: true }),
      (mb, safety) => {
        const bytes = limitBytes(mb, safety)
        expect(Number.isInteger(bytes)).toBe(true)
        expect(bytes).toBeGreaterThanOrEqual(1_000_000)
        expect(bytes).toBeLessThanOrEqual(Math.max(1_000_000, mb * 1_000_000 + 1))
      },
    ),
  )
})

test('a limit in thousands of tokens is divided by its safety factor and is never under the least', () => {
  expect(limitTokens(2000, 1, 1000)).toBe(2_000_000)
  expect(limitTokens(2000, 1.25, 1000)).toBe(1_600_000)
  expect(limitTokens(0.5, 1, 1000)).toBe(1000)
  expect(limitTokens(0, 1, 0)).toBe(0)
})

test('an amount in USD is a whole number of nano-USD, also where floating point has no such number', () => {
  expect(nanoUsd(0.1 + 0.2)).toBe(300_000_000)
  expect(nanoUsd(1.005)).toBe(1_005_000_000)
  expect(nanoUsd(0)).toBe(0)
})
