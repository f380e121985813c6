const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 60_000

/** Milliseconds to wait after so many failures in a row. A server may ask for more, but not for haste. */
export const pauseMs = (failures: number, retryAfterMs = 0): number =>
  Math.max(retryAfterMs, Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, failures - 1)))
