import type { Clock } from '../util/clock.ts'
import { assertNever } from '../util/exhaustive.ts'
import { formatCount, formatDuration } from '../util/format.ts'
import { oneLine } from '../util/text.ts'
import type { ProgressEvent, RequestCounts } from './events.ts'
import type { Reporter } from './reporter.ts'
import { StatusLine } from './status-line.ts'
import {
  batchesText,
  batchText,
  countsText,
  directCallText,
  directText,
  type EventOf,
  failureText,
  requestsText,
  timeOfDay,
  waitingText,
} from './terminal-text.ts'

export interface TerminalReporterOptions {
  readonly write: (text: string) => void
  /** Whether a line can be rewritten in place. */
  readonly isTTY: boolean
  /** Width of the screen in characters, asked anew each time; anything below 20 counts as 80. */
  readonly columns: () => number
  readonly clock: Clock
  readonly color: boolean
  /** How many warnings of one kind are printed. */
  readonly showWarnings: number
  /** How many errors of one kind are printed. */
  readonly showErrors: number
  /** Which direct calls are printed: `error` those that failed, `warn` also those with a refusal, a cut, ... */
  readonly directVerbose: 'never' | 'error' | 'warn' | 'always'
}

/** Numbers that change all the time are told in a line this often, and not more often. */
const SUMMARY_MS = 10_000
const NARROWEST = 20
const USUAL_COLUMNS = 80

const STYLES = { dim: '\u001b[2m', warning: '\u001b[33m', error: '\u001b[31m' } as const
const RESET = '\u001b[0m'
type Style = keyof typeof STYLES

/**
 * Tells people at a terminal how a run goes: a line with the time for each change of state, and, where lines can be
 * rewritten, one status line below them. Everything is written at once and in order; `close` removes the status line
 * and says how many messages were left out.
 */
export class TerminalReporter implements Reporter {
  readonly #options: TerminalReporterOptions
  readonly #batches = new Map<number, EventOf<'batch-changed'>>()
  readonly #told = new Map<string, { readonly count: number; readonly limit: number }>()
  readonly #status: StatusLine | undefined
  readonly #startedMs: number
  #counts: RequestCounts | undefined
  #lastWait: string | undefined
  #added = 0
  #untold = false
  #summarisedMs: number
  #closed = false

  constructor(options: TerminalReporterOptions) {
    this.#options = options
    this.#startedMs = options.clock.now()
    this.#summarisedMs = this.#startedMs
    const { write, clock } = options
    const parts = { write, clock, columns: () => this.#columns(), render: () => this.#statusText() }
    this.#status = options.isTTY ? new StatusLine(parts) : undefined
  }

  onEvent(event: ProgressEvent): void {
    if (this.#closed) return
    if ('counts' in event) this.#counts = event.counts
    this.#show(event)
    this.#summarise()
    this.#status?.refresh()
  }

  /** Takes the status line away while something else has the bottom of the screen, such as a question. */
  pause(): void {
    this.#status?.hide()
  }

  resume(): void {
    this.#status?.show()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#status?.close()
    this.#logAdded()
    const hidden = this.#hiddenText()
    if (hidden) this.#log(`not shown: ${hidden}`, 'warning')
  }

  #show(event: ProgressEvent): void {
    const { kind } = event
    if (kind === 'run-started') this.#log(oneLine(`task ${event.task}: ${countsText(event.counts)}`))
    else if (kind === 'requests-added') this.#added += event.added
    else if (kind === 'batch-changed') this.#showBatch(event)
    else if (kind === 'direct-started') this.#log(directText(event))
    else if (kind === 'waiting') this.#showWait(event)
    else if (kind === 'judged') this.#untold = true
    else if (kind === 'request-failed') this.#showFailure(event)
    else if (kind === 'direct-call') this.#showCall(event)
    else if (kind === 'warning') this.#showWarning(event)
    else if (kind === 'run-finished') this.#showEnd(event)
    else assertNever(kind)
  }

  #showBatch(event: EventOf<'batch-changed'>): void {
    const before = this.#batches.get(event.file)
    this.#batches.set(event.file, event)
    if (before?.status !== event.status) this.#log(batchText(event))
  }

  /** A wait is told once, although it is reported at every poll. */
  #showWait(event: EventOf<'waiting'>): void {
    if (event.reason === this.#lastWait) return
    this.#lastWait = event.reason
    this.#log(waitingText(event, this.#options.clock.now()))
  }

  #showCall(event: EventOf<'direct-call'>): void {
    const { directVerbose } = this.#options
    const shown = { never: false, error: !event.ok, warn: !event.ok || event.warned, always: true }
    if (!shown[directVerbose]) return
    this.#log(directCallText(event, this.#columns()), event.ok ? undefined : 'error')
  }

  #showEnd({ outcome, counts }: EventOf<'run-finished'>): void {
    const elapsed = formatDuration(this.#elapsedMs())
    this.#untold = false
    this.#log(oneLine(`run finished after ${elapsed}, ${outcome}: ${countsText(counts)}`))
  }

  #showFailure(event: EventOf<'request-failed'>): void {
    this.#showLimited(event.final ? 'failed requests' : 'retries', failureText(event), event.final)
  }

  #showWarning({ code, message }: EventOf<'warning'>): void {
    this.#showLimited(`warnings (${oneLine(code)})`, `warning: ${oneLine(message)}`, false)
  }

  #showLimited(category: string, text: string, isError: boolean): void {
    const limit = isError ? this.#options.showErrors : this.#options.showWarnings
    const count = (this.#told.get(category)?.count ?? 0) + 1
    this.#told.set(category, { count, limit })
    if (count <= limit) this.#log(text, isError ? 'error' : 'warning')
  }

  #hiddenText(): string {
    const hidden = [...this.#told].filter(([, { count, limit }]) => count > limit)
    return hidden
      .map(([category, { count, limit }]) => `${formatCount(count - limit)} ${category}`)
      .join(', ')
  }

  /** Now and then: what was added, and, where no status line shows it, how far the run is. */
  #summarise(): void {
    const now = this.#options.clock.now()
    if (now - this.#summarisedMs < SUMMARY_MS) return
    this.#summarisedMs = now
    this.#logAdded()
    if (this.#untold && this.#counts && !this.#status) this.#log(countsText(this.#counts))
    this.#untold = false
  }

  #logAdded(): void {
    const added = this.#added
    this.#added = 0
    if (added > 0) this.#log(`${requestsText(added)} added`)
  }

  #statusText(): string {
    const parts = [
      formatDuration(this.#elapsedMs()),
      ...(this.#counts ? [countsText(this.#counts)] : []),
      ...(this.#batches.size > 0 ? [`batches: ${batchesText(this.#batches.values())}`] : []),
    ]
    return parts.join(' | ')
  }

  #elapsedMs(): number {
    return this.#options.clock.now() - this.#startedMs
  }

  #columns(): number {
    const columns = this.#options.columns()
    return columns >= NARROWEST ? columns : USUAL_COLUMNS
  }

  #log(text: string, style?: Style): void {
    this.#logAdded()
    const time = this.#paint(timeOfDay(this.#options.clock.now()), 'dim')
    const line = `${time} ${this.#paint(text, style)}\n`
    if (this.#status) this.#status.writeAbove(line)
    else this.#options.write(line)
  }

  #paint(text: string, style: Style | undefined): string {
    return style && this.#options.color ? `${STYLES[style]}${text}${RESET}` : text
  }
}
