import { type BatchProgress, type MetricFacts, type Metrics, taskMetrics } from '../batch/metrics.ts'
import type { QueueFile } from '../batch/queue-file.ts'
import type { ProgressEvent } from '../progress/events.ts'
import { noForecast } from '../tokens/forecast.ts'
import type { PricedApi } from '../tokens/prices.ts'
import { type Context, requestCounts } from './context.ts'
import type { OutputPlacement } from './output-placement.ts'
import { Sampler } from './sampler.ts'

/** What only the running parts of a requester know. */
export type LiveFacts = Pick<
  MetricFacts,
  'before' | 'uncommitted' | 'passes' | 'isProducing' | 'processedFailedBatches'
>

type FigureSources = Pick<Context, 'store' | 'settings' | 'valuer' | 'clock' | 'emit'>

/** Tells the figures of a task that is being worked on: of what is durable, and of what the server says of its batches. */
export class Figures {
  readonly #sources: FigureSources
  readonly #output: OutputPlacement
  readonly #live: () => LiveFacts
  readonly #sampler: Sampler
  readonly #progress = new Map<number, BatchProgress>()

  constructor(sources: FigureSources, output: OutputPlacement, live: () => LiveFacts) {
    this.#sources = sources
    this.#output = output
    this.#live = live
    this.#sampler = new Sampler({
      ...sources,
      counts: () => requestCounts(sources.store.durable.state),
      metrics: (requestsPerMinute) => this.#metrics(requestsPerMinute),
    })
  }

  /** Tells them at once, and from now on while they change. */
  begin(): void {
    this.#sampler.begin()
  }

  /** Tells them once more. */
  end(): void {
    this.#sampler.end()
  }

  /** Takes note of what has become durable, or of what an event says of a batch. */
  note(event: ProgressEvent): void {
    if (event.kind === 'batch-changed' && event.completed !== undefined)
      this.#progress.set(event.file, { completed: event.completed, failed: event.failed ?? 0 })
    if (event.kind === 'batch-changed' || event.kind === 'judged') this.#sampler.touch()
  }

  #metrics(requestsPerMinute: number | undefined): Metrics {
    const { store, settings } = this.#sources
    const { state, requests } = store.durable
    for (const id of this.#progress.keys()) if (!state.files.has(id)) this.#progress.delete(id)
    return taskMetrics({
      ...this.#live(),
      requestsPerMinute,
      state,
      lastRequest: requests.last,
      samples: requests.sampleTally,
      outputBytes: store.length(this.#output.suffix(state.output.part)),
      progress: this.#progress,
      expectedNanoUsd: (file, api) => this.#expected(file, api),
      maxSpendNanoUsd: settings.limits.maxSpendNanoUsd,
    })
  }

  #expected({ tokens = noForecast, model }: QueueFile, api: PricedApi): number {
    return this.#sources.valuer.expectedNanoUsd(tokens, model, api)
  }
}
