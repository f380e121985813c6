/** What is left of a number of calls a minute; made anew when the number changes. */
export interface Bucket {
  readonly perMinute: number
  /** In parts of a call, of which it has 60,000: each millisecond brings as many as calls are allowed in a minute. */
  readonly parts: number
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

const CALL = 60_000

/** Takes one call out of the bucket, which fills evenly and holds a minute's worth. */
export function draw(before: Bucket | undefined, perMinute: number, nowMs: number): Draw {
  const there = filled(before, perMinute, nowMs)
  const allowed = there >= CALL
  const parts = allowed ? there - CALL : there
  return {
    bucket: { perMinute, parts, at: nowMs },
    allowed,
    remaining: Math.floor(parts / CALL),
    waitMs: Math.ceil(Math.max(0, CALL - parts) / perMinute),
    fullMs: Math.ceil((perMinute * CALL - parts) / perMinute),
  }
}

function filled(before: Bucket | undefined, perMinute: number, nowMs: number): number {
  if (before?.perMinute !== perMinute) return perMinute * CALL
  const passedMs = Math.max(0, nowMs - before.at)
  return Math.min(perMinute * CALL, before.parts + passedMs * perMinute)
}
