import type { BatchFault } from './steps.ts'

/**
 * What to do about a batch that the server refused as a whole.
 *   heal: the named lines are at fault; they fail alone and the others are queued again.
 *   wait: the account is full; the same file is submitted again later.
 *   fail: every request of it fails, as the caller allowed.
 *   block: it stays as it is, and the run stops when nothing else is left to do.
 */
export type FailedBatchPlan =
  | { readonly kind: 'heal'; readonly lines: ReadonlyMap<number, BatchFault> }
  | { readonly kind: 'wait' }
  | { readonly kind: 'fail' }
  | { readonly kind: 'block' }

const QUEUE_FULL = /token_limit_exceeded|enqueued token limit/i

/** Codes and texts vary by deployment, so both are looked at (reference/batch-api.md 3.1). */
const isQueueFull = (fault: BatchFault): boolean =>
  QUEUE_FULL.test(fault.code) || QUEUE_FULL.test(fault.message)

export interface FailedBatchFacts {
  readonly faults: readonly BatchFault[]
  /** Lines in the batch. */
  readonly requests: number
  /** The caller allows one more failed batch to be finalised. */
  readonly mayFinalise: boolean
}

export function planFailedBatch({ faults, requests, mayFinalise }: FailedBatchFacts): FailedBatchPlan {
  if (faults.length > 0 && faults.every(isQueueFull)) return { kind: 'wait' }
  const lines = new Map<number, BatchFault>()
  for (const fault of faults) if (fault.line !== undefined) lines.set(fault.line, fault)
  // A fault of every line is a fault of the batch, such as a model that cannot be batched.
  // A fault of a line that is not there may not heal: all lines would be queued again, for ever.
  const isOwn = ({ line }: BatchFault) =>
    line !== undefined && Number.isInteger(line) && line >= 1 && line <= requests
  const nameSome = lines.size > 0 && lines.size < requests && faults.every(isOwn)
  if (nameSome) return { kind: 'heal', lines }
  return { kind: mayFinalise ? 'fail' : 'block' }
}

/** Whether one more failed batch may be finalised. A negative number allows any. */
export const mayFinalise = (processFailedBatches: number, finalised: number): boolean =>
  processFailedBatches < 0 || finalised < processFailedBatches
