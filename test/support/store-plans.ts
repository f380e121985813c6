import type { Draft } from '../../src/requester/draft.ts'
import { filesOf } from '../../src/requester/files.ts'
import { appendFailed, enqueueAgain, enqueueNew, type PreparedRequest } from '../../src/requester/queue.ts'
import { enqueueReused } from '../../src/requester/reused-lines.ts'
import type { StoreOptions } from '../../src/requester/store.ts'
import { passOn } from '../../src/requester/twins.ts'
import type { FileSystem } from '../../src/state/file-system.ts'
import { type Move, stepsOf } from './step-walk.ts'
import { plainValuer } from './valuation.ts'
import { VirtualClock } from './virtual-clock.ts'

export const storeOptions = (fs: FileSystem, over: Partial<StoreOptions> = {}): StoreOptions => ({
  fs,
  directory: '/t',
  name: 'task',
  guard: () => {},
  clock: new VirtualClock(),
  ...over,
})

const valuer = plainValuer({
  seal: { minBatchRequests: 3, maxBatchRequests: 5, maxBatchBytes: 600, maxDirectRequests: 5 },
})

/** A request to `model` with an answer's worth of text that is not all ASCII. */
export const prepared = (key: string, over: Partial<PreparedRequest> = {}): PreparedRequest => ({
  key,
  sample: key,
  meta: undefined,
  hash: key.length.toString(16).padStart(16, '0'),
  endpoint: '/v1/responses',
  model: 'm',
  bodyText: JSON.stringify({ model: 'm', input: `${key} é` }),
  ...over,
})

export function addTo(draft: Draft, ...requests: readonly PreparedRequest[]): void {
  enqueueNew(draft, requests, valuer)
}

function freeKeys(draft: Draft, size: number): string[] {
  const keys: string[] = []
  for (let n = 0; keys.length < size; n++) if (draft.requests.find(`k${n}`) === undefined) keys.push(`k${n}`)
  return keys
}

const REPLY = '{"id":"resp_1","object":"response","output":[],"model":"é"}'

/** Adds new requests together with their answers. */
const addAnswered = (draft: Draft, size: number): void =>
  enqueueReused(
    draft,
    freeKeys(draft, size).map((key) => ({ ...prepared(key), reply: REPLY })),
    valuer,
  )

/** Adds new requests: some with a sample or meta of their own, one in a while too large for any batch. */
function add(draft: Draft, pick: number, size: number): void {
  const requests = freeKeys(draft, size).map((key, index) =>
    prepared(key, {
      ...(pick % 3 === 0 && { sample: `s${index % 2}` }),
      ...(pick % 4 === 0 && { meta: { pick, key } }),
      ...((pick + index) % 11 === 0 && { bodyText: JSON.stringify({ model: 'm', input: 'x'.repeat(700) }) }),
    }),
  )
  addTo(draft, ...requests)
}

/** The first request that waits for its verdict, from some number on. */
function answered(draft: Draft, pick: number): number | undefined {
  const { last } = draft.requests
  for (let n = 0; n < last; n++) {
    const request = 1 + ((pick + n) % last)
    const { state, file, call } = draft.requests.get(request)
    const phase = state === 'pending' ? draft.state.files.get(file)?.phase : undefined
    if (phase === 'received' || phase === 'reused' || (phase === 'direct' && call === 'received'))
      return request
  }
  return undefined
}

/** What becomes of those that wait behind it. */
function followUp(draft: Draft, request: number, fate: 'share' | 'alone'): void {
  const outcome = { kind: 'reply', body: JSON.parse(REPLY), usage: undefined } as const
  const asked = { endpoint: '/v1/responses', model: 'm', bodyText: '{"model":"m"}' } as const
  passOn(draft, { request, ...asked, outcome }, fate, valuer)
}

/** A verdict with all that belongs to it: an output line, a line of failures, or a new line in the queue. */
function judge(draft: Draft, pick: number): void {
  const request = answered(draft, pick)
  if (request === undefined) return
  const { key, sample } = draft.requests.identity(request)
  const { part } = draft.state.output
  if (pick % 3 === 0) {
    draft.append('_output.jsonl', `${JSON.stringify({ key, é: pick })}\n`)
    draft.apply({ kind: 'accepted', requests: [request], lines: 1, part })
    draft.apply({ kind: 'remembered', sample, key, value: pick })
    followUp(draft, request, pick % 2 === 0 ? 'share' : 'alone')
  } else if (pick % 3 === 1) {
    appendFailed(draft, { key, sample, reason: 'no good', attempts: 1 })
    draft.apply({ kind: 'rejected', request, reason: 'no good' })
    followUp(draft, request, 'alone')
  } else {
    const line = { endpoint: '/v1/responses', model: 'm', bodyText: '{"model":"m"}' } as const
    enqueueAgain(draft, request, line, { why: 'retry', reason: 'again' }, valuer)
  }
}

/** Everything of files that a step lets go is removed with it. */
function applyAll(draft: Draft, move: Move): void {
  for (const step of stepsOf(draft, move)) {
    const before = [...draft.state.files.keys()]
    draft.apply(step)
    for (const id of before) if (!draft.state.files.has(id)) forget(draft, id)
  }
}

function forget(draft: Draft, id: number): void {
  for (const suffix of filesOf(id)) if (draft.length(suffix) > 0) draft.forget(suffix)
}

/** What a move does to a task on disk. A wipe has its group for itself, since it cuts what others write. */
export function plan(draft: Draft, move: Move): void {
  if (move.what === 'add' || move.what === 'refuse') add(draft, move.pick, move.size)
  else if (move.what === 'judge' || move.what === 'giveBack') judge(draft, move.pick)
  else if (move.what === 'fill') addAnswered(draft, move.size)
  else applyAll(draft, move)
}
