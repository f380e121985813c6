import { holdsReused, inPhase, isUnpushed, type QueueFile } from '../batch/queue-file.ts'
import type { RequesterSettings } from './settings.ts'

const isDirect = inPhase('direct')

/** So many answers used again wait for a verdict before no more requests are generated. */
const MOST_REUSED = 10_000

/** Too much is waiting to be sent, or for its verdict: no more should be generated. */
export function isCongested(files: readonly QueueFile[], settings: RequesterSettings): boolean {
  const { maxUnpushedBatches, seal, directConcurrency } = settings
  const mostDirect = Math.max(maxUnpushedBatches * seal.maxDirectRequests, 4 * directConcurrency)
  return (
    files.filter(isUnpushed).length >= maxUnpushedBatches ||
    liveIn(files.filter(isDirect)) >= mostDirect ||
    liveIn(files.filter(holdsReused)) >= MOST_REUSED
  )
}

const liveIn = (files: readonly QueueFile[]): number => files.reduce((sum, { live }) => sum + live, 0)
