import { isUnpushed, type QueueFile } from './queue-file.ts'
import type { RequestTable } from './request-table.ts'
import { ImpossibleStep, leave, plus } from './step-helpers.ts'
import type { StepOf } from './steps.ts'
import { initialState, type TaskState } from './task-state.ts'

export function sendRequests(state: TaskState, table: RequestTable, step: StepOf<'sent'>): TaskState {
  for (const request of step.requests) table.set(request, { ...table.get(request), call: 'sent' })
  return { ...state, spending: plus(state.spending, { sentRequests: step.requests.length }) }
}

export function receive(state: TaskState, table: RequestTable, step: StepOf<'received'>): TaskState {
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
): TaskState {
  const files = leave(state, table, requests, as === 'succeeded' ? 1 : 0)
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

export const withoutFailed = ({ counters }: TaskState) => ({
  ...counters,
  requests: counters.requests - counters.failed,
  failed: 0,
})
