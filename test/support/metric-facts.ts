import type { MetricFacts } from '../../src/batch/metric-facts.ts'
import { initialState } from '../../src/batch/task-state.ts'

/** What figures are made of, for a task of which nothing is known but what is given. */
export const metricFacts = (over: Partial<MetricFacts> = {}): MetricFacts => ({
  state: initialState,
  before: initialState.spending,
  lastRequest: 0,
  samples: { committed: 0, succeeded: 0, failed: 0, mixed: 0 },
  uncommitted: 0,
  outputBytes: 0,
  progress: new Map(),
  expectedNanoUsd: () => 0,
  maxSpendNanoUsd: undefined,
  processedFailedBatches: 0,
  passes: 0,
  isProducing: false,
  requestsPerMinute: undefined,
  ...over,
})
