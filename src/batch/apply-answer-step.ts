import { retired } from './apply-submit-step.ts'
import { inPhase, isUnpushed, type QueueFile, remoteFilesOf } from './queue-file.ts'
import type { RequestTable } from './request-table.ts'
import { ImpossibleStep, leave, plus, spent } from './step-helpers.ts'
import type { StepOf } from './steps.ts'
import { initialState, type TaskState } from './task-state.ts'

export function sendRequests(state: TaskState, table: RequestTable, step: StepOf<'sent'>): TaskState {
  for (const request of step.requests) table.set(request, { ...table.get(request), call: 'sent' })
  return { ...state, spending: plus(state.spending, { sentRequests: step.requests.length }) }
}

export function receive(state: TaskState, table: RequestTable, step: StepOf<'received'>): TaskState {
  for (const request of step.requests ?? []) table.set(request, { ...table.get(request), call: 'received' })
  const spending = spent(state, step)
  const litter = step.litter ? new Set([...state.litter, ...step.litter]) : state.litter
  const file = state.files.get(step.file)
  if (file?.phase !== 'ended') return { ...state, spending, litter }
  return {
    ...state,
    spending,
    litter,
    files: new Map(state.files).set(file.id, {
      ...file,
      phase: 'received',
      ...(step.answers !== undefined && { answers: step.answers }),
    }),
  }
}

export function accept(state: TaskState, table: RequestTable, step: StepOf<'accepted'>): TaskState {
  const next = judge(state, table, step.requests, 'succeeded')
  if (step.lines === 0) return next
  const lines = (step.part === state.output.part ? state.output.lines : 0) + step.lines
  return { ...next, output: { part: step.part, lines } }
}

export function judge(
  state: TaskState,
  table: RequestTable,
  requests: readonly number[],
  as: 'succeeded' | 'failed',
  passes: 0 | 1 = as === 'succeeded' ? 1 : 0,
): TaskState {
  const files = leave(state, table, requests, passes)
  for (const request of requests) {
    const record = table.get(request)
    if (record.state !== 'pending') throw new ImpossibleStep(`request ${request} is ${record.state} already`)
    table.set(request, { ...record, state: as, file: 0 })
  }
  return {
    ...state,
    files,
    counters: plus(state.counters, { [as]: requests.length, pending: -requests.length }),
  }
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
  }
  const { succeeded, failed } = state.counters
  if (step.scope === 'task')
    return { ...next, counters: initialState.counters, output: initialState.output, params: [] }
  const left = step.scope === 'requests' ? failed : 0
  return { ...next, counters: { requests: succeeded + left, succeeded, failed: left, pending: 0 } }
}

const isEnded = inPhase('ended')

export const withoutFailed = ({ counters }: TaskState) => ({
  ...counters,
  requests: counters.requests - counters.failed,
  failed: 0,
})
