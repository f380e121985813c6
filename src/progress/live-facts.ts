import { assertNever } from '../util/exhaustive.ts'
import { formatDuration } from '../util/format.ts'
import { oneLine } from '../util/text.ts'
import type { Metrics, ProgressEvent, RequestCounts } from './events.ts'
import type { LiveBatch, LiveDirect, LiveView } from './live-view.ts'
import type { EventOf } from './terminal-text.ts'
import { type BatchLeft, type TimeLeft, timeLeft } from './time-left.ts'
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
/** The server is done with batches in these states. */
const ENDED: ReadonlySet<string> = new Set(['completed', 'failed', 'expired', 'cancelled'])
/** Not at the server, nor on the way: these wait for another attempt, or for a person. */
const HELD: ReadonlySet<string> = new Set(['sealed', 'refused'])
/** How long these took says nothing of others: the server did not work on them, or not to their end. */
const CUT_SHORT: ReadonlySet<string> = new Set(['failed', 'cancelled'])
/** The last batches tell how long the next will take. */
const DURATIONS_KEPT = 200
const SECOND_MS = 1000
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
  #mostInFlight = 0
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
      this.#mostInFlight = Math.max(this.#mostInFlight, event.counts.inFlight)
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
      ...this.#standing(nowMs),
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
    if (event.status === 'requeued') this.#batches.delete(event.file)
    else this.#batches.set(event.file, seen(event, this.#batches.get(event.file), nowMs))
  }

  #takeResult({ file, metrics }: EventOf<'batch-result'>, nowMs: number): void {
    this.#direct.delete(file)
    const batch = this.#batches.get(file)
    if (!batch) return
    this.#batches.delete(file)
    this.#batchesOver++
    if (CUT_SHORT.has(batch.event.status)) return
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

  #standing(nowMs: number): Pick<LiveView, 'state' | 'stateDetail'> {
    if (this.#outcome !== undefined) return { state: oneLine(this.#outcome), stateDetail: '' }
    if (!this.#wait || this.#wait.untilMs <= nowMs) return { state: 'running', stateDetail: '' }
    const { reason, untilMs } = this.#wait
    const leftMs = untilMs - nowMs
    if (reason !== REMOTE_BATCHES)
      return { state: `waiting ${formatDuration(leftMs)}: ${oneLine(reason)}`, stateDetail: '' }
    // At the last second it would say `in 0s`, which looks as if it hung.
    const stateDetail = leftMs < SECOND_MS ? '' : `, next look in ${formatDuration(leftMs)}`
    return { state: 'waiting for batches', stateDetail }
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

  #timeLeft(isProducing: boolean, nowMs: number): TimeLeft | undefined {
    const { pending = 0, queued = 0, inFlight = 0 } = this.#counts ?? {}
    const direct = [...this.#direct.values()].reduce((sum, { requests }) => sum + requests, 0)
    const atServer = [...this.#batches.values()].filter(({ event }) => isAtServer(event))
    return timeLeft({
      isProducing,
      pending,
      queued: Math.max(0, queued - direct),
      inFlight,
      mostInFlight: this.#mostInFlight,
      isDirect: this.#direct.size > 0,
      batches: atServer.map((seen) => batchLeft(seen, nowMs)),
      durationsMs: this.#durationsMs,
      recent: this.#pace.recent(nowMs),
    })
  }
}

/** Undefined where the server did not say, or says 0 as it does before it begins. */
function answeredOf({ completed, failed }: EventOf<'batch-changed'>): number | undefined {
  return (completed ?? 0) + (failed ?? 0) || undefined
}

/** What is known of a batch after one more event; of one that an earlier run made, what the server tells of that time. */
function seen(event: EventOf<'batch-changed'>, known: Seen | undefined, nowMs: number): Seen {
  const status = oneLine(event.status)
  // A new attempt is another batch.
  const before = known && HELD.has(known.event.status) ? undefined : known
  const answered = answeredOf(event)
  const knows = before?.watchedMs !== undefined
  return {
    event: { ...event, status, model: oneLine(event.model) },
    firstMs: before?.firstMs ?? Math.min(nowMs, event.createdMs ?? nowMs),
    statusMs: known?.event.status === status ? known.statusMs : since(event, known, nowMs),
    watchedMs: knows || answered === undefined ? before?.watchedMs : nowMs,
    watchedFrom: knows ? before.watchedFrom : (answered ?? 0),
  }
}

/** A change that was seen is timed by our own clock, which need not be the server's. */
const since = ({ sinceMs }: EventOf<'batch-changed'>, known: Seen | undefined, nowMs: number): number =>
  known ? nowMs : Math.min(nowMs, sinceMs ?? nowMs)

const isAtServer = ({ status }: EventOf<'batch-changed'>): boolean => !ENDED.has(status) && !HELD.has(status)

const liveBatch = ({ event, statusMs }: Seen, nowMs: number): LiveBatch => ({
  file: event.file,
  status: event.status,
  statusMs: nowMs - statusMs,
  model: event.model,
  requests: event.requests,
  answered: event.completed === undefined ? undefined : event.completed + (event.failed ?? 0),
})

function batchLeft({ event, firstMs, watchedMs, watchedFrom }: Seen, nowMs: number): BatchLeft {
  const total = answeredOf(event) ?? 0
  const watched =
    watchedMs === undefined ? undefined : { answered: total - watchedFrom, total, ms: nowMs - watchedMs }
  return { requests: event.requests, ageMs: nowMs - firstMs, watched }
}
