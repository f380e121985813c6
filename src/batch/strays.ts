import type { QueueFile } from './queue-file.ts'
import type { Step } from './steps.ts'
import type { Stray } from './stray.ts'
import type { TaskState } from './task-state.ts'

/** Strays that something is still to be done about. */
export const unsettledStrays = (state: TaskState): Stray[] =>
  [...state.strays.values()].filter(({ phase }) => phase !== 'settled')

/** What a listing tells of a batch. */
export interface ListedBatch {
  readonly id: string
  readonly tag: string | undefined
  readonly inputFileId: string
  readonly status: string
}

/** What a listed batch is to the task. `other`: none of its concern, or known already. */
export type Finding =
  | { readonly kind: 'other' }
  | { readonly kind: 'adopt' | 'stray'; readonly file: number; readonly tag: string }

/**
 * A batch of an attempt that was given up is adopted while its queue file has no other batch and can have none under
 * way; otherwise it is a stray. So is a second batch from the attempt of one that is known.
 */
export function findingOf(state: TaskState, batch: ListedBatch): Finding {
  const files = [...state.files.values()]
  if (state.strays.has(batch.id) || files.some((file) => batchIdOf(file) === batch.id))
    return { kind: 'other' }
  const tag = tagAtLarge(state, batch)
  if (tag !== undefined) {
    const file = state.files.get(state.retiredTags.get(tag) ?? 0)
    const isFree = file?.phase === 'sealed' || file?.phase === 'intended'
    // A failed batch answered nothing and will not.
    if (file && isFree && batch.status !== 'failed') return { kind: 'adopt', file: file.id, tag }
    return { kind: 'stray', file: state.retiredTags.get(tag) ?? 0, tag }
  }
  const twin = files.find((file) => isOf(file, batch))
  return twin ? { kind: 'stray', file: twin.id, tag: 'tag' in twin ? twin.tag : '' } : { kind: 'other' }
}

/** The batch came of the same attempt as the one the file has. */
const isOf = (file: QueueFile, batch: ListedBatch): boolean => 'batchId' in file && cameOf(file, batch)

/** Whether an attempt led to a batch: it carries the tag, or, at a server that keeps no metadata, at least has the input. */
export const cameOf = (
  attempt: { readonly tag: string; readonly inputFileId: string },
  { tag, inputFileId }: ListedBatch,
): boolean => (tag === undefined ? inputFileId === attempt.inputFileId : tag === attempt.tag)

function tagAtLarge({ atLarge }: TaskState, batch: ListedBatch): string | undefined {
  for (const [tag, { inputFileId }] of atLarge) if (cameOf({ tag, inputFileId }, batch)) return tag
  return undefined
}

const batchIdOf = (file: QueueFile): string | undefined => ('batchId' in file ? file.batchId : undefined)

/** What is to go on record about a listed batch; nothing for one that is of no concern or known already. */
export function noteSteps(state: TaskState, batch: ListedBatch, nowMs: number): readonly Step[] {
  const finding = findingOf(state, batch)
  if (finding.kind === 'other') return []
  const { tag } = finding
  const { id: batchId, inputFileId, status } = batch
  const file = state.files.get(finding.file)
  if (finding.kind === 'stray') {
    const model = file && { model: file.model }
    return [{ kind: 'stray', tag, batchId, status, litter: [], file: finding.file, inputFileId, ...model }]
  }
  const created: Step = { kind: 'created', file: finding.file, batchId, inputFileId, adopted: true, tag }
  if (file?.phase !== 'intended') return [created]
  // An upload may be under way that is of no more use now.
  return [{ kind: 'upload-doubt', tag: file.tag, at: nowMs, why: 'an earlier batch turned up' }, created]
}

/** Batches of one server may be dated a little out of order. */
const DATE_SLACK_S = 3_600

/**
 * No batch that was created before this can be of an attempt at large, since its input file did not exist: in seconds
 * since 1970 by the server's clock. Undefined when nothing is at large.
 */
export function oldestStrayDate({ atLarge }: TaskState): number | undefined {
  if (atLarge.size === 0) return undefined
  return Math.min(...[...atLarge.values()].map(({ since }) => since)) - DATE_SLACK_S
}

/** Queue files that an attempt at large was for. */
export const filesAtLarge = (state: TaskState): ReadonlySet<number> =>
  new Set([...state.atLarge.keys()].map((tag) => state.retiredTags.get(tag) ?? 0))

/** Whether a stray has answers that could still be given to requests of its queue file. */
export const mayServe = (state: TaskState, stray: Stray): boolean =>
  stray.phase === 'received' && (state.files.get(stray.file)?.live ?? 0) > 0

/** Remote input files that something is made of, or may yet be made of. */
export function inputsInUse(state: TaskState): ReadonlySet<string> {
  const inputs = new Set<string>()
  for (const file of state.files.values()) if ('inputFileId' in file) inputs.add(file.inputFileId)
  for (const { inputFileId } of unsettledStrays(state)) if (inputFileId !== undefined) inputs.add(inputFileId)
  return inputs
}
