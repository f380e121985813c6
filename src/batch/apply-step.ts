import { assertNever } from '../util/exhaustive.ts'
import {
  accept,
  judge,
  loseCalls,
  receive,
  reserve,
  sendRequests,
  wiped,
  withoutFailed,
} from './apply-answer-step.ts'
import { addRequests, openFile, requeue, seal } from './apply-queue-step.ts'
import { strayStep, sweepStep } from './apply-stray-step.ts'
import { submitStep } from './apply-submit-step.ts'
import { LINE_IN_HAND, type RequestTable } from './request-table.ts'
import { impossible } from './step-helpers.ts'
import type { Step } from './steps.ts'
import type { TaskState } from './task-state.ts'

export { ImpossibleStep } from './step-helpers.ts'

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
    case 'format':
      return { ...state, format: step.version }
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
    case 'stray-ended':
    case 'stray-received':
    case 'stray-settled':
      return strayStep(state, step)
    case 'upload-doubt':
    case 'swept':
      return sweepStep(state, step)
    case 'sent':
      return sendRequests(state, table, step)
    case 'uncertain':
      return loseCalls(state, table, step)
    case 'reserve':
      return reserve(state, step)
    case 'received':
      return receive(state, table, step)
    case 'accepted':
      return accept(state, table, step)
    case 'rejected':
      return judge(state, table, [step.request], 'failed', {
        passes: step.lapsed ? 1 : 0,
        costs: [step.cost ?? null],
      })
    case 'remembered':
      table.remember(step.sample, { key: step.key, value: step.value })
      return state
    case 'cleaned':
      return { ...state, litter: without(state.litter, step.remoteFiles) }
    case 'dropped':
      return dropFile(state, step.file)
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

function dropFile(state: TaskState, id: number): TaskState {
  const files = new Map(state.files)
  const file = files.get(id)
  files.delete(id)
  const answers = file?.phase === 'received' ? Math.min(file.live, file.answers ?? 0) : 0
  return { ...state, files, thrownAway: state.thrownAway + (state.wipe === 'task' ? answers : 0) }
}

const without = (all: ReadonlySet<string>, gone: readonly string[]): ReadonlySet<string> =>
  all.difference(new Set(gone))
