import type { Metrics } from '../batch/metrics.ts'
import { errorText } from '../errors.ts'
import type { ProgressEvent, RequestCounts } from '../progress/events.ts'
import type { Clock } from '../util/clock.ts'

/** Samples are told at most this often. */
const SAMPLE_MS = 1_000
/** Of how long the rate tells. */
const RATE_MS = 5 * 60_000
/** Of a shorter time no rate is told. */
const LEAST_RATE_MS = 1_000

export interface SamplerOptions {
  readonly clock: Clock
  readonly emit: (event: ProgressEvent) => void
  readonly counts: () => RequestCounts
  /** All figures. `requestsPerMinute`: the one that the sampler itself knows. */
  readonly metrics: (requestsPerMinute: number | undefined) => Metrics
}

interface Mark {
  readonly atMs: number
  readonly verdicts: number
}

const BACKGROUND = { background: true } as const

/**
 * Tells all figures of the task while they change: at `begin`, after a `touch` as soon as a second has gone by since
 * the last time, and at `end`. A touch costs nothing; nothing is told while nothing changes.
 *
 *     idle -- begin --> told -- touch --> armed -- a second --> told ... -- end --> over
 */
export class Sampler {
  readonly #options: SamplerOptions
  readonly #marks: Mark[] = []
  #state: 'idle' | 'running' | 'over' = 'idle'
  #toldMs = 0
  #timer: AbortController | undefined

  constructor(options: SamplerOptions) {
    this.#options = options
  }

  /** Tells the first sample. Before, and after `end`, nothing is told. */
  begin(): void {
    if (this.#state !== 'idle') return
    this.#state = 'running'
    this.#tell()
  }

  /** Something that figures are made of has changed. */
  touch(): void {
    if (this.#state !== 'running' || this.#timer) return
    const timer = new AbortController()
    this.#timer = timer
    void this.#tellLater(timer.signal)
  }

  /** Tells the last sample, if there was a first. */
  end(): void {
    const wasRunning = this.#state === 'running'
    this.#state = 'over'
    this.#timer?.abort()
    if (wasRunning) this.#tell()
  }

  /** Never rejects: `emit` keeps the faults of reporters away. */
  async #tellLater(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options
    const sinceMs = clock.now() - this.#toldMs
    // A clock that was set back must not stretch the wait.
    const ms = sinceMs < 0 ? SAMPLE_MS : Math.max(0, SAMPLE_MS - sinceMs)
    await clock.sleep(ms, signal, BACKGROUND)
    if (signal.aborted) return
    this.#timer = undefined
    this.#tell()
  }

  /** Never throws: figures are not worth a run. */
  #tell(): void {
    const { clock, emit } = this.#options
    this.#toldMs = clock.now()
    try {
      emit(this.#sample(this.#toldMs))
    } catch (error) {
      this.#state = 'over'
      const message = `the figures of the task cannot be told any more: ${errorText(error)}`
      emit({ kind: 'warning', code: 'no_figures', message })
    }
  }

  #sample(atMs: number): ProgressEvent {
    const counts = this.#options.counts()
    const rate = this.#rate({ atMs, verdicts: counts.succeeded + counts.failed })
    return { kind: 'sample', metrics: this.#options.metrics(rate), counts }
  }

  /** Verdicts a minute since the oldest mark that still counts. */
  #rate(now: Mark): number | undefined {
    const marks = this.#marks
    const before = marks.at(-1)
    // A wipe takes verdicts back, and a clock may be set back: what was before then tells nothing.
    if (before && (now.atMs < before.atMs || now.verdicts < before.verdicts)) marks.length = 0
    while (marks.length > 1 && (marks[1]?.atMs ?? 0) <= now.atMs - RATE_MS) marks.shift()
    const oldest = marks[0]
    marks.push(now)
    const ms = oldest ? now.atMs - oldest.atMs : 0
    return oldest && ms >= LEAST_RATE_MS ? ((now.verdicts - oldest.verdicts) / ms) * 60_000 : undefined
  }
}
