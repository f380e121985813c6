import { refusalOf } from './refusals.ts'
import type { BatchFault } from './steps.ts'

/**
 * What to do about a batch that the server refused as a whole.
 *   heal: the named lines are at fault; they fail alone and the others are queued again.
 *   wait: the account is full, or out of money; the same file is submitted again later.
 *   fail: every request of it fails, as the caller allowed.
 *   block: it stays as it is, and the run stops when nothing else is left to do.
 */
export type FailedBatchPlan =
  | { readonly kind: 'heal'; readonly lines: ReadonlyMap<number, BatchFault> }
  | { readonly kind: 'wait' }
  | { readonly kind: 'fail' }
  | { readonly kind: 'block' }

/** Faults that lie in one line by their nature; codes vary by deployment. */
const LINE_FAULT = /invalid_json|duplicate_custom_id|invalid_request|missing|required|invalid_type|url/i

export interface FailedBatchFacts {
  readonly faults: readonly BatchFault[]
  /** Lines in the batch. */
  readonly requests: number
  /** The caller allows one more failed batch to be finalised. */
  readonly mayFinalise: boolean
}

export function planFailedBatch({ faults, requests, mayFinalise }: FailedBatchFacts): FailedBatchPlan {
  if (faults.length > 0 && faults.every((fault) => refusalOf(fault) === 'account')) return { kind: 'wait' }
  const lines = new Map<number, BatchFault>()
  for (const fault of faults) if (fault.line !== undefined) lines.set(fault.line, fault)
  // A fault of every line is mostly one of the batch, such as a model that cannot be batched.
  // A fault of a line that is not there may not heal: all lines would be queued again, for ever.
  const isOwn = ({ line }: BatchFault) =>
    line !== undefined && Number.isInteger(line) && line >= 1 && line <= requests
  const isOnlyLine = requests === 1 && faults.every(({ code }) => LINE_FAULT.test(code))
  const isOfLines = lines.size < requests || isOnlyLine
  if (lines.size > 0 && isOfLines && faults.every(isOwn)) return { kind: 'heal', lines }
  return { kind: mayFinalise ? 'fail' : 'block' }
}

/** Whether one more failed batch may be finalised. A negative number allows any. */
export const mayFinalise = (processFailedBatches: number, finalised: number): boolean =>
  processFailedBatches < 0 || finalised < processFailedBatches
