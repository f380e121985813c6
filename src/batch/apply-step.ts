import { assertNever } from '../util/exhaustive.ts'
import { isUnpushed, type QueueFile, type QueueFileBase } from './queue-file.ts'
import { LINE_IN_HAND, type RequestRecord, type RequestTable } from './request-table.ts'
import type { Step, StepOf } from './steps.ts'
import { initialState, type Spending, type Tally, type TaskState } from './task-state.ts'

/** A ledger whose steps contradict each other: it was written by something else, or by a bug. */
export class ImpossibleStep extends Error {
  override readonly name = 'ImpossibleStep'
}

const impossible = (step: Step, why: string): never => {
  throw new ImpossibleStep(`step "${step.kind}": ${why}`)
}

/**
 * The state after one more step. The small state is a new value; requests are changed through `table`. The same
 * function serves a commit being put together and a ledger being read back, so the two cannot differ. `lineOffset`
 * is where the step's ledger line begins, as far as it is known.
 */
export function applyStep(
  state: TaskState,
  table: RequestTable,
  step: Step,
  lineOffset: number = LINE_IN_HAND,
): TaskState {
  switch (step.kind) {
    case 'task': {
      const { taskId, className, endpoint, schema } = step
      return { ...state, identity: { taskId, className, endpoint, schema }, params: [step.params] }
    }
    case 'drift': {
      const { className, endpoint, schema } = step
      const { taskId } = state.identity ?? impossible(step, 'the task does not exist yet')
      return { ...state, identity: { taskId, className, endpoint, schema } }
    }
    case 'params':
      return { ...state, params: [...state.params, step.params] }
    case 'account':
      return { ...state, account: step.account }
    case 'open':
      return openFile(state, step)
    case 'add':
      return addRequests(state, table, step, lineOffset)
    case 'requeue':
      return requeue(state, table, step)
    case 'seal':
      return seal(state, step)
    case 'intent':
    case 'uploaded':
    case 'doubt':
    case 'fenced':
    case 'abandoned':
    case 'created':
    case 'remote':
    case 'ended':
      return submitStep(state, step)
    case 'stray':
      return strayStep(state, step)
    case 'sent':
      return sendRequests(state, table, step)
    case 'uncertain':
      return { ...state, tally: plus(state.tally, { uncertain: step.requests.length }) }
    case 'received':
      return receive(state, table, step)
    case 'accepted':
      return accept(state, table, step)
    case 'rejected':
      return judge(state, table, [step.request], 'failed')
    case 'remembered':
      table.remember(step.sample, { key: step.key, value: step.value })
      return state
    case 'cleaned':
      return { ...state, litter: without(state.litter, step.remoteFiles) }
    case 'dropped':
      return { ...state, files: removed(state.files, step.file) }
    case 'breaker':
      return { ...state, passFailures: step.passFailures }
    case 'wipe':
      return { ...state, wipe: step.scope }
    case 'wiped':
      return wiped(state, table, step)
    case 'restored':
      table.forget(['failed'])
      return { ...state, counters: withoutFailed(state) }
    default:
      return assertNever(step)
  }
}

function openFile(state: TaskState, step: StepOf<'open'>): TaskState {
  if (step.file !== state.lastFile + 1)
    impossible(step, `file ${step.file} does not follow ${state.lastFile}`)
  const { file: id, endpoint, model } = step
  const file: QueueFile = { phase: 'open', id, endpoint, model, requests: 0, bytes: 0, live: 0, passed: 0 }
  return { ...state, lastFile: id, files: new Map(state.files).set(id, file) }
}

function addRequests(
  state: TaskState,
  table: RequestTable,
  step: StepOf<'add'>,
  lineOffset: number,
): TaskState {
  const params = Math.max(0, state.params.length - 1)
  for (const [offset, key] of step.keys.entries()) {
    const hasMeta = step.metas?.[offset] !== undefined && step.metas[offset] !== null
    const identity = {
      key,
      sample: step.samples?.[offset] ?? key,
      hash: step.hashes[offset] ?? impossible(step, `no hash for ${JSON.stringify(key)}`),
      params,
      metaAt: hasMeta ? lineOffset : undefined,
    }
    table.add(step.first + offset, identity, { ...FRESH, file: step.file })
  }
  const added = step.keys.length
  const counters = plus(state.counters, { requests: added, pending: added })
  if (step.file === 0) return { ...state, counters }
  return { ...state, counters, files: grown(state, step, step.file, added, step.bytes) }
}

const FRESH: RequestRecord = { state: 'pending', call: 'queued', attempt: 0, queued: 0, expiries: 0, file: 0 }

function requeue(state: TaskState, table: RequestTable, step: StepOf<'requeue'>): TaskState {
  const expired = step.why === 'expired' || step.why === 'cancelled'
  const files = leave(state, table, step.requests, step.why === 'expired' ? 1 : 0)
  let neverSent = 0
  for (const request of step.requests) {
    const record = table.get(request)
    if (step.why === 'unsent' && record.call === 'sent') neverSent++
    table.set(request, {
      ...record,
      call: 'queued',
      attempt: record.attempt + (step.why === 'retry' ? 1 : 0),
      expiries: record.expiries + (expired ? 1 : 0),
      queued: record.queued + 1,
      file: step.file,
    })
  }
  const moved = step.requests.length
  const tally = plus(
    state.tally,
    step.why === 'retry' ? { retries: moved } : expired ? { expired: moved } : {},
  )
  const spending = plus(state.spending, { sentRequests: -neverSent })
  return { ...state, tally, spending, files: grown({ ...state, files }, step, step.file, moved, step.bytes) }
}

function seal(state: TaskState, step: StepOf<'seal'>): TaskState {
  const file = fileOf(state, step, step.file)
  const sealed: QueueFile = { ...base(file), phase: step.as === 'batch' ? 'sealed' : 'direct' }
  const tally = plus(state.tally, step.as === 'direct' ? { directSets: 1 } : {})
  return { ...state, tally, files: new Map(state.files).set(file.id, sealed) }
}

type SubmitStep = StepOf<
  'intent' | 'uploaded' | 'doubt' | 'fenced' | 'abandoned' | 'created' | 'remote' | 'ended'
>

function submitStep(state: TaskState, step: SubmitStep): TaskState {
  const file = fileOf(state, step, step.file)
  const next = { ...state, files: new Map(state.files).set(file.id, submitted(file, step)) }
  if (step.kind === 'created') {
    const spending = plus(state.spending, { sentRequests: file.requests })
    return { ...next, spending, tally: plus(state.tally, { batches: 1 }) }
  }
  if (step.kind !== 'abandoned') return next
  const tag = 'tag' in file ? file.tag : impossible(step, `file ${file.id} is ${file.phase}`)
  const retiredTags = new Map(state.retiredTags).set(tag, file.id)
  // A batch that the server took and then refused for lack of room was never worked on.
  const spending = plus(state.spending, file.phase === 'ended' ? { sentRequests: -file.requests } : {})
  return { ...next, retiredTags, spending, litter: new Set([...state.litter, ...step.litter]) }
}

function submitted(file: QueueFile, step: SubmitStep): QueueFile {
  const common = base(file)
  const tag = 'tag' in file ? file.tag : ''
  const inputFileId = 'inputFileId' in file ? file.inputFileId : ''
  switch (step.kind) {
    case 'intent':
      return { ...common, phase: 'intended', tag: step.tag }
    case 'uploaded':
      return { ...common, phase: 'uploaded', tag, inputFileId: step.inputFileId }
    case 'doubt':
      return { ...common, phase: 'doubtful', tag, inputFileId }
    case 'fenced':
      return { ...common, phase: 'fenced', tag, inputFileId, fencedAt: step.at }
    case 'abandoned':
      return { ...common, phase: 'sealed' }
    case 'created':
      return {
        ...common,
        phase: 'remote',
        tag,
        inputFileId: step.inputFileId,
        batchId: step.batchId,
        status: 'validating',
      }
    case 'remote':
      if (file.phase !== 'remote') return impossible(step, `file ${file.id} is ${file.phase}`)
      return { ...file, status: step.status }
    case 'ended': {
      if (file.phase !== 'remote') return impossible(step, `file ${file.id} is ${file.phase}`)
      const { batchId } = file
      const { status, outputFileId, errorFileId } = step
      const files = { ...(outputFileId ? { outputFileId } : {}), ...(errorFileId ? { errorFileId } : {}) }
      return {
        ...common,
        phase: 'ended',
        tag,
        inputFileId,
        batchId,
        status,
        ...files,
        faults: step.faults ?? [],
      }
    }
    default:
      return assertNever(step)
  }
}

function strayStep(state: TaskState, step: StepOf<'stray'>): TaskState {
  return {
    ...state,
    strays: new Set(state.strays).add(step.batchId),
    tally: plus(state.tally, { strays: state.strays.has(step.batchId) ? 0 : 1 }),
    litter: new Set([...state.litter, ...step.litter]),
  }
}

function sendRequests(state: TaskState, table: RequestTable, step: StepOf<'sent'>): TaskState {
  for (const request of step.requests) table.set(request, { ...table.get(request), call: 'sent' })
  return { ...state, spending: plus(state.spending, { sentRequests: step.requests.length }) }
}

function receive(state: TaskState, table: RequestTable, step: StepOf<'received'>): TaskState {
  for (const request of step.requests ?? []) table.set(request, { ...table.get(request), call: 'received' })
  const spending = plus(state.spending, {
    inputTokens: step.usage.input,
    cachedInputTokens: step.usage.cachedInput,
    cacheWriteTokens: step.usage.cacheWrite,
    outputTokens: step.usage.output,
    reasoningTokens: step.usage.reasoning,
    costNanoUsd: step.costNanoUsd ?? 0,
    unpricedReplies: step.unpriced ?? 0,
  })
  const litter = step.litter ? new Set([...state.litter, ...step.litter]) : state.litter
  const file = state.files.get(step.file)
  if (file?.phase !== 'ended') return { ...state, spending, litter }
  return {
    ...state,
    spending,
    litter,
    files: new Map(state.files).set(file.id, { ...file, phase: 'received' }),
  }
}

function accept(state: TaskState, table: RequestTable, step: StepOf<'accepted'>): TaskState {
  const next = judge(state, table, step.requests, 'succeeded')
  if (step.lines === 0) return next
  const lines = (step.part === state.output.part ? state.output.lines : 0) + step.lines
  return { ...next, output: { part: step.part, lines } }
}

function judge(
  state: TaskState,
  table: RequestTable,
  requests: readonly number[],
  as: 'succeeded' | 'failed',
): TaskState {
  const files = leave(state, table, requests, as === 'succeeded' ? 1 : 0)
  for (const request of requests) table.set(request, { ...table.get(request), state: as, file: 0 })
  return {
    ...state,
    files,
    counters: plus(state.counters, { [as]: requests.length, pending: -requests.length }),
  }
}

function wiped(state: TaskState, table: RequestTable, step: StepOf<'wiped'>): TaskState {
  table.forget(
    step.scope === 'requests'
      ? ['pending']
      : step.scope === 'failed'
        ? ['pending', 'failed']
        : ['pending', 'failed', 'succeeded'],
  )
  const retiredTags = new Map(state.retiredTags)
  for (const file of state.files.values())
    if (isUnpushed(file) && 'tag' in file) retiredTags.set(file.tag, file.id)
  const next = {
    ...state,
    wipe: undefined,
    files: new Map<number, QueueFile>(),
    passFailures: 0,
    retiredTags,
  }
  const { succeeded, failed } = state.counters
  if (step.scope === 'task')
    return { ...next, counters: initialState.counters, output: initialState.output, params: [] }
  const left = step.scope === 'requests' ? failed : 0
  return { ...next, counters: { requests: succeeded + left, succeeded, failed: left, pending: 0 } }
}

const withoutFailed = ({ counters }: TaskState) => ({
  ...counters,
  requests: counters.requests - counters.failed,
  failed: 0,
})

// --- small helpers

function fileOf(state: TaskState, step: Step, id: number): QueueFile {
  return state.files.get(id) ?? impossible(step, `there is no queue file ${id}`)
}

const base = ({ id, endpoint, model, requests, bytes, live, passed }: QueueFile): QueueFileBase => ({
  id,
  endpoint,
  model,
  requests,
  bytes,
  live,
  passed,
})

/** Files after these requests left the ones they were in. `passes`: 1 when leaving counts as a usable answer. */
function leave(
  state: TaskState,
  table: RequestTable,
  requests: readonly number[],
  passes: 0 | 1,
): ReadonlyMap<number, QueueFile> {
  const leaving = new Map<number, number>()
  for (const request of requests) {
    const { file } = table.get(request)
    if (file !== 0) leaving.set(file, (leaving.get(file) ?? 0) + 1)
  }
  const files = new Map(state.files)
  for (const [id, left] of leaving) {
    const file = files.get(id)
    if (file) files.set(id, { ...file, live: file.live - left, passed: file.passed + passes * left })
  }
  return files
}

function grown(
  state: TaskState,
  step: Step,
  id: number,
  lines: number,
  bytes: number,
): ReadonlyMap<number, QueueFile> {
  const file = fileOf(state, step, id)
  if (file.phase !== 'open') impossible(step, `queue file ${id} is ${file.phase}, not open`)
  const larger = {
    ...file,
    requests: file.requests + lines,
    live: file.live + lines,
    bytes: file.bytes + bytes,
  }
  return new Map(state.files).set(id, larger)
}

function removed(files: ReadonlyMap<number, QueueFile>, id: number): ReadonlyMap<number, QueueFile> {
  const rest = new Map(files)
  rest.delete(id)
  return rest
}

const without = (all: ReadonlySet<string>, gone: readonly string[]): ReadonlySet<string> =>
  all.difference(new Set(gone))

/** Adds to some of a record's numbers. */
function plus<Sums extends Counters | Spending | Tally>(
  sums: Sums,
  by: Partial<Record<keyof Sums, number>>,
): Sums
function plus(sums: Readonly<Record<string, number>>, by: Readonly<Record<string, number | undefined>>) {
  const result: Record<string, number> = { ...sums }
  for (const [name, amount] of Object.entries(by)) result[name] = (result[name] ?? 0) + (amount ?? 0)
  return result
}

type Counters = TaskState['counters']
