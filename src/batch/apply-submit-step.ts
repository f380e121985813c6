import { assertNever } from '../util/exhaustive.ts'
import type { Phase, QueueFile } from './queue-file.ts'
import { baseOf, fileOf, impossible, plus } from './step-helpers.ts'
import type { StepOf } from './steps.ts'
import type { TaskState } from './task-state.ts'

export type SubmitStep = StepOf<
  'intent' | 'uploaded' | 'doubt' | 'fenced' | 'abandoned' | 'created' | 'remote' | 'ended'
>

/** The phases that each step may follow. */
const FOLLOWS: { readonly [Kind in SubmitStep['kind']]: readonly Phase[] } = {
  intent: ['sealed'],
  uploaded: ['intended'],
  doubt: ['uploaded'],
  fenced: ['uploaded', 'doubtful'],
  abandoned: ['intended', 'uploaded', 'doubtful', 'fenced', 'ended'],
  created: ['uploaded', 'doubtful', 'fenced'],
  remote: ['remote'],
  ended: ['remote'],
}

export function submitStep(state: TaskState, step: SubmitStep): TaskState {
  const file = fileOf(state, step, step.file)
  if (!FOLLOWS[step.kind].includes(file.phase)) impossible(step, `file ${file.id} is ${file.phase}`)
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
  const common = baseOf(file)
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

export function strayStep(state: TaskState, step: StepOf<'stray'>): TaskState {
  return {
    ...state,
    strays: new Set(state.strays).add(step.batchId),
    tally: plus(state.tally, { strays: state.strays.has(step.batchId) ? 0 : 1 }),
    litter: new Set([...state.litter, ...step.litter]),
  }
}
