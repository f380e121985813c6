import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { GatewayBatch, QueueLoad } from '../../../src/gateway/domain/batch.ts'
import type { StoredRequest } from '../../../src/gateway/domain/request.ts'
import { type CutFacts, cutDecision } from '../../../src/gateway/engine/cut-decision.ts'
import { modelFault } from '../../../src/gateway/engine/model-fault.ts'
import { type Failed, ruleOnFailed } from '../../../src/gateway/engine/rulings.ts'
import { freshKnowledge, submitAction } from '../../../src/gateway/engine/submit-facts.ts'
import { GROUP } from '../../support/gateway-stores.ts'

const load = (parts: Partial<QueueLoad> = {}): QueueLoad => ({
  ...GROUP,
  requests: 3,
  bytes: 300,
  tokens: 30,
  oldestAt: 1_000,
  deadlineAt: undefined,
  ...parts,
})

const facts = (parts: Partial<CutFacts> = {}): CutFacts => ({
  nowMs: 2_000,
  windowMs: 5_000,
  limits: { requests: 10, bytes: 1_000, tokens: 100, inputs: 50_000 },
  directBelow: 0,

  ...parts,
})

describe('a group that waits', () => {
  test.each([
    ['waits for its window', load(), facts(), { do: 'wait', untilMs: 6_000 }],
    ['is cut when its window ends', load(), facts({ nowMs: 6_000 }), { do: 'cut' }],
    ['is cut when it has as many requests as may be', load({ requests: 10 }), facts(), { do: 'cut' }],
    ['is cut when it has as many bytes as may be', load({ bytes: 1_000 }), facts(), { do: 'cut' }],
    ['is cut when it has as many tokens as may be', load({ tokens: 100 }), facts(), { do: 'cut' }],
    ['goes directly when it is small', load(), facts({ nowMs: 6_000, directBelow: 4 }), { do: 'direct' }],
    ['goes in a batch when it is not', load(), facts({ nowMs: 6_000, directBelow: 3 }), { do: 'cut' }],
    ['is cut when the clock was set back', load({ oldestAt: 9_000_000 }), facts(), { do: 'cut' }],
  ])('%s', (_, group, known, decision) => {
    expect(cutDecision(group, known)).toEqual(decision)
  })

  test('never waits longer than its window', () => {
    const whole = fc.integer({ min: 0, max: 100_000 })
    fc.assert(
      fc.property(whole, whole, whole, (oldestAt, nowMs, windowMs) => {
        const decision = cutDecision(load({ oldestAt }), facts({ nowMs, windowMs }))
        if (decision.do === 'wait') expect(decision.untilMs - nowMs).toBeLessThanOrEqual(2 * windowMs)
        else expect(nowMs >= oldestAt + windowMs || oldestAt > nowMs + windowMs).toBe(true)
      }),
    )
  })
})

const request = (parts: Partial<StoredRequest>): StoredRequest => ({
  ...GROUP,
  id: 'req_1',
  state: 'batched',
  fingerprint: '',
  idempotencyKey: undefined,
  mode: 'async',
  priority: 'normal',
  deadlineAt: undefined,
  maxNanoUsd: undefined,
  webhook: undefined,
  route: 'batch',
  lineBytes: 1,
  tokens: { requests: 1, input: 1, output: 1, mostInput: 1, mostOutput: 1, longest: 1, unbounded: 0 },
  reservedNanoUsd: 0,
  batch: 1,
  attempts: 0,
  expiries: 0,
  createdAt: 0,
  readyAt: 0,
  finishedAt: undefined,
  deliveredAt: undefined,
  ending: undefined,
  costNanoUsd: undefined,
  ...parts,
})

const failed = (parts: Partial<Failed>): Failed => ({
  status: 500,
  body: '{}',
  uses: 'attempt',
  mayPass: true,
  ...parts,
})

const ruling = (of: Partial<StoredRequest>, why: Partial<Failed>) =>
  ruleOnFailed(request(of), failed(why), {
    limits: { maxAttempts: 3, maxExpiries: 2 },
    nowMs: 1_000,
    route: 'batch',
  })

describe('a request that failed', () => {
  test.each([
    ['is sent again after a pause', {}, {}, { kind: 'again', uses: 'attempt', readyAt: 6_000 }],
    ['after a longer one', { attempts: 1 }, {}, { kind: 'again', uses: 'attempt', readyAt: 11_000 }],
    ['until its attempts are used up', { attempts: 2 }, {}, { kind: 'ended', ending: 'failed', status: 500 }],
    ['not when that cannot help', {}, { mayPass: false }, { kind: 'ended', ending: 'failed' }],
    ['at once when it was not tried', { attempts: 2 }, { uses: 'expiry' }, { kind: 'again', readyAt: 1_000 }],
    ['until it has expired too often', { expiries: 2 }, { uses: 'expiry' }, { kind: 'ended' }],
    ['always when it was never sent', { attempts: 9, expiries: 9 }, { uses: 'nothing' }, { kind: 'again' }],
    [
      'later when the account was refused',
      { expiries: 1 },
      { uses: 'expiry', isRefusal: true },
      { kind: 'again', readyAt: 121_000 },
    ],
  ] as const)('%s', (_, of, why, outcome) => {
    expect(ruling(of, why)).toMatchObject(outcome)
  })

  test('comes to an end, whatever it fails of', () => {
    const uses = fc.constantFrom('attempt' as const, 'expiry' as const)
    fc.assert(
      fc.property(fc.array(uses, { minLength: 5, maxLength: 5 }), (failures) => {
        let [attempts, expiries] = [0, 0]
        const ends = failures.map((what) => {
          const { kind } = ruling({ attempts, expiries }, { uses: what })
          if (what === 'attempt') attempts++
          else expiries++
          return kind
        })
        expect(ends).toContain('ended')
      }),
    )
  })
})

describe('a batch on its way', () => {
  const batch = (parts: Partial<GatewayBatch>): GatewayBatch => ({
    ...GROUP,
    number: 1,
    phase: 'sealed',
    requests: 5,
    live: 5,
    bytes: 500,
    tokens: 50,
    createdAt: 0,
    phaseAt: 0,
    phaseEpoch: 1,
    epoch: 1,
    tag: 't',
    uploadInDoubt: false,
    inputFileId: 'file-1',
    since: 0,
    fencedAt: undefined,
    batchId: undefined,
    adopted: false,
    status: undefined,
    remote: undefined,
    outputFileId: undefined,
    errorFileId: undefined,
    faults: [],
    looks: 0,
    failures: 0,
    cancel: undefined,
    deadlineAt: undefined,
    nextAt: 0,
    note: undefined,
    ...parts,
  })
  const action = (of: Partial<GatewayBatch>, epoch = 1, cap?: number) =>
    submitAction(batch(of), {
      knowledge: freshKnowledge(batch(of), epoch),
      nowMs: 100_000,
      graceMs: 30_000,
      cap,
    })

  test.each([
    ['is intended', { phase: 'sealed' }, 1, { do: 'intend' }],
    ['is sent without those that have ended', { phase: 'sealed', live: 2 }, 1, { do: 'intend' }],
    ['is nothing when all have ended', { phase: 'sealed', live: 0 }, 1, { do: 'requeue' }],
    ['is created by the one that committed its upload', { phase: 'uploaded' }, 1, { do: 'create' }],
    ['is never created by another', { phase: 'uploaded' }, 2, { do: 'find-batch' }],
    ['is not uploaded by another before it is doubted', { phase: 'intended' }, 2, { do: 'doubt-upload' }],
    [
      'is looked for before it is uploaded again',
      { phase: 'intended', uploadInDoubt: true },
      1,
      { do: 'find-upload' },
    ],
    ['is given up when it is cancelled', { phase: 'intended', cancel: 'caller' }, 1, { do: 'abandon' }],
    ['waits for its grace', { phase: 'fenced', fencedAt: 90_000 }, 1, { do: 'wait', untilMs: 120_000 }],
    ['is looked for after its grace', { phase: 'fenced', fencedAt: 1_000 }, 1, { do: 'find-batch' }],
    ['is left to others once it is there', { phase: 'remote' }, 2, { do: 'nothing' }],
    ['is nothing when it is done', { phase: 'done' }, 2, { do: 'nothing' }],
  ] as const)('%s', (_, of, epoch, expected) => {
    expect(action(of, epoch)).toEqual(expected)
  })

  test('goes back into the queue when it is too large to be enqueued, but not a single request', () => {
    expect(action({}, 1, 49)).toEqual({ do: 'requeue' })
    expect(action({}, 1, 50)).toEqual({ do: 'intend' })
    expect(action({ live: 1 }, 1, 49)).toEqual({ do: 'intend' })
  })
})

describe('a fault is about the model', () => {
  test.each([
    ['model_not_found', 'The model `x` does not exist', true],
    ['invalid_request', 'The model gpt-9 is not supported with the Batch API.', true],
    ['invalid_value', 'This model cannot be batched', true],
    ['mismatched_model', 'model x is not supported beside model y', false],
    ['token_limit_exceeded', 'Enqueued token limit reached for gpt-5 in organization o.', false],
    ['invalid_json_line', 'This line is not parseable as valid JSON.', false],
  ])('%s: %s', (code, message, isSo) => {
    expect(modelFault([{ code, message }]) !== undefined).toBe(isSo)
  })
})
