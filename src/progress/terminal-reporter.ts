import type { Clock } from '../util/clock.ts'
import { assertNever } from '../util/exhaustive.ts'
import { formatDuration } from '../util/format.ts'
import { oneLine } from '../util/text.ts'
import type { ProgressEvent, RequestCounts } from './events.ts'
import { LiveBlock } from './live-block.ts'
import { LiveFacts } from './live-facts.ts'
import { renderLive, type ScreenSize } from './live-render.ts'
import { MessageLimits } from './message-limits.ts'
import type { Reporter } from './reporter.ts'
import { paint, type Style } from './terminal-style.ts'
import {
  batchesText,
  batchText,
  countsText,
  type DirectVerbose,
  directCallText,
  directText,
  type EventOf,
  failureText,
  isToldWhole,
  requestsText,
  resultText,
  timeOfDay,
  waitingText,
  wipedText,
} from './terminal-text.ts'

export interface TerminalReporterOptions {
  readonly write: (text: string) => void
  /** Whether rows can be rewritten in place. */
  readonly isTTY: boolean
  /** Width of the screen in characters, asked anew each time; 0 counts as 80. */
  readonly columns: () => number
  /** Its height, asked anew each time; 0 counts as 24. Default: 24. */
  readonly rows?: () => number
  readonly clock: Clock
  readonly color: boolean
  /** How many warnings of one kind are printed. */
  readonly showWarnings: number
  /** How many errors of one kind are printed. */
  readonly showErrors: number
  /** Which direct calls are printed: `error` those that failed, `warn` also those with a refusal, a cut, ... */
  readonly directVerbose: DirectVerbose
}

/** Numbers that change all the time are told in a line this often, and not more often. */
const SUMMARY_MS = 10_000
const USUAL_COLUMNS = 80
const USUAL_ROWS = 24

/**
 * Tells people at a terminal how a run goes: a line with the time for each change of state, and, where rows can be
 * rewritten, a live display below them; elsewhere a summary every 10 seconds. Everything is written at once and in
 * order; `close` takes the display away and says how many messages were left out.
 */
export class TerminalReporter implements Reporter {
  readonly #options: TerminalReporterOptions
  readonly #facts: LiveFacts
  readonly #batches = new Map<number, EventOf<'batch-changed'>>()
  readonly #limits = new MessageLimits()
  readonly #block: LiveBlock | undefined
  readonly #startedMs: number
  #counts: RequestCounts | undefined
  #lastWait: string | undefined
  #added = 0
  #lastSummary = ''
  #untold = false
  #hasEnded = false
  #summarisedMs: number
  #pauses = 0
  #closed = false

  constructor(options: TerminalReporterOptions) {
    this.#options = options
    const { write, clock, isTTY, color } = options
    this.#startedMs = clock.now()
    this.#summarisedMs = this.#startedMs
    this.#facts = new LiveFacts(this.#startedMs)
    const size = (): ScreenSize => ({ columns: this.#columns(), rows: options.rows?.() || USUAL_ROWS })
    const render = (screen: ScreenSize) => renderLive(this.#facts.view(clock.now()), screen, color)
    this.#block = isTTY ? new LiveBlock({ write, size, clock, render }) : undefined
  }

  onEvent(event: ProgressEvent): void {
    if (this.#closed) return
    if ('counts' in event) this.#counts = event.counts
    this.#facts.take(event, this.#options.clock.now())
    this.#show(event)
    this.#summarise()
    this.#refresh()
  }

  /** The run is told to stop, and finishes what is in hand. */
  stopping(message: string): void {
    this.#facts.end('stopping')
    this.#log(oneLine(message), 'warning')
    if (!this.#closed) this.#refresh()
  }

  /** Takes the live display away while something else has the bottom of the screen, such as a question. */
  pause(): void {
    this.#pauses++
    this.#block?.hide()
  }

  /** Ends one `pause`; the display is back with the last of them. */
  resume(): void {
    this.#pauses = Math.max(0, this.#pauses - 1)
    if (this.#pauses === 0) this.#block?.show()
  }

  /** To be called when the screen has another size, and when others may have written to it. */
  redraw(): void {
    this.#block?.redraw()
  }

  /** To be called before somebody else writes to the same terminal. */
  giveWay(text: string): void {
    if (!this.#closed) this.#block?.giveWay(text)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#block?.close()
    this.#logAdded()
    const hidden = this.#limits.hiddenText
    if (hidden) this.#log(`not shown: ${hidden}`, 'warning')
  }

  #show(event: ProgressEvent): void {
    const { kind } = event
    if (kind === 'run-started') this.#showStart(event)
    else if (kind === 'requests-added') this.#added += event.added
    else if (kind === 'batch-changed') this.#showBatch(event)
    else if (kind === 'direct-started') this.#log(directText(event))
    else if (kind === 'waiting') this.#showWait(event)
    else if (kind === 'judged') this.#untold = true
    else if (kind === 'request-failed') this.#showFailure(event)
    else if (kind === 'direct-call') this.#showCall(event)
    else if (kind === 'warning') this.#showWarning(event)
    else if (kind === 'batch-result') this.#showResult(event)
    else if (kind === 'monitored') this.#log(oneLine(`watch the run at ${event.url}`))
    else if (kind === 'run-finished') this.#showEnd(event)
    else if (kind === 'run-failed') this.#showBreak(event)
    else if (kind === 'wiped') this.#showWipe(event)
    else if (kind !== 'sample') assertNever(kind)
  }

  #showStart({ task, counts }: EventOf<'run-started'>): void {
    this.#log(oneLine(`task ${task}: ${countsText(counts)}`))
    this.#lastSummary = this.#summaryText(counts)
  }

  #showBatch(event: EventOf<'batch-changed'>): void {
    const before = this.#batches.get(event.file)
    if (event.status === 'requeued') this.#batches.delete(event.file)
    else this.#batches.set(event.file, event)
    if (before?.status !== event.status) this.#log(batchText(event, before))
  }

  #showResult(event: EventOf<'batch-result'>): void {
    if (this.#batches.delete(event.file)) this.#log(resultText(event))
  }

  /** A wait is told once, although it is reported at every poll. */
  #showWait(event: EventOf<'waiting'>): void {
    if (event.reason === this.#lastWait) return
    this.#lastWait = event.reason
    this.#log(waitingText(event, this.#options.clock.now()))
  }

  #showCall(event: EventOf<'direct-call'>): void {
    if (!isToldWhole(event, this.#options.directVerbose)) return
    this.#log(directCallText(event, this.#columns()), event.ok ? undefined : 'error')
  }

  #showWipe(event: EventOf<'wiped'>): void {
    this.#batches.clear()
    this.#log(wipedText(event), 'warning')
  }

  #showEnd({ outcome, counts }: EventOf<'run-finished'>): void {
    const elapsed = formatDuration(this.#elapsedMs())
    this.#hasEnded = true
    this.#log(oneLine(`run finished after ${elapsed}, ${outcome}: ${countsText(counts)}`))
  }

  /** Why is told by whoever catches what was thrown. */
  #showBreak({ code }: EventOf<'run-failed'>): void {
    this.#hasEnded = true
    if (this.#facts.hasBegun)
      this.#log(oneLine(`run ended after ${formatDuration(this.#elapsedMs())}: ${code}`), 'error')
  }

  #showFailure(event: EventOf<'request-failed'>): void {
    this.#showLimited(event.final ? 'failed requests' : 'retries', failureText(event), event.final)
  }

  #showWarning({ code, message }: EventOf<'warning'>): void {
    this.#showLimited(`warnings (${oneLine(code)})`, `warning: ${oneLine(message)}`, false)
  }

  #showLimited(category: string, text: string, isError: boolean): void {
    const most = isError ? this.#options.showErrors : this.#options.showWarnings
    if (this.#limits.admits(category, most)) this.#log(text, isError ? 'error' : 'warning')
  }

  /** Now and then: what was added, and, where no display shows it, how far the run is. */
  #summarise(): void {
    const now = this.#options.clock.now()
    if (this.#hasEnded || now - this.#summarisedMs < SUMMARY_MS) return
    this.#summarisedMs = now
    if (!this.#block) this.#logAdded()
    const summary = this.#counts && this.#summaryText(this.#counts)
    if (summary && (this.#untold || summary !== this.#lastSummary) && !this.#block) this.#log(summary)
    this.#lastSummary = summary ?? ''
    this.#untold = false
  }

  #summaryText(counts: RequestCounts): string {
    const batches = batchesText(this.#batches.values())
    return batches ? `${countsText(counts)}; batches: ${batches}` : countsText(counts)
  }

  #logAdded(): void {
    const added = this.#added
    this.#added = 0
    if (added > 0) this.#log(`${requestsText(added)} added`)
  }

  #elapsedMs(): number {
    return this.#options.clock.now() - this.#startedMs
  }

  #columns(): number {
    return this.#options.columns() || USUAL_COLUMNS
  }

  #log(text: string, style?: Style): void {
    // The display has this number all the time.
    if (!this.#block || this.#hasEnded) this.#logAdded()
    const time = this.#paint(timeOfDay(this.#options.clock.now()), 'dim')
    const line = `${time} ${this.#paint(text, style)}\n`
    if (this.#block) this.#block.writeAbove(line)
    else this.#options.write(line)
  }

  #refresh(): void {
    if (this.#facts.hasBegun) this.#block?.refresh()
  }

  #paint(text: string, style: Style | undefined): string {
    return this.#options.color ? paint(text, style) : text
  }
}
