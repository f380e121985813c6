import { type Clock, systemClock } from '../util/clock.ts'
import type { ProgressEvent } from './events.ts'
import type { Reporter } from './reporter.ts'
import { type DirectVerbose, isToldWhole } from './terminal-text.ts'

export interface JsonReporterOptions {
  readonly write: (line: string) => void
  /** Default: the system's. */
  readonly clock?: Pick<Clock, 'now'>
  /**
   * Which direct calls are told with `request` and `reply`: `error` those that failed, `warn` also refusals, cuts, ...
   * Default: `never`.
   */
  readonly directVerbose?: DirectVerbose
}

/**
 * Writes each event as one line of JSON for programs: `{"time":"2026-01-01T12:00:00.000Z","kind":"judged",...}`, with
 * the fields of `ProgressEvent`. A field that is undefined is left out.
 */
export class JsonReporter implements Reporter {
  readonly #options: Required<JsonReporterOptions>
  #hasFailed = false

  constructor({ write, clock = systemClock, directVerbose = 'never' }: JsonReporterOptions) {
    this.#options = { write, clock, directVerbose }
  }

  onEvent(event: ProgressEvent): void {
    this.#hasFailed ||= event.kind === 'run-failed'
    const isWhole = event.kind !== 'direct-call' || isToldWhole(event, this.#options.directVerbose)
    this.#write(isWhole ? event : { ...event, request: undefined, reply: undefined })
  }

  /** Tells what is no event of the run, such as a signal, under a kind of its own. */
  note(kind: 'note' | 'warning' | 'error', message: string): void {
    this.#write({ kind, message })
  }

  /** Tells why the run could not do its work, as an `error`, unless `run-failed` has told it. */
  fail(message: string): void {
    if (!this.#hasFailed) this.note('error', message)
  }

  #write(fields: Readonly<Record<string, unknown>>): void {
    const time = new Date(this.#options.clock.now()).toISOString()
    this.#options.write(`${JSON.stringify({ time, ...fields })}\n`)
  }
}
