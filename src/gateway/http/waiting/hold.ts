/** What a client says of its patience, in milliseconds. */
export interface Patience {
  /** What its SDK waits for an answer; undefined: it does not say. */
  readonly timeoutMs: number | undefined
  /** What its caller asks for (`Prefer: wait`). */
  readonly waitMs: number | undefined
}

/** Node's own `fetch` gives up on an answer after 300 seconds, and says so to nobody. */
const UNSAID_MS = 280_000
const MAX_MARGIN_MS = 10_000
const MIN_MARGIN_MS = 250

/**
 * How long a call is held, in milliseconds since it came in: until shortly before its client would give up, so that it
 * hears that it has to come back instead of a connection that breaks. Who asks for a time has the patience for it.
 */
export function holdMs({ timeoutMs, waitMs }: Patience, maxHoldMs: number): number {
  const borne = timeoutMs === undefined ? (waitMs ?? UNSAID_MS) : timeoutMs - marginMs(timeoutMs)
  return Math.max(0, Math.min(borne, waitMs ?? borne, maxHoldMs))
}

const marginMs = (timeoutMs: number): number =>
  Math.min(MAX_MARGIN_MS, Math.max(MIN_MARGIN_MS, timeoutMs / 10))

/** SDKs take 60 at most: some ignore more, and some then do not come back at all. */
const MOST_SECONDS = 60

/** When to ask again for what is so old, in seconds: the longer it has taken, the longer it may still take. */
export const retryAfterSeconds = (ageMs: number): number =>
  Math.min(MOST_SECONDS, Math.max(1, Math.round(ageMs / 10_000)))
