import { hideSecrets } from '../util/option-names.ts'
import type { MetricDefinition } from './metric-definition.ts'
import type { MetricFacts } from './metric-facts.ts'
import { type MetricSource, sumFiles } from './metric-sums.ts'
import { OWN_METRICS } from './own-metrics.ts'
import { SHARED_METRICS } from './shared-metrics.ts'
import { currentParams } from './task-state.ts'

export type { BatchProgress, MetricFacts } from './metric-facts.ts'

/** Figures of a task by their names, such as `Task/samples_pending`; docs/metrics.md lists them. Numbers are finite. */
export type Metrics = Readonly<Record<string, number | string>>

/** All figures but the parameters of the task, in the order of docs/metrics.md. */
export const METRICS: readonly MetricDefinition[] = [...SHARED_METRICS, ...OWN_METRICS]

/**
 * All figures of a task. Takes time by the number of its queue files, not of its requests. What is not known is left
 * out.
 */
export function taskMetrics(facts: MetricFacts): Metrics {
  const source: MetricSource = { ...facts, sums: sumFiles(facts) }
  const metrics: Record<string, number | string> = {}
  for (const { name, of } of METRICS) {
    const value = of(source)
    if (value !== undefined && Number.isFinite(value)) metrics[name] = value
  }
  return Object.assign(metrics, paramMetrics(currentParams(facts.state)))
}

const MOST_PARAMS = 100
const LONGEST_PARAM = 500
const LONGEST_NAME = 100
/** What may hold something secret is told to nobody. */
const SECRET_NAME = /api.?key|secret|passw|credential|authorization|(access|auth|bearer).?token|(key|token)$/i

/** `TaskMeta/<name>`: parameters that are a number, a text, or true or false (1 or 0); the first hundred. */
function paramMetrics(params: unknown): Metrics {
  if (typeof params !== 'object' || params === null || Array.isArray(params)) return {}
  const told = Object.entries(params)
    .slice(0, MOST_PARAMS)
    .flatMap(([name, value]) => {
      const figure = paramFigure(value)
      return figure === undefined || name.length > LONGEST_NAME || SECRET_NAME.test(name)
        ? []
        : [[`TaskMeta/${name}`, figure] as const]
    })
  return Object.fromEntries(told)
}

function paramFigure(value: unknown): number | string | undefined {
  if (typeof value === 'boolean') return value ? 1 : 0
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  return typeof value === 'string' ? hideSecrets(value.slice(0, LONGEST_PARAM)).toWellFormed() : undefined
}
