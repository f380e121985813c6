import { assertNever } from '../util/exhaustive.ts'
import { type FileIn, isQueued, type QueueFile } from './queue-file.ts'

/** What is known of a batch beside its queue file. */
export interface BatchFacts {
  /** Its requests with an answer, failed ones included. */
  readonly completed: number
  /** It is being cancelled. */
  readonly isEnding: boolean
}

/**
 * Requests of a file that are not sent, or that its batch will not answer any more. Of a direct set those without a
 * verdict: what is on the wire is for the caller to take off.
 */
export function waitingIn(file: QueueFile, { completed, isEnding }: BatchFacts): number {
  if (isQueued(file)) return file.live
  switch (file.phase) {
    case 'direct':
      return file.live
    case 'remote':
      return isEnding ? unanswered(file, completed) : 0
    case 'ended':
      return isCutShort(file) ? unanswered(file, completed) : 0
    case 'received':
      return isCutShort(file) ? unanswered(file, file.answers ?? 0) : 0
    case 'filling':
    case 'reused':
      return 0
    default:
      return assertNever(file)
  }
}

const isCutShort = ({ status }: FileIn<'ended' | 'received'>): boolean =>
  status === 'cancelled' || status === 'expired'

const unanswered = ({ requests, live }: QueueFile, completed: number): number =>
  Math.max(0, Math.min(live, requests - completed))
