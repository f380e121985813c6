import type { ProgressLog } from '../state/progress-log.ts'
import { assertNever } from '../util/exhaustive.ts'
import { hideSecrets } from '../util/option-names.ts'
import { VERSION } from '../util/version.ts'
import type { Metrics, ProgressEvent } from './events.ts'
import { EVENT_KIND } from './history-row.ts'
import type { Reporter } from './reporter.ts'

type Fields = Readonly<Record<string, number | string | undefined>>
type EventOf<Kind extends ProgressEvent['kind']> = Extract<ProgressEvent, { kind: Kind }>

const LONGEST_TEXT = 500
/** Rows of warnings of one kind in one run. */
const MOST_WARNINGS = 50
/** Events that are kept for a run that has not begun to work. */
const MOST_EARLY = 1_000

/**
 * Turns events into rows of `<name>_progress.jsonl`: changes of state, and samples. Nothing about single requests comes
 * into it: neither bodies and replies nor keys, which may be personal.
 *
 * The first row of a run has its start and all figures; what was told before comes after it.
 */
export class HistoryReporter implements Reporter {
  readonly #log: Pick<ProgressLog, 'append'>
  #told: Metrics = {}
  #start: EventOf<'run-started'> | undefined
  /** What else was told before the first sample; undefined from then on. */
  #early: ProgressEvent[] | undefined = []
  readonly #statuses = new Map<number, string>()
  readonly #warnings = new Map<string, number>()
  #wait: string | undefined

  constructor(log: Pick<ProgressLog, 'append'>) {
    this.#log = log
  }

  onEvent(event: ProgressEvent): void {
    if (!this.#early) this.#write(event)
    else if (event.kind === 'sample') this.#begin(this.#early, this.#changed(event.metrics))
    else if (event.kind === 'run-started') this.#start = event
    else if (isEnd(event)) {
      // A run that failed before it began to work has no figures.
      this.#begin(this.#early, {})
      this.#write(event)
    } else if (this.#early.length < MOST_EARLY && this.#rowOf(event)) this.#early.push(event)
  }

  #begin(early: readonly ProgressEvent[], figures: Metrics): void {
    this.#early = undefined
    if (this.#start) this.#append({ ...this.#rowOf(this.#start), ...figures })
    else if (Object.keys(figures).length > 0) this.#append(figures)
    for (const event of early) this.#write(event)
  }

  #write(event: ProgressEvent): void {
    if (event.kind === 'sample') {
      const changed = this.#changed(event.metrics)
      if (Object.keys(changed).length > 0) this.#log.append(changed, { isSample: true })
    } else if (this.#isNews(event)) this.#append(this.#rowOf(event))
  }

  #append(fields: Fields | undefined): void {
    if (fields) this.#log.append(Object.fromEntries(Object.entries(fields).flatMap(told)))
  }

  /** What a row says of figures: those that are not what they were. */
  #changed(metrics: Metrics): Metrics {
    const changed = Object.entries(metrics).filter(([name, value]) => this.#told[name] !== value)
    this.#told = metrics
    return Object.fromEntries(changed)
  }

  /** Polls tell the same again and again. */
  #isNews(event: ProgressEvent): boolean {
    if (event.kind === 'batch-changed') {
      const before = this.#statuses.get(event.file)
      this.#statuses.set(event.file, event.status)
      return before !== event.status
    }
    if (event.kind === 'waiting') {
      const before = this.#wait
      this.#wait = event.reason
      return before !== event.reason
    }
    if (event.kind === 'warning') {
      const count = (this.#warnings.get(event.code) ?? 0) + 1
      this.#warnings.set(event.code, count)
      return count <= MOST_WARNINGS
    }
    return true
  }

  /** Undefined for what is in no row. */
  #rowOf(event: ProgressEvent): Fields | undefined {
    const fields = fieldsOf(event)
    if (!fields) return undefined
    const named = Object.entries(fields).map(([name, value]) => [`Event/${name}`, value] as const)
    const result = event.kind === 'batch-result' ? event.metrics : {}
    return { [EVENT_KIND]: event.kind, ...Object.fromEntries(named), ...result }
  }
}

function fieldsOf(event: ProgressEvent): Fields | undefined {
  switch (event.kind) {
    case 'run-started':
      return { task: event.task, version: VERSION, options: event.options }
    case 'batch-changed': {
      const { file, status, model, requests, completed, failed, remoteId, createdMs, sinceMs } = event
      const server = { remote_id: remoteId, created: seconds(createdMs), since: seconds(sinceMs) }
      return { file, status, model, requests, completed, failed, ...server }
    }
    case 'direct-started':
      return { file: event.file, model: event.model, requests: event.requests }
    case 'batch-result':
      return { file: event.file }
    case 'waiting':
      return { reason: event.reason, until: seconds(event.untilMs) }
    case 'warning':
      return { code: event.code, message: withoutQuotes(event.message) }
    case 'wiped': {
      const { scope, pending, failed, thrownAway } = event
      return { scope, pending, failed, thrown_away: thrownAway }
    }
    case 'run-finished':
      return { outcome: event.outcome }
    case 'run-failed':
      return { code: event.code, message: withoutQuotes(event.message) }
    case 'sample':
    case 'monitored':
    case 'requests-added':
    case 'judged':
    case 'request-failed':
    case 'direct-call':
      return undefined
    default:
      return assertNever(event)
  }
}

const seconds = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms / 1000)

const isEnd = ({ kind }: ProgressEvent): boolean => kind === 'run-finished' || kind === 'run-failed'

/**
 * Messages quote keys of requests, and what users gave: that stays on this machine, as does a key that a hook's error
 * may hold. A quote that is not closed was cut off.
 */
const withoutQuotes = (message: string): string =>
  hideSecrets(message.replace(/"(?:[^"\\]|\\[\s\S]?)*(?:"|$)/g, '"..."'))

/** A field as a row has it; one without a value is left out, as is a number that JSON has no form of. */
function told([name, value]: readonly [string, number | string | undefined]): [string, number | string][] {
  if (value === undefined || (typeof value === 'number' && !Number.isFinite(value))) return []
  return [[name, typeof value === 'string' ? value.slice(0, LONGEST_TEXT).toWellFormed() : value]]
}
