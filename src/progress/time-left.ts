import { amount } from '../util/amount.ts'
import { median } from '../util/median.ts'

/** What is known of work that is still to come. Times are in milliseconds. */
export interface WorkLeft {
  /** More requests may still be added, so that nothing can be said about the end. */
  readonly isProducing: boolean
  /** Without a verdict. */
  readonly pending: number
  /** Of these not sent yet, but for those that go one by one. */
  readonly queued: number
  /** Of these sent and not answered. */
  readonly inFlight: number
  /** The most requests that were in flight at once. */
  readonly mostInFlight: number
  /** Whether calls are made one by one. */
  readonly isDirect: boolean
  /** Batches that the server is not done with. */
  readonly batches: readonly BatchLeft[]
  /** How long batches took that are over. */
  readonly durationsMs: readonly number[]
  /** Verdicts within the last minutes. */
  readonly recent: Recent | undefined
}

export interface BatchLeft {
  readonly requests: number
  readonly ageMs: number
  /** How many requests the server answered in how much time, as far as that was watched. */
  readonly watched: { readonly answered: number; readonly total: number; readonly ms: number } | undefined
}

export interface Recent {
  readonly verdicts: number
  readonly ms: number
}

export interface TimeLeft {
  readonly ms: number
  /** What it was reckoned from, in words. */
  readonly basis: string
}

/** Fewer say too little. */
const LEAST_VERDICTS = 20
const LEAST_WATCHED_MS = 20_000
const LEAST_SHARE = 0.05

/** How long the work that is known will take by what was seen so far; undefined where that says nothing about it. */
export function timeLeft(work: WorkLeft): TimeLeft | undefined {
  if (work.isProducing || work.pending === 0) return undefined
  // What the next batches will take does not show in how fast the answers of the last ones were judged.
  const awaitsBatches = work.queued > 0 && work.durationsMs.length > 0 && !work.isDirect
  return work.batches.length > 0 || awaitsBatches ? byBatches(work) : byVerdicts(work)
}

function byVerdicts({ pending, recent }: WorkLeft): TimeLeft | undefined {
  const ms = judgingMs(pending, recent)
  return ms === undefined ? undefined : { ms, basis: 'at the present rate' }
}

function judgingMs(requests: number, recent: Recent | undefined): number | undefined {
  if (requests <= 0) return 0
  if (!recent || recent.verdicts < LEAST_VERDICTS || recent.ms < LEAST_WATCHED_MS) return undefined
  return (requests / recent.verdicts) * recent.ms
}

/**
 * The slowest batch now, or the verdicts on the answers that are there where these take longer; and then as many rounds
 * of batches as what is queued will make.
 */
function byBatches(work: WorkLeft): TimeLeft | undefined {
  const { pending, queued, inFlight, durationsMs, recent } = work
  const usualMs = median(durationsMs)
  const atServer = slowest(work, usualMs)
  // Beside batches that are waited for, verdicts seldom matter.
  const judging = judgingMs(pending - queued - inFlight, recent) ?? (work.batches.length > 0 ? 0 : undefined)
  const rounds = Math.ceil(queued / Math.max(1, atServer?.requests ?? 0, work.mostInFlight))
  if (!atServer || judging === undefined || (rounds > 0 && usualMs === undefined)) return undefined
  const finished = durationsMs.length
  const basis =
    finished > 0 ? `from ${batchCount(finished)}` : `from the progress of ${batchCount(atServer.watched)}`
  return { ms: Math.max(judging, atServer.ms) + rounds * (usualMs ?? 0), basis }
}

/** Until when the server is done with all of its batches, how many requests they have, and how many it was watched at. */
function slowest({ batches, durationsMs }: WorkLeft, usualMs: number | undefined) {
  const longestMs = Math.max(...durationsMs)
  const sum = { ms: 0, watched: 0, requests: 0 }
  for (const batch of batches) {
    const bySpeed = leftBySpeed(batch)
    const leftMs = bySpeed ?? leftByAge(batch.ageMs, usualMs, longestMs)
    if (leftMs === undefined) return undefined
    if (bySpeed !== undefined) sum.watched++
    sum.ms = Math.max(sum.ms, leftMs)
    sum.requests += batch.requests
  }
  return sum
}

function leftBySpeed({ requests, watched }: BatchLeft): number | undefined {
  if (!watched || watched.ms < LEAST_WATCHED_MS || watched.answered < LEAST_SHARE * requests) return undefined
  return ((requests - watched.total) / watched.answered) * watched.ms
}

/** A batch that takes longer than any before it may take for ever. */
function leftByAge(ageMs: number, usualMs: number | undefined, longestMs: number): number | undefined {
  if (usualMs === undefined || ageMs > longestMs) return undefined
  return Math.max(0, (ageMs > usualMs ? longestMs : usualMs) - ageMs)
}

const batchCount = (count: number): string => amount(count, 'batch', 'batches')

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** A duration as roughly as it is known: `less than a minute`, `about 12 min`, `about 2.5 h`, `about 3 days`. */
export function aboutText(ms: number): string {
  if (ms < 0.75 * MINUTE_MS) return 'less than a minute'
  if (ms < 90 * MINUTE_MS) return `about ${Math.round(ms / MINUTE_MS)} min`
  if (ms < 36 * HOUR_MS) return `about ${halves(ms / HOUR_MS)} h`
  return `about ${halves(ms / DAY_MS)} days`
}

const halves = (value: number): number => (value < 10 ? Math.round(value * 2) / 2 : Math.round(value))
