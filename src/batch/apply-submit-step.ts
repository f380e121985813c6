import { assertNever } from '../util/exhaustive.ts'
import { type FileIn, inPhase, isWorkedOn, mayHaveCost, type Phase, type QueueFile } from './queue-file.ts'
import { baseOf, fileOf, impossible, plus, withoutKey } from './step-helpers.ts'
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
/** Phases in which a queue file can take up a batch of an earlier attempt. */
const FREE: readonly Phase[] = ['sealed', 'intended']

export function submitStep(state: TaskState, step: SubmitStep): TaskState {
  const file = fileOf(state, step, step.file)
  const allowed = step.kind === 'created' && step.tag !== undefined ? FREE : FOLLOWS[step.kind]
  if (!allowed.includes(file.phase)) impossible(step, `file ${file.id} is ${file.phase}`)
  const next = { ...state, files: new Map(state.files).set(file.id, submitted(file, step)) }
  if (step.kind === 'created') return created(next, file, step)
  if (step.kind === 'ended') return { ...next, batchDurationsMs: durationsWith(state, step) }
  if (step.kind !== 'abandoned') return next
  if (!('tag' in file)) return impossible(step, `file ${file.id} is ${file.phase}`)
  const spending = file.phase === 'ended' ? takenBack(state, file) : state.spending
  return { ...next, ...retired(state, [file]), spending, litter: state.litter.union(new Set(step.litter)) }
}

function created(state: TaskState, file: QueueFile, { tag }: StepOf<'created'>): TaskState {
  const earlier = tag === undefined ? undefined : state.atLarge.get(tag)
  const made: QueueFile = { ...file, ...(earlier && moneyOf(earlier)) }
  const next = { ...state, spending: pushed(state, made, 1), tally: plus(state.tally, { batches: 1 }) }
  if (tag === undefined) return next
  const known = retired(state, [file])
  const batch = state.files.get(file.id) ?? file
  const files = new Map(state.files).set(file.id, { ...batch, ...moneyOf(made) })
  return { ...next, ...known, files, atLarge: withoutKey(known.atLarge, tag) }
}

/** What an attempt was given when it began: the batch that comes of it has it, whenever it turns up. */
const moneyOf = ({ reserved, pricedAt, expectedNanoUsd }: Attempt) => ({
  ...(reserved !== undefined && { reserved }),
  ...(pricedAt !== undefined && { pricedAt }),
  ...(expectedNanoUsd !== undefined && { expectedNanoUsd }),
})

type Attempt = {
  readonly [Name in 'reserved' | 'pricedAt' | 'expectedNanoUsd']?: QueueFile[Name] | undefined
}

/** As many are kept as tell what the next batch may take. */
const KEPT_DURATIONS = 200

function durationsWith({ batchDurationsMs }: TaskState, step: StepOf<'ended'>): readonly number[] {
  const { status, tookMs } = step
  const isWhole = status === 'completed' || status === 'expired'
  if (tookMs === undefined || !isWhole) return batchDurationsMs
  return [...batchDurationsMs, tookMs].slice(-KEPT_DURATIONS)
}

/** What a batch counts against the limits of the task and of the run. */
const pushed = ({ spending }: TaskState, { requests, tokens, expectedNanoUsd = 0 }: QueueFile, by: 1 | -1) =>
  plus(spending, {
    sentRequests: by * requests,
    sentInputTokens: by * (tokens?.input ?? 0),
    sentNanoUsd: by * expectedNanoUsd,
  })

/** A batch that the server took and then refused for lack of room was never worked on, unless it says so itself. */
const takenBack = (state: TaskState, file: FileIn<'ended'>) =>
  plus(pushed(state, file, -1), { uncertainNanoUsd: isWorkedOn(file) ? (file.reserved ?? 0) : 0 })

const isInDoubt = inPhase('doubtful', 'fenced')

/**
 * Tags after the attempts that these files are at were given up. A create that was never sent, that was refused, or
 * whose batch is known leads to nothing more; of any other a batch may still turn up.
 */
export function retired(
  state: TaskState,
  files: readonly QueueFile[],
): Pick<TaskState, 'retiredTags' | 'atLarge'> {
  const retiredTags = new Map(state.retiredTags)
  const atLarge = new Map(state.atLarge)
  for (const file of files) {
    if ('tag' in file) retiredTags.set(file.tag, file.id)
    if (isInDoubt(file)) {
      const { tag, inputFileId, since = 0 } = file
      atLarge.set(tag, { inputFileId, since, ...moneyOf(file) })
    }
  }
  return { retiredTags, atLarge }
}

function submitted(file: QueueFile, step: SubmitStep): QueueFile {
  const common = baseOf(file)
  const attempt = attemptOf(file)
  switch (step.kind) {
    case 'intent': {
      const { tag, at: pricedAt, reserved, expectedNanoUsd } = step
      return { ...common, ...moneyOf({ pricedAt, reserved, expectedNanoUsd }), phase: 'intended', tag }
    }
    case 'uploaded': {
      const { inputFileId, since } = step
      return { ...common, ...attempt, phase: 'uploaded', inputFileId, ...(since !== undefined && { since }) }
    }
    case 'doubt':
      return { ...common, ...attempt, phase: 'doubtful' }
    case 'fenced':
      return { ...common, ...attempt, phase: 'fenced', fencedAt: step.at }
    case 'abandoned': {
      const { reserved: _, pricedAt: __, expectedNanoUsd: ___, recalled: ____, ...rest } = common
      return { ...rest, phase: 'sealed' }
    }
    case 'created': {
      const { batchId, inputFileId, adopted, tag = attempt.tag } = step
      const batch = { tag, inputFileId, batchId, status: 'validating', ...(adopted && { adopted }) }
      return { ...common, ...attempt, ...batch, phase: 'remote' }
    }
    case 'remote':
      if (file.phase !== 'remote') return impossible(step, `file ${file.id} is ${file.phase}`)
      return { ...file, status: step.status, ...(step.recalled && { recalled: step.recalled }) }
    case 'ended':
      return ended(file, step)
    default:
      return assertNever(step)
  }
}

function attemptOf(file: QueueFile) {
  const tag = 'tag' in file ? file.tag : ''
  const inputFileId = 'inputFileId' in file ? file.inputFileId : ''
  return { tag, inputFileId, ...('since' in file && file.since !== undefined && { since: file.since }) }
}

function ended(file: QueueFile, step: StepOf<'ended'>): QueueFile {
  if (file.phase !== 'remote') return impossible(step, `file ${file.id} is ${file.phase}`)
  const { batchId, adopted } = file
  const { status, outputFileId, errorFileId, faults = [], usage, tookMs, gone } = step
  const { reserved, ...base } = baseOf(file)
  return {
    ...base,
    // A failed batch may wait for a person; nothing is to wait for its money.
    ...(reserved !== undefined && { reserved: mayHaveCost(step) ? reserved : 0 }),
    ...attemptOf(file),
    phase: 'ended',
    batchId,
    status,
    ...(adopted && { adopted }),
    ...(outputFileId && { outputFileId }),
    ...(errorFileId && { errorFileId }),
    ...(usage && { usage }),
    ...(tookMs !== undefined && { tookMs }),
    ...(gone && { gone }),
    faults,
  }
}
