/** What is left of a number of calls a minute; made anew when the number changes. */
export interface Bucket {
  readonly perMinute: number
  readonly tokens: number
  readonly at: number
}

export interface Draw {
  readonly bucket: Bucket
  readonly allowed: boolean
  /** Whole calls that are left at once. */
  readonly remaining: number
  /** Until a call is allowed again; 0 when one is. */
  readonly waitMs: number
  /** Until all are there again. */
  readonly fullMs: number
}

const MINUTE_MS = 60_000

/** Takes one call out of the bucket, which fills evenly and holds a minute's worth. */
export function draw(before: Bucket | undefined, perMinute: number, nowMs: number): Draw {
  const perMs = perMinute / MINUTE_MS
  const there = filled(before, perMinute, nowMs)
  const allowed = there >= 1
  const tokens = allowed ? there - 1 : there
  return {
    bucket: { perMinute, tokens, at: nowMs },
    allowed,
    remaining: Math.floor(tokens),
    waitMs: tokens >= 1 ? 0 : Math.ceil((1 - tokens) / perMs),
    fullMs: Math.ceil((perMinute - tokens) / perMs),
  }
}

function filled(before: Bucket | undefined, perMinute: number, nowMs: number): number {
  if (!before || before.perMinute !== perMinute) return perMinute
  const passed = Math.max(0, nowMs - before.at)
  return Math.min(perMinute, before.tokens + (passed * perMinute) / MINUTE_MS)
}
