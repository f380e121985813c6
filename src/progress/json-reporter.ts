import type { Clock } from '../util/clock.ts'
import type { ProgressEvent } from './events.ts'
import type { Reporter } from './reporter.ts'
import { type DirectVerbose, isToldWhole } from './terminal-text.ts'

export interface JsonReporterOptions {
  readonly write: (line: string) => void
  readonly clock: Clock
  /** Which direct calls are told with `request` and `reply`: `error` those that failed, `warn` also refusals, cuts, ... */
  readonly directVerbose: DirectVerbose
}

/**
 * Writes each event as one line of JSON for programs: `{"time":"2026-01-01T12:00:00.000Z","kind":"judged",...}`, with
 * the fields of `ProgressEvent`. A field that is undefined is left out.
 */
export class JsonReporter implements Reporter {
  readonly #options: JsonReporterOptions

  constructor(options: JsonReporterOptions) {
    this.#options = options
  }

  onEvent(event: ProgressEvent): void {
    const isWhole = event.kind !== 'direct-call' || isToldWhole(event, this.#options.directVerbose)
    this.#write(isWhole ? event : { ...event, request: undefined, reply: undefined })
  }

  /** Tells what is no event of the run, such as a signal, under a kind of its own. */
  note(kind: 'note' | 'warning' | 'error', message: string): void {
    this.#write({ kind, message })
  }

  #write(fields: Readonly<Record<string, unknown>>): void {
    const time = new Date(this.#options.clock.now()).toISOString()
    this.#options.write(`${JSON.stringify({ time, ...fields })}\n`)
  }
}
