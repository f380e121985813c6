/** The circuit breaker over batches that come back with too few usable answers. */
export interface BreakerSettings {
  /** Share of a batch that must be accepted, or have merely expired or been cancelled, 0 to 1. */
  readonly minPassRatio: number
  /** Consecutive batches below it that stop the run. */
  readonly maxPassFailures: number
}

/** Consecutive bad batches after one more batch. A batch without a single usable answer is bad whatever the ratio. */
export function passFailuresAfter(
  failuresBefore: number,
  passed: number,
  requests: number,
  settings: BreakerSettings,
): number {
  const bad = passed <= 0 || passed / requests < settings.minPassRatio
  return bad ? failuresBefore + 1 : 0
}

export const isTripped = (passFailures: number, settings: BreakerSettings): boolean =>
  passFailures >= settings.maxPassFailures
