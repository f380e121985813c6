import type { RemoteApi } from '../batch/remote-api.ts'
import { requestPlaces } from '../batch/request-places.ts'
import type { TaskState } from '../batch/task-state.ts'
import type { ProgressEvent, RequestCounts } from '../progress/events.ts'
import type { TokenUsage } from '../tokens/usage.ts'
import type { Clock } from '../util/clock.ts'
import type { DeadlineWatch } from './deadline-watch.ts'
import type { Governor } from './governor.ts'
import type { RequesterSettings } from './settings.ts'
import type { TaskStore } from './store.ts'
import type { Valuer } from './valuer.ts'

/** What all parts of a requester work with. */
export interface Context {
  readonly store: TaskStore
  readonly api: RemoteApi
  readonly clock: Clock
  readonly settings: RequesterSettings
  /** What requests and answers are worth. */
  readonly valuer: Valuer
  /** What may be enqueued. */
  readonly governor: Governor
  readonly emit: (event: ProgressEvent) => void
  /** Undefined for a run without a deadline. */
  readonly pace?: DeadlineWatch | undefined
  /** Aborted by the first request to stop: begin nothing new, end waits and transfers that can be repeated. */
  readonly stop: AbortSignal
  /** Aborted by the second: give up on calls that are on the wire, too. */
  readonly cut: AbortSignal
}

/** Tokens of all replies received so far. */
export const usageSoFar = ({ spending }: Pick<TaskState, 'spending'>): TokenUsage => ({
  input: spending.inputTokens,
  cachedInput: spending.cachedInputTokens,
  cacheWrite: spending.cacheWriteTokens,
  output: spending.outputTokens,
  reasoning: spending.reasoningTokens,
})

/** Requests by where they are, for people. */
export function requestCounts(state: TaskState): RequestCounts {
  const { queued, waiting, inFlight } = requestPlaces(state)
  const { costNanoUsd, unpricedReplies } = state.spending
  return {
    ...state.counters,
    queued: queued + waiting,
    inFlight,
    costNanoUsd: unpricedReplies > 0 ? undefined : costNanoUsd,
  }
}
