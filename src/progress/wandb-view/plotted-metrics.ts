import { METRICS } from '../../batch/metrics.ts'
import { RESULT_METRICS } from '../../batch/result-metrics.ts'
import type { PlottedMetric } from './view-plan.ts'

/** Figures that are words. */
const TEXTS: ReadonlySet<string> = new Set(['Result/model', 'Result/status'])

/** Everything that rows of the history have figures of, as docs/metrics.md lists it. */
export const PLOTTED_METRICS: readonly PlottedMetric[] = [
  ...METRICS,
  // What parameters a task has, and which of them are numbers, only the task knows.
  { name: 'TaskMeta/<name>', unit: '' },
  ...RESULT_METRICS,
].map(({ name, unit }) => ({ name, unit, isText: TEXTS.has(name) }))
