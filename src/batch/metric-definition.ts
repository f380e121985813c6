import type { MetricSource } from './metric-sums.ts'

/** One figure: how it is made, and what docs/metrics.md says of it. */
export interface MetricDefinition {
  readonly name: string
  readonly meaning: string
  readonly unit: string
  readonly of: (source: MetricSource) => number | undefined
}

const NANO = 1e9
const KILO = 1000
const MIB = 1_048_576

type Figure = (source: MetricSource) => number | undefined

export const inUnit =
  (unit: string, per = 1) =>
  (name: string, meaning: string, of: Figure): MetricDefinition => ({
    name,
    meaning,
    unit,
    of: (source) => {
      const amount = of(source)
      return amount === undefined ? undefined : amount / per
    },
  })

export const samples = inUnit('samples')
export const requests = inUnit('requests')
export const batches = inUnit('batches')
export const number = inUnit('')
export const ktok = inUnit('thousand tokens', KILO)
export const mib = inUnit('MiB', MIB)
export const usd = inUnit('USD', NANO)

/** What answers by batch have cost so far, in nano-USD. */
export function batchNanoUsd({ state: { spending } }: MetricSource): number {
  return spending.costNanoUsd - spending.directNanoUsd - spending.flexNanoUsd
}
