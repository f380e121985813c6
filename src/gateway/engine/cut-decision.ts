import type { CutLimits, QueueLoad } from '../domain/batch.ts'

/** What is to be done about a group of requests that wait. `wait`: its window ends then, in milliseconds since 1970. */
export type CutDecision =
  | { readonly do: 'cut' }
  | { readonly do: 'direct' }
  | { readonly do: 'wait'; readonly untilMs: number }

export interface CutFacts {
  readonly nowMs: number
  readonly windowMs: number
  readonly limits: CutLimits
  /** Groups with fewer requests go direct when their window ends. */
  readonly directBelow: number
}

/** A group is batched when it is full, or when its window has passed since the first of its requests came. */
export function cutDecision(load: QueueLoad, facts: CutFacts): CutDecision {
  const { nowMs, windowMs, limits, directBelow } = facts
  if (isFull(load, limits)) return { do: 'cut' }
  const untilMs = load.oldestAt + windowMs
  // With a clock that was set back a window would not end.
  if (nowMs < untilMs && load.oldestAt <= nowMs + windowMs) return { do: 'wait', untilMs }
  return { do: load.requests < directBelow ? 'direct' : 'cut' }
}

/** As much as one batch may have waits. */
export const isFull = (
  { requests, bytes, tokens }: Pick<QueueLoad, 'requests' | 'bytes' | 'tokens'>,
  limits: CutLimits,
): boolean => requests >= limits.requests || bytes >= limits.bytes || tokens >= limits.tokens
