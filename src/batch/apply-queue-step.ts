import { addForecasts, noForecast, type TokenForecast } from '../tokens/forecast.ts'
import { MAX_EMBEDDING_INPUTS } from './embedding-inputs.ts'
import type { QueueFile } from './queue-file.ts'
import type { RequestRecord, RequestTable } from './request-table.ts'
import { baseOf, fileOf, impossible, judgedBy, leave, plus, withReserved } from './step-helpers.ts'
import type { StepOf } from './steps.ts'
import type { TaskState } from './task-state.ts'

export function openFile(state: TaskState, step: StepOf<'open'>): TaskState {
  if (step.file !== state.lastFile + 1)
    impossible(step, `file ${step.file} does not follow ${state.lastFile}`)
  const { file: id, endpoint, model } = step
  const phase = step.for === 'reuse' ? 'filling' : 'open'
  const file: QueueFile = { phase, id, endpoint, model, requests: 0, bytes: 0, live: 0, passed: 0 }
  return { ...state, lastFile: id, files: new Map(state.files).set(id, file) }
}

export function addRequests(
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
    const leader = step.after?.[offset]
    if (leader !== undefined) waitBehind(table, step, leader, step.first + offset)
  }
  const added = step.keys.length
  const counters = plus(state.counters, { requests: added, pending: added })
  if (step.file === 0) return { ...state, counters }
  return { ...state, counters, files: grown(state, step, added) }
}

function waitBehind(table: RequestTable, step: StepOf<'add'>, leader: number, request: number): void {
  const { state } = table.get(leader)
  if (step.file !== 0 || state !== 'pending' || table.follower(leader) !== 0)
    impossible(step, `request ${request} cannot wait behind ${leader}, which is ${state}`)
  table.follow(leader, request)
}

/** Requests that waited one behind the other behind one that has its verdict, or another body, wait no more. */
function waitNoMore(table: RequestTable, step: StepOf<'requeue'>, leader: number): void {
  let before = leader
  for (const request of step.requests) {
    if (table.follower(before) !== request)
      impossible(step, `request ${request} does not wait behind ${before}`)
    table.follow(before, 0)
    before = request
  }
}

const FRESH: RequestRecord = { state: 'pending', call: 'queued', attempt: 0, queued: 0, expiries: 0, file: 0 }

export function requeue(state: TaskState, table: RequestTable, step: StepOf<'requeue'>): TaskState {
  const expired = step.why === 'expired' || step.why === 'cancelled'
  const isBlameless = expired || step.why === 'refused' || step.why === 'recalled'
  if (step.of !== undefined) waitNoMore(table, step, step.of)
  const from = table.get(step.requests[0] ?? 0).file
  const leaving = {
    as: expired ? 'expired' : step.why === 'retry' ? 'retried' : 'untried',
    passes: isBlameless ? 1 : 0,
  } as const
  const files = released(leave(state, table, step.requests, leaving), from, step.released)
  let neverSent = 0
  for (const request of step.requests) {
    const record = table.get(request)
    if (record.state !== 'pending') impossible(step, `request ${request} is ${record.state}`)
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
  const spending = plus(state.spending, {
    sentRequests: -neverSent,
    sentInputTokens: -(step.takenBack?.input ?? 0),
    sentNanoUsd: -(step.takenBack?.nanoUsd ?? 0),
    ...judgedBy(state, step.why === 'retry' ? moved : 0, step.costs),
  })
  return { ...state, tally, spending, files: grown({ ...state, files }, step, moved) }
}

export function seal(state: TaskState, step: StepOf<'seal'>): TaskState {
  const file = fileOf(state, step, step.file)
  const from = step.as === 'reused' ? 'filling' : 'open'
  if (file.phase !== from) impossible(step, `queue file ${file.id} is ${file.phase}, not ${from}`)
  const sealed: QueueFile = { ...baseOf(file), phase: SEALED_AS[step.as] }
  const tally = plus(state.tally, step.as === 'direct' ? { directSets: 1 } : {})
  return { ...state, tally, files: new Map(state.files).set(file.id, sealed) }
}

const SEALED_AS = { batch: 'sealed', direct: 'direct', reused: 'reused' } as const

function grown(
  state: TaskState,
  step: StepOf<'add'> | StepOf<'requeue'>,
  lines: number,
): ReadonlyMap<number, QueueFile> {
  const file = fileOf(state, step, step.file)
  const isAnswered = step.kind === 'add' || step.why === 'shared'
  const takesLines = file.phase === 'open' || (file.phase === 'filling' && isAnswered)
  if (!takesLines) impossible(step, `queue file ${file.id} is ${file.phase}, not open`)
  // Versions before 0.2 did not count inputs: nothing more is to go into a file of theirs.
  const inputs = (file.inputs ?? 0) + (step.inputs ?? MAX_EMBEDDING_INPUTS)
  const larger = {
    ...file,
    requests: file.requests + lines,
    live: file.live + lines,
    bytes: file.bytes + step.bytes,
    tokens: addForecasts(file.tokens ?? noForecast, step.tokens ?? guessed(lines, step.bytes)),
    ...(file.endpoint === '/v1/embeddings' && { inputs }),
  }
  return new Map(state.files).set(file.id, larger)
}

const BYTES_PER_TOKEN = 4

/** Versions before 0.3 did not estimate: for the soft limits a rule of thumb has to do, and a hard cap knows no ceiling. */
const guessed = (requests: number, bytes: number): TokenForecast => ({
  ...noForecast,
  requests,
  input: Math.ceil(bytes / BYTES_PER_TOKEN),
  unbounded: requests,
})

function released(
  files: ReadonlyMap<number, QueueFile>,
  id: number,
  amount = 0,
): ReadonlyMap<number, QueueFile> {
  const file = files.get(id)
  return file && amount > 0 ? new Map(files).set(id, withReserved(file, -amount)) : files
}
