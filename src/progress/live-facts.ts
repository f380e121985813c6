import { assertNever } from '../util/exhaustive.ts'
import { formatDuration } from '../util/format.ts'
import { oneLine } from '../util/text.ts'
import type { Metrics, ProgressEvent, RequestCounts } from './events.ts'
import type { LiveBatch, LiveDirect, LiveView } from './live-view.ts'
import type { EventOf } from './terminal-text.ts'
import { type BatchLeft, timeLeft } from './time-left.ts'
import { VerdictPace } from './verdict-pace.ts'

/** A batch as this run saw it so far. */
interface Seen {
  readonly event: EventOf<'batch-changed'>
  readonly firstMs: number
  /** When it came into its present state. */
  readonly statusMs: number
  /** When the server first said how many requests are answered, and how many. */
  readonly watchedMs: number | undefined
  readonly watchedFrom: number
}

interface DirectSet {
  readonly requests: number
  readonly sinceMs: number
}

/** What the server may take its time for; nothing can be reckoned from other waits. */
const REMOTE_BATCHES = 'remote batches'
/** The last batches tell how long the next will take. */
const DURATIONS_KEPT = 200
const HOUR_MS = 3_600_000

/** What the events of a run add up to: read by the live display, as often as it is drawn. */
export class LiveFacts {
  readonly #startedMs: number
  readonly #batches = new Map<number, Seen>()
  readonly #direct = new Map<number, DirectSet>()
  readonly #pace = new VerdictPace()
  #durationsMs: readonly number[] = []
  #task = ''
  #counts: RequestCounts | undefined
  #metrics: Metrics = {}
  #wait: EventOf<'waiting'> | undefined
  #outcome: string | undefined
  #added = 0
  #warnings = 0
  #batchesOver = 0

  constructor(startedMs: number) {
    this.#startedMs = startedMs
  }

  /** Nothing can be shown of a task that is only opened. */
  get hasBegun(): boolean {
    return this.#task !== '' || (this.#counts?.requests ?? 0) > 0
  }

  /** How the run ended, or what it is told to do; until then the state is seen from the events. */
  end(outcome: string): void {
    this.#outcome = outcome
  }

  take(event: ProgressEvent, nowMs: number): void {
    if ('counts' in event) {
      this.#counts = event.counts
      this.#pace.note(nowMs, event.counts.succeeded + event.counts.failed)
    }
    const { kind } = event
    if (kind === 'run-started') this.#task = oneLine(event.task)
    else if (kind === 'requests-added') this.#added += event.added
    else if (kind === 'batch-changed') this.#takeBatch(event, nowMs)
    else if (kind === 'batch-result') this.#takeResult(event, nowMs)
    else if (kind === 'direct-started')
      this.#direct.set(event.file, { requests: event.requests, sinceMs: nowMs })
    else if (kind === 'waiting') this.#wait = event
    else if (kind === 'warning') this.#warnings++
    else if (kind === 'sample') this.#metrics = event.metrics
    else if (kind === 'wiped') this.#forget()
    else if (kind === 'run-finished') this.end(event.outcome)
    else if (kind === 'run-failed') this.end('failed')
    else if (kind !== 'judged' && kind !== 'request-failed' && kind !== 'direct-call' && kind !== 'monitored')
      assertNever(kind)
  }

  view(nowMs: number): LiveView {
    const isProducing = this.#isProducing()
    return {
      task: this.#task,
      elapsedMs: nowMs - this.#startedMs,
      state: this.#stateText(nowMs),
      warnings: this.#warnings,
      counts: this.#counts,
      added: this.#added,
      isProducing,
      perMinute: this.#pace.perMinute(nowMs),
      batches: [...this.#batches.values()].map((seen) => liveBatch(seen, nowMs)),
      batchesOver: this.#batchesOver,
      direct: this.#liveDirect(nowMs),
      metrics: this.#metrics,
      left: this.#mayReckon(nowMs) ? this.#timeLeft(isProducing ?? false, nowMs) : undefined,
    }
  }

  #takeBatch(event: EventOf<'batch-changed'>, nowMs: number): void {
    const before = this.#batches.get(event.file)
    const answered = answeredOf(event)
    const knows = before?.watchedMs !== undefined
    this.#batches.set(event.file, {
      event,
      firstMs: before?.firstMs ?? nowMs,
      statusMs: before && before.event.status === event.status ? before.statusMs : nowMs,
      watchedMs: knows || answered === undefined ? before?.watchedMs : nowMs,
      watchedFrom: knows ? before.watchedFrom : (answered ?? 0),
    })
  }

  #takeResult({ file, metrics }: EventOf<'batch-result'>, nowMs: number): void {
    this.#direct.delete(file)
    const batch = this.#batches.get(file)
    if (!batch) return
    this.#batches.delete(file)
    this.#batchesOver++
    const hours = metrics['Result/duration_hours']
    const ms = typeof hours === 'number' ? hours * HOUR_MS : nowMs - batch.firstMs
    this.#durationsMs = [...this.#durationsMs, ms].slice(-DURATIONS_KEPT)
  }

  #forget(): void {
    this.#batches.clear()
    this.#direct.clear()
  }

  #isProducing(): boolean | undefined {
    const producing = this.#metrics['Generation/is_producing']
    return producing === undefined ? undefined : Boolean(producing)
  }

  #stateText(nowMs: number): string {
    if (this.#outcome !== undefined) return oneLine(this.#outcome)
    if (!this.#wait || this.#wait.untilMs <= nowMs) return 'running'
    const { reason, untilMs } = this.#wait
    const ms = formatDuration(untilMs - nowMs)
    if (reason === REMOTE_BATCHES) return `waiting for batches, next look in ${ms}`
    return `waiting ${ms}: ${oneLine(reason)}`
  }

  #liveDirect(nowMs: number): LiveDirect | undefined {
    const sets = [...this.#direct.values()]
    if (sets.length === 0) return undefined
    return {
      sets: sets.length,
      requests: sets.reduce((sum, { requests }) => sum + requests, 0),
      ms: nowMs - sets.reduce((oldest, { sinceMs }) => Math.min(oldest, sinceMs), nowMs),
    }
  }

  /** While a limit, an outage or the end holds up the work, what went before says nothing. */
  #mayReckon(nowMs: number): boolean {
    if (this.#outcome !== undefined) return false
    return !this.#wait || this.#wait.reason === REMOTE_BATCHES || this.#wait.untilMs <= nowMs
  }

  #timeLeft(isProducing: boolean, nowMs: number) {
    return timeLeft({
      isProducing,
      pending: this.#counts?.pending ?? 0,
      queued: this.#counts?.queued ?? 0,
      batches: [...this.#batches.values()].map((seen) => batchLeft(seen, nowMs)),
      durationsMs: this.#durationsMs,
      recent: this.#pace.recent(nowMs),
    })
  }
}

/** Undefined where the server did not say, or says 0 as it does before it begins. */
function answeredOf({ completed, failed }: EventOf<'batch-changed'>): number | undefined {
  return (completed ?? 0) + (failed ?? 0) || undefined
}

const liveBatch = ({ event, statusMs }: Seen, nowMs: number): LiveBatch => ({
  file: event.file,
  status: oneLine(event.status),
  statusMs: nowMs - statusMs,
  model: oneLine(event.model),
  requests: event.requests,
  answered: event.completed === undefined ? undefined : event.completed + (event.failed ?? 0),
})

function batchLeft({ event, firstMs, watchedMs, watchedFrom }: Seen, nowMs: number): BatchLeft {
  const total = answeredOf(event) ?? 0
  const watched =
    watchedMs === undefined ? undefined : { answered: total - watchedFrom, total, ms: nowMs - watchedMs }
  return { requests: event.requests, ageMs: nowMs - firstMs, watched }
}
