import {
  type Calibration,
  estimateText,
  isSampled,
  noCalibration,
  sampleWeight,
  withSample,
} from '../tokens/calibration.ts'
import type { BodyMeasure } from '../tokens/measure.ts'
import type { Countable } from './countable.ts'
import type { PromptCounts } from './prompt-counts.ts'

export interface TextSamplesOptions {
  readonly counts: PromptCounts
  readonly measure: (request: Countable) => BodyMeasure
  /** Told of what a count had to assume. */
  readonly onAssumption: (assumption: string) => void
}

type Group = Pick<Countable, 'endpoint' | 'model'>

/** What samples of a run's own requests teach about how many tokens their text has, apart for each endpoint and model. */
export class TextSamples {
  readonly #options: TextSamplesOptions
  readonly #calibrations = new Map<string, Calibration>()
  /** Requests of each group that came by so far. */
  readonly #seen = new Map<string, number>()

  constructor(options: TextSamplesOptions) {
    this.#options = options
  }

  /** Counts some of the requests that come by. */
  async take(requests: readonly Countable[]): Promise<void> {
    for (const request of requests) {
      const group = groupOf(request)
      const seen = this.#seen.get(group) ?? 0
      this.#seen.set(group, seen + 1)
      if (isSampled(seen)) await this.#learn(group, request, sampleWeight(seen))
    }
  }

  /** Expected tokens of so many bytes of text. */
  estimate(group: Group, textBytes: number): number {
    return estimateText(this.#calibrations.get(groupOf(group)) ?? noCalibration, textBytes)
  }

  async #learn(group: string, request: Countable, weight: number): Promise<void> {
    const { counts, measure, onAssumption } = this.#options
    await counts.load(request.model)
    const counted = counts.count(request)
    if (!counted) return
    const known = this.#calibrations.get(group) ?? noCalibration
    const { textBytes } = measure(request)
    this.#calibrations.set(group, withSample(known, textBytes, counted.total - counted.images, weight))
    for (const assumption of counted.assumptions) onAssumption(assumption)
  }
}

const groupOf = ({ endpoint, model }: Group): string => `${endpoint} ${model}`
