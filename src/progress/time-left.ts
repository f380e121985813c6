/** What is known of work that is still to come. Times are in milliseconds. */
export interface WorkLeft {
  /** More requests may still be added, so that nothing can be said about the end. */
  readonly isProducing: boolean
  /** Without a verdict. */
  readonly pending: number
  /** Of these not sent yet. */
  readonly queued: number
  /** Batches that are not over. */
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
  return work.batches.length > 0 ? byBatches(work) : byVerdicts(work)
}

function byVerdicts({ pending, recent }: WorkLeft): TimeLeft | undefined {
  if (!recent || recent.verdicts < LEAST_VERDICTS || recent.ms < LEAST_WATCHED_MS) return undefined
  return { ms: (pending / recent.verdicts) * recent.ms, basis: 'at the present rate' }
}

/** The slowest batch now, and then as many rounds of batches as what is queued will make. */
function byBatches({ batches, queued, durationsMs }: WorkLeft): TimeLeft | undefined {
  const usualMs = median(durationsMs)
  const longestMs = Math.max(...durationsMs)
  let slowestMs = 0
  let watched = 0
  let requests = 0
  for (const batch of batches) {
    const bySpeed = leftBySpeed(batch)
    const leftMs = bySpeed ?? leftByAge(batch.ageMs, usualMs, longestMs)
    if (leftMs === undefined) return undefined
    if (bySpeed !== undefined) watched++
    slowestMs = Math.max(slowestMs, leftMs)
    requests += batch.requests
  }
  const rounds = Math.ceil(queued / requests)
  if (rounds > 0 && usualMs === undefined) return undefined
  const finished = durationsMs.length
  const basis = finished > 0 ? `from ${batchCount(finished)}` : `from the progress of ${batchCount(watched)}`
  return { ms: slowestMs + rounds * (usualMs ?? 0), basis }
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

function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]
}

const batchCount = (count: number): string => `${count} ${count === 1 ? 'batch' : 'batches'}`

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
