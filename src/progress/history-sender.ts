import type { Clock } from '../util/clock.ts'
import type { Settings } from '../util/options.ts'
import type { ProgressEvent } from './events.ts'

/** The history of a run, for whoever delivers it elsewhere while it is written. */
export interface HistorySource {
  /** Path of `<name>_progress.jsonl`. Only the lines that `durable` told of may be read. */
  readonly path: string
  readonly taskDir: string
  readonly name: string
  readonly className: string
  readonly settings: Settings
  readonly clock: Clock
  /** Tells the reporters of this run something, such as a `warning`. */
  readonly emit: (event: ProgressEvent) => void
}

/** How a run ended. `exitCode` as the command line has it: 0 complete, 3 to be gone on with, 1 failed, 130 interrupted. */
export interface RunEnd {
  readonly outcome: string
  readonly exitCode: 0 | 1 | 3 | 130
}

const COMPLETE: ReadonlySet<string> = new Set(['complete', 'no-run', 'dry-run', 'quote'])

/** The end of a run that came to an outcome. */
export const finishedAs = (outcome: string): RunEnd => ({
  outcome,
  exitCode: outcome === 'interrupted' ? 130 : COMPLETE.has(outcome) ? 0 : 3,
})

/** The end of a run that threw. */
export const FAILED: RunEnd = { outcome: 'failed', exitCode: 1 }

/** Delivers a history. No hook may throw or wait; what fails is told by `warning` events. */
export interface HistorySender {
  /** So many bytes of the file are on disk for good, all of them whole lines. Called about once a second at most. */
  durable(bytes: number): void
  /** All of the run's history is durable. Resolves when it is delivered, or is not to be waited for: after some seconds at most. */
  end(end: RunEnd): Promise<void>
}

/** Undefined when the history of this run is to be sent nowhere. */
export type OpenSender = (source: HistorySource) => HistorySender | undefined
