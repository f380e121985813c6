import { isTripped, passFailuresAfter } from '../batch/breaker.ts'
import type { QueueFile } from '../batch/queue-file.ts'
import { resultMetrics } from '../batch/result-metrics.ts'
import type { Context } from './context.ts'
import { filesOf } from './files.ts'

export interface DropOptions {
  /** Its requests are of no more use, judged or not. */
  readonly isDiscarding: boolean
  /** What came of a batch says whether the next ones are worth sending. */
  readonly isWorking: boolean
  readonly isProducing: () => boolean
  /** When the run began with it, if it is a set of direct calls; in milliseconds since 1970. */
  readonly directSince?: number | undefined
}

/**
 * Forgets a file whose requests are all judged or queued elsewhere, and takes account of what its outcome says about the
 * batches. Returns whether the run is to stop for that, which the user has been told.
 */
export async function dropFile(context: Context, id: number, options: DropOptions): Promise<boolean> {
  const { store, settings, emit } = context
  const { isDiscarding, isWorking, isProducing } = options
  const done = store.durable.state.files.get(id)
  const tripped = await store.commit((draft) => {
    const file = draft.state.files.get(id)
    if (!file || (file.live > 0 && !isDiscarding)) return undefined
    const before = draft.state.passFailures
    const counts = isWorking && isBatchOutcome(file)
    const after = counts ? passFailuresAfter(before, file.passed, file.requests, settings.breaker) : before
    const isOver = isTripped(after, settings.breaker)
    // A run that was stopped by the breaker may be begun again: it then starts counting anew.
    if (after !== before) draft.apply({ kind: 'breaker', passFailures: isOver ? 0 : after })
    draft.apply({ kind: 'dropped', file: id })
    for (const suffix of filesOf(id)) draft.forget(suffix)
    // With nothing left to send there is nothing to stop.
    const isLast = draft.state.counters.pending === 0 && !isProducing()
    return isOver && !isLast ? after : undefined
  })
  if (!isDiscarding) reportResult(context, done, options.directSince)
  if (tripped === undefined) return false
  const message = `${tripped} batches in a row came back with less than ${settings.breaker.minPassRatio} of usable answers (--min-pass-ratio)`
  emit({ kind: 'warning', code: 'pass_ratio', message })
  return true
}

const isBatchOutcome = (file: QueueFile): boolean => file.phase === 'received' && file.status !== 'failed'

/** Answers that were there already are the result of no batch. */
function reportResult({ clock, emit }: Context, file: QueueFile | undefined, since?: number): void {
  if (file?.phase !== 'received' && file?.phase !== 'direct') return
  const directMs = since === undefined ? undefined : Math.max(0, clock.now() - since)
  emit({ kind: 'batch-result', file: file.id, metrics: resultMetrics({ file, directMs }) })
}
