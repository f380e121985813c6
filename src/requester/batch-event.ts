import type { QueueFile } from '../batch/queue-file.ts'
import type { WireBatch } from '../openai/wire.ts'
import type { ProgressEvent } from '../progress/events.ts'

/** When a batch came into the state that it is in, in seconds since 1970; undefined where the server does not say. */
function enteredAt(batch: WireBatch): number | undefined {
  const times: Readonly<Record<string, number | null | undefined>> = {
    validating: batch.created_at,
    in_progress: batch.in_progress_at,
    finalizing: batch.finalizing_at,
    completed: batch.completed_at,
    failed: batch.failed_at,
    expired: batch.expired_at,
    cancelling: batch.cancelling_at,
    cancelled: batch.cancelled_at,
  }
  return times[batch.status] ?? undefined
}

type BatchChanged = Extract<ProgressEvent, { readonly kind: 'batch-changed' }>

/** That a queue file is in another state, or has progressed; `batch`: what the server says, if it has one there. */
export function batchChanged(
  { id, model, requests }: QueueFile,
  status: string,
  batch?: WireBatch,
): BatchChanged {
  const event: BatchChanged = { kind: 'batch-changed', file: id, status, model, requests }
  if (!batch) return event
  const { request_counts: counts } = batch
  const entered = enteredAt(batch)
  return {
    ...event,
    remoteId: batch.id,
    ...(counts && { completed: counts.completed, failed: counts.failed }),
    createdMs: batch.created_at * 1000,
    ...(entered !== undefined && { sinceMs: entered * 1000 }),
  }
}

/** Of a batch that is over: what it took from its creation to its end, in milliseconds. */
export function tookMs(batch: WireBatch): number | undefined {
  const end = enteredAt(batch)
  return end !== undefined && end >= batch.created_at ? (end - batch.created_at) * 1000 : undefined
}
