import { retired } from './apply-submit-step.ts'
import {
  type FileIn,
  inPhase,
  isRemote,
  isUnpushed,
  isWorkedOn,
  type QueueFile,
  remoteFilesOf,
} from './queue-file.ts'
import type { RequestTable } from './request-table.ts'
import {
  ImpossibleStep,
  judgedBy,
  leave,
  moveCalls,
  plus,
  spent,
  sumOf,
  withAnswers,
  withReserved,
} from './step-helpers.ts'
import type { StepOf } from './steps.ts'
import { initialState, type TaskState } from './task-state.ts'

type Files = ReadonlyMap<number, QueueFile>

export function sendRequests(state: TaskState, table: RequestTable, step: StepOf<'sent'>): TaskState {
  const files = moveCalls(state, table, step.requests, 'sent')
  const spending = plus(state.spending, {
    sentRequests: step.requests.length,
    sentInputTokens: step.tokens?.input ?? 0,
    sentNanoUsd: step.expectedNanoUsd ?? 0,
  })
  return { ...state, spending, files: reserving(files, step.file, step.reserved ?? 0) }
}

/** Calls whose answers were lost: they may have cost all that they could. They are on the wire no more: once is enough. */
export function loseCalls(state: TaskState, table: RequestTable, step: StepOf<'uncertain'>): TaskState {
  const { requests, charged = 0, released = 0 } = step
  const files = moveCalls(state, table, requests, 'queued')
  return {
    ...state,
    tally: plus(state.tally, { uncertain: requests.length }),
    spending: plus(state.spending, { uncertainNanoUsd: charged }),
    files: reserving(files, step.file, -released),
  }
}

export function reserve(state: TaskState, { file, stray, reserved }: StepOf<'reserve'>): TaskState {
  if (stray !== undefined) return reserveForStray(state, stray, reserved)
  const known = state.files.get(file)
  return known ? { ...state, files: new Map(state.files).set(file, { ...known, reserved }) } : state
}

function reserveForStray(state: TaskState, batchId: string, reserved: number): TaskState {
  const known = state.strays.get(batchId)
  return known ? { ...state, strays: new Map(state.strays).set(batchId, { ...known, reserved }) } : state
}

/** Queue files after so much more, or less, was set aside for one of them. */
function reserving(files: Files, id: number, by: number): Files {
  const file = files.get(id)
  return file && by !== 0 ? new Map(files).set(id, withReserved(file, by)) : files
}

export function receive(state: TaskState, table: RequestTable, step: StepOf<'received'>): TaskState {
  const files = moveCalls(state, table, step.requests ?? [], 'received')
  const litter = step.litter ? new Set([...state.litter, ...step.litter]) : state.litter
  const file = state.files.get(step.file)
  const isBatch = file?.phase === 'ended'
  const { reused } = step
  const spending = plus(spent(state, step, isBatch ? 'batch' : (step.tier ?? 'direct')), {
    reusedReplies: reused?.replies ?? 0,
    savedNanoUsd: reused?.savedNanoUsd ?? 0,
  })
  const next = { ...state, spending, litter }
  if (!isBatch) return { ...next, files: answered(files, step) }
  const { reserved = 0, ...rest } = file
  const { answers, rates, safety } = step
  const received: QueueFile = {
    ...withAnswers(rest, step.usage, step.costNanoUsd ?? 0),
    phase: 'received',
    ...(answers !== undefined && { answers }),
    ...(rates && { rates }),
    ...(safety !== undefined && { safety }),
  }
  return {
    ...next,
    spending: plus(spending, { uncertainNanoUsd: isUnseen(file) ? reserved : 0 }),
    files: new Map(files).set(file.id, received),
  }
}

/** Queue files after the answer to a direct call, or an answer that was there already. */
function answered(files: Files, step: StepOf<'received'>): Files {
  const file = files.get(step.file)
  if (!file) return files
  const settled = withReserved(file, -(step.released ?? 0))
  return new Map(files).set(file.id, withAnswers(settled, step.usage, step.costNanoUsd ?? 0))
}

/** It was, or may have been, worked on, and what came of it is nowhere to be seen. */
function isUnseen(file: FileIn<'ended'>): boolean {
  if (file.outputFileId || file.errorFileId) return false
  return file.gone === true || (file.usage ? isWorkedOn(file) : file.status === 'completed')
}

export function accept(state: TaskState, table: RequestTable, step: StepOf<'accepted'>): TaskState {
  const next = judge(state, table, step.requests, 'succeeded', { costs: step.costs })
  if (step.lines === 0) return next
  const lines = (step.part === state.output.part ? state.output.lines : 0) + step.lines
  return { ...next, output: { part: step.part, lines } }
}

export function judge(
  state: TaskState,
  table: RequestTable,
  requests: readonly number[],
  as: 'succeeded' | 'failed',
  { passes = as === 'succeeded' ? 1 : 0, costs }: JudgeFacts = {},
): TaskState {
  const files = leave(state, table, requests, { as, passes })
  for (const request of requests) {
    const record = table.get(request)
    if (record.state !== 'pending') throw new ImpossibleStep(`request ${request} is ${record.state} already`)
    table.set(request, { ...record, state: as, file: 0 })
  }
  return {
    ...state,
    files,
    counters: plus(state.counters, { [as]: requests.length, pending: -requests.length }),
    spending: plus(state.spending, judgedBy(state, requests.length, costs)),
  }
}

interface JudgeFacts {
  /** 1 when the requests count as usable answers of their file. */
  readonly passes?: 0 | 1
  /** What each reply cost, in nano-USD. */
  readonly costs?: readonly (number | null)[] | undefined
}

export function wiped(state: TaskState, table: RequestTable, step: StepOf<'wiped'>): TaskState {
  table.forget(
    step.scope === 'requests'
      ? ['pending']
      : step.scope === 'failed'
        ? ['pending', 'failed']
        : ['pending', 'failed', 'succeeded'],
  )
  const files = [...state.files.values()]
  const next = {
    ...state,
    ...retired(state, files.filter(isUnpushed)),
    // Of batches that nobody could or would collect, such as one that failed and was waiting for a person.
    litter: new Set([...state.litter, ...files.filter(isEnded).flatMap(remoteFilesOf)]),
    wipe: undefined,
    thrownAway: 0,
    files: new Map<number, QueueFile>(),
    passFailures: 0,
    // Of batches whose answers nobody could collect it is not known what they cost.
    spending: plus(state.spending, { uncertainNanoUsd: sumOf(files.filter(isRemote).map(reservedFor)) }),
  }
  const { succeeded, failed } = state.counters
  if (step.scope === 'task')
    return { ...next, counters: initialState.counters, output: initialState.output, params: [] }
  const left = step.scope === 'requests' ? failed : 0
  return { ...next, counters: { requests: succeeded + left, succeeded, failed: left, pending: 0 } }
}

const isEnded = inPhase('ended')
const reservedFor = ({ reserved = 0 }: QueueFile): number => reserved

export const withoutFailed = ({ counters }: TaskState) => ({
  ...counters,
  requests: counters.requests - counters.failed,
  failed: 0,
})
