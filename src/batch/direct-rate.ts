/** How fast direct calls may go: additive increase, multiplicative decrease, and a pause when the server asks for one. */
export interface DirectRate {
  /** Calls at once; a fraction so that growth is one per round of calls. */
  readonly limit: number
  readonly max: number
  /** Nothing is sent before this time. */
  readonly pausedUntilMs: number
  /** When that was decided. */
  readonly pausedAtMs: number
  /** Consecutive pushbacks. */
  readonly pushbacks: number
  /** Server errors (5xx) since the last good answer. */
  readonly serverErrors: number
}

const MIN_PAUSE_MS = 1_000
const MAX_PAUSE_MS = 60_000
const SHRINK = 0.5
/** One error is an accident of one request; so many on end are trouble at the server. */
const TROUBLE = 3

export const initialRate = (concurrency: number): DirectRate => ({
  limit: concurrency,
  max: concurrency,
  pausedUntilMs: 0,
  pausedAtMs: 0,
  pushbacks: 0,
  serverErrors: 0,
})

/** Calls that may be on the wire at once: at least 1. */
export const concurrencyOf = (rate: DirectRate): number => Math.max(1, Math.floor(rate.limit))

/** Milliseconds until something may be sent again; with a clock that was set back, the whole pause and not more. */
export const pauseLeftMs = ({ pausedUntilMs, pausedAtMs }: DirectRate, nowMs: number): number =>
  Math.max(0, pausedUntilMs - Math.max(nowMs, pausedAtMs))

/** The server answered normally. */
export const afterSuccess = (rate: DirectRate): DirectRate =>
  rate.limit >= rate.max && rate.pushbacks === 0 && rate.serverErrors === 0
    ? rate
    : {
        ...rate,
        limit: Math.min(rate.max, rate.limit + 1 / Math.max(1, rate.limit)),
        pushbacks: 0,
        serverErrors: 0,
      }

/** The server answered with an error of its own (5xx). */
export function afterServerError(
  rate: DirectRate,
  nowMs: number,
  retryAfterMs: number | undefined,
): DirectRate {
  const counted = { ...rate, serverErrors: rate.serverErrors + 1 }
  const isTrouble = counted.serverErrors >= TROUBLE || retryAfterMs !== undefined
  return isTrouble ? afterPushback(counted, nowMs, retryAfterMs) : counted
}

/**
 * The server pushed back (429, or no answer). Calls that were already on the wire when the pause began count as
 * one pushback with the call that caused it, or a full round of 429 would shrink the limit to one.
 */
export function afterPushback(rate: DirectRate, nowMs: number, retryAfterMs: number | undefined): DirectRate {
  const asked = retryAfterMs === undefined ? 0 : nowMs + retryAfterMs
  if (pauseLeftMs(rate, nowMs) > 0) return { ...rate, pausedUntilMs: Math.max(rate.pausedUntilMs, asked) }
  const own = nowMs + Math.min(MAX_PAUSE_MS, MIN_PAUSE_MS * 2 ** rate.pushbacks)
  return {
    ...rate,
    limit: Math.max(1, rate.limit * SHRINK),
    pausedUntilMs: Math.max(own, asked),
    pausedAtMs: nowMs,
    pushbacks: rate.pushbacks + 1,
  }
}
