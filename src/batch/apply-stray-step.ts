import { assertNever } from '../util/exhaustive.ts'
import { impossible, plus, spent, withoutKey } from './step-helpers.ts'
import type { StepOf } from './steps.ts'
import type { Stray } from './stray.ts'
import type { TaskState } from './task-state.ts'

export type StrayStep = StepOf<'stray' | 'stray-ended' | 'stray-received' | 'stray-settled'>

/** The phases that each step may follow. */
const FOLLOWS = {
  'stray-ended': ['live'],
  'stray-received': ['ended'],
  'stray-settled': ['ended', 'received'],
} as const satisfies Record<string, readonly Stray['phase'][]>

export function strayStep(state: TaskState, step: StrayStep): TaskState {
  if (step.kind === 'stray') return seen(state, step)
  const stray = state.strays.get(step.batchId) ?? impossible(step, `there is no stray ${step.batchId}`)
  const allowed: readonly Stray['phase'][] = FOLLOWS[step.kind]
  if (!allowed.includes(stray.phase)) impossible(step, `stray ${stray.batchId} is ${stray.phase}`)
  const next = { ...state, strays: new Map(state.strays).set(stray.batchId, advanced(stray, step)) }
  if (step.kind === 'stray-ended') return next
  const spending = step.kind === 'stray-received' ? spent(state, step, 'batch') : leftUnread(state, stray)
  return { ...next, spending, litter: littered(state, step.litter) }
}

/** Answers that nobody could, or wanted to, collect: what they cost is not known. */
const leftUnread = ({ spending }: TaskState, stray: Stray): TaskState['spending'] =>
  mayLeaveAnswers(stray) ? plus(spending, { uncertainNanoUsd: stray.reserved ?? 0 }) : spending

function mayLeaveAnswers(stray: Stray): boolean {
  if (stray.phase !== 'ended') return false
  const { status, outputFileId, errorFileId, gone = false } = stray
  return gone || status === 'completed' || (outputFileId ?? errorFileId) !== undefined
}

function seen(state: TaskState, step: StepOf<'stray'>): TaskState {
  const { batchId, tag, model, inputFileId, litter } = step
  if (state.strays.has(batchId)) return { ...state, litter: littered(state, litter) }
  const stray: Stray = {
    phase: 'live',
    batchId,
    tag,
    file: step.file ?? state.retiredTags.get(tag) ?? 0,
    place: state.strays.size + 1,
    ...(model !== undefined && { model }),
    ...(inputFileId !== undefined && { inputFileId }),
    ...reservationOf(state.atLarge.get(tag) ?? state.files.get(step.file ?? 0)),
  }
  return {
    ...state,
    strays: new Map(state.strays).set(batchId, stray),
    atLarge: withoutKey(state.atLarge, tag),
    tally: plus(state.tally, { strays: 1 }),
    litter: littered(state, litter),
  }
}

/** What an attempt, or the batch that a twin came beside, had been given. */
const reservationOf = (of: Pick<Stray, 'reserved' | 'pricedAt'> | undefined) => ({
  ...(of?.reserved !== undefined && { reserved: of.reserved }),
  ...(of?.pricedAt !== undefined && { pricedAt: of.pricedAt }),
})

function advanced(stray: Stray, step: Exclude<StrayStep, StepOf<'stray'>>): Stray {
  const { batchId, tag, file, place, model, inputFileId } = stray
  const common = {
    ...{ batchId, tag, file, place },
    ...(model !== undefined && { model }),
    ...(inputFileId !== undefined && { inputFileId }),
    ...(step.kind === 'stray-ended' && reservationOf(stray)),
  }
  switch (step.kind) {
    case 'stray-ended': {
      const { status, outputFileId, errorFileId, gone } = step
      const files = { ...(outputFileId && { outputFileId }), ...(errorFileId && { errorFileId }) }
      return { ...common, phase: 'ended', status, ...files, ...(gone && { gone }) }
    }
    case 'stray-received': {
      const { rates, safety } = step
      return {
        ...common,
        phase: 'received',
        ...(rates && { rates }),
        ...(safety !== undefined && { safety }),
      }
    }
    case 'stray-settled':
      return { ...common, phase: 'settled' }
    default:
      return assertNever(step)
  }
}

/** An upload that may have led to a file nobody knows, or the search for such files. */
export function sweepStep(state: TaskState, step: StepOf<'upload-doubt' | 'swept'>): TaskState {
  if (step.kind === 'upload-doubt')
    return { ...state, uploadDoubts: new Map(state.uploadDoubts).set(step.tag, step.at) }
  const uploadDoubts = step.tags.reduce(withoutKey<string, number>, state.uploadDoubts)
  return { ...state, uploadDoubts, litter: littered(state, step.litter) }
}

const littered = ({ litter }: TaskState, more: readonly string[]): ReadonlySet<string> =>
  more.length > 0 ? litter.union(new Set(more)) : litter
