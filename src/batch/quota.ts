/**
 * What an account may have enqueued in the Batch API: prompt tokens of all unfinished batches, counted by model. What
 * is kept here is a guess at the server's own count, shared by tasks of one account; the server's answer is the truth.
 */

/** Limits are keyed by pool (see `quotaPool`), reservations by the tag of their batch, waiting tasks by pool and name. */
export interface QuotaBoard {
  readonly version: 1
  readonly models: Readonly<Record<string, ModelLimit>>
  readonly reservations: Readonly<Record<string, Reservation>>
  readonly waiting: Readonly<Record<string, Waiting>>
}

export interface ModelLimit {
  /** Prompt tokens that may be enqueued at once. */
  readonly tokens: number
  /** Milliseconds since 1970. */
  readonly learnedAt: number
  readonly source: LimitSource
}

/** `refusal`: the text of a refused batch; `admin`: the list of the account's limits. */
export type LimitSource = 'refusal' | 'admin'

export interface Reservation {
  readonly pool: string
  /** Prompt tokens, as estimated. */
  readonly tokens: number
  /** Milliseconds since 1970. */
  readonly at: number
  readonly task: string
}

/** A task that found no room: whoever comes later lets it go first. */
export interface Waiting {
  readonly pool: string
  readonly task: string
  /** Milliseconds since 1970. */
  readonly since: number
  /** When it last asked, in milliseconds since 1970. */
  readonly at: number
}

export const EMPTY_BOARD: QuotaBoard = { version: 1, models: {}, reservations: {}, waiting: {} }

const HOUR_MS = 3_600_000
/** A batch ends with its window of 24 hours; the rest is for clocks that differ. */
const RESERVED_MS = 25 * HOUR_MS
/**
 * Limits grow with the account. One that was never doubted would hold a job down for ever, and asking the server
 * costs no more than the refusal of the few batches that wait on the disk.
 */
const TRUSTED_MS = 24 * HOUR_MS
/** A task that has not asked for so long does not wait any more, whatever became of it. */
const WAITING_MS = 3 * 60_000

const FINE_TUNE = /^ft:([^:]+)/
const DATE = /-(?:\d{4}-\d{2}-\d{2}|(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))$/

/**
 * The name that a model's limit is kept under. Snapshots share the limit of their model (`gpt-4o-2024-08-06`,
 * `gpt-4-0613`), and a fine-tune that of the model it was made from: the account's page of limits has no entry of its
 * own for it. Where a server does count them apart, batches wait longer than they need to, and nothing else.
 */
export const quotaPool = (model: string): string => (FINE_TUNE.exec(model)?.[1] ?? model).replace(DATE, '')

const GROUPED = String.raw`\d{1,3}(?:[,._'\s]\d{3})+`
/** A number with a unit or a fraction behind it (`2M`, `1.5 million`) is another one than its digits say. */
const LIMIT = new RegExp(
  String.raw`\blimit(?:\s+(?:is|of))?\s*[:=]?\s*(${GROUPED}|\d+)(?=\s+(?:enqueued\s+)?tokens?\b|\s*[.;,)]?\s*$|[.;,)]\s)`,
  'i',
)

/**
 * The limit that a refusal names, in tokens: "Enqueued token limit reached for ... Limit: 90,000 enqueued tokens."
 * Undefined when it names none, or is about something else, such as tokens per minute.
 */
export function limitIn(message: string): number | undefined {
  if (!/enqueued[\s_-]+token/i.test(message)) return undefined
  const digits = LIMIT.exec(message)?.[1]?.replace(/\D/g, '')
  const tokens = digits === undefined ? 0 : Number(digits)
  return isLimit(tokens) ? tokens : undefined
}

/** Zero would let nothing through, ever; whether that is so, the server says each time. */
const isLimit = (tokens: number): boolean => Number.isSafeInteger(tokens) && tokens > 0

/** The limit of a model as far as it is known, and not so old that it is to be tried anew. */
export function limitOf(board: QuotaBoard, model: string, now: number): number | undefined {
  const limit = own(board.models, quotaPool(model))
  return limit && isWithin(limit.learnedAt, now, TRUSTED_MS) ? limit.tokens : undefined
}

export interface ReservationRequest {
  readonly tag: string
  readonly model: string
  /** Prompt tokens, as estimated. */
  readonly tokens: number
  readonly task: string
  /** Milliseconds since 1970. */
  readonly now: number
}

/**
 * `reserved`: what others hold. When the batch alone is larger than `limit`, waiting cannot help it; when both together
 * are not, another task has waited for longer.
 */
export interface NoRoom {
  readonly ok: false
  readonly limit: number
  readonly reserved: number
}

/**
 * Takes room for a batch before it is submitted. Without a known limit there always is room. A tag that holds as much
 * already is let through: it was counted when it got that, also when the process ended in between.
 */
export function reserve(
  board: QuotaBoard,
  request: ReservationRequest,
): { readonly ok: true; readonly board: QuotaBoard } | NoRoom {
  const { tag, model, now } = request
  const pool = quotaPool(model)
  const live = liveReservations(board, now)
  const held = own(live, tag)
  const tokens = Math.ceil(request.tokens)
  if (held?.pool === pool && held.tokens >= tokens)
    return { ok: true, board: { ...board, reservations: live } }
  const limit = limitOf(board, model, now)
  const reserved = sumOf(live, pool) - (held?.pool === pool ? held.tokens : 0)
  if (limit !== undefined && (reserved + tokens > limit || isAfterOthers(board, request)))
    return { ok: false, limit, reserved }
  return { ok: true, board: hold(board, request) }
}

/** Notes a batch without asking whether there is room for it, such as one that is out already. */
export function hold(board: QuotaBoard, { tag, model, tokens, task, now }: ReservationRequest): QuotaBoard {
  const pool = quotaPool(model)
  const reservation = { pool, tokens: Math.ceil(tokens), at: now, task }
  const reservations = { ...liveReservations(board, now), [tag]: reservation }
  return leaveLine({ ...board, reservations, waiting: liveWaiting(board, now) }, { model, task })
}

/** Puts a task in line that found no room, or keeps its place. After it got some it stands last again. */
export function standInLine(
  board: QuotaBoard,
  { model, task, now }: Pick<ReservationRequest, 'model' | 'task' | 'now'>,
): QuotaBoard {
  const pool = quotaPool(model)
  const place = `${pool} ${task}`
  const live = liveWaiting(board, now)
  const { since } = own(live, place) ?? { since: now }
  return { ...board, waiting: { ...live, [place]: { pool, task, since, at: now } } }
}

/** Gives up a task's place in line. */
export function leaveLine(
  board: QuotaBoard,
  { model, task }: Pick<ReservationRequest, 'model' | 'task'>,
): QuotaBoard {
  const pool = quotaPool(model)
  return { ...board, waiting: filtered(board.waiting, (one) => one.pool !== pool || one.task !== task) }
}

/** Somebody stands in line before the one who asks. */
export function isAfterOthers(
  board: QuotaBoard,
  { model, task, now }: Pick<ReservationRequest, 'model' | 'task' | 'now'>,
): boolean {
  const pool = quotaPool(model)
  const line = Object.values(liveWaiting(board, now)).filter((one) => one.pool === pool)
  const since = line.find((one) => one.task === task)?.since ?? now
  // Of two that came in the same millisecond one goes first.
  return line.some((one) => one.since < since || (one.since === since && one.task < task))
}

/** Prompt tokens that all batches of a model's pool hold. */
export const reservedOf = (board: QuotaBoard, model: string, now: number): number =>
  sumOf(liveReservations(board, now), quotaPool(model))

/** Gives back what batches held that have ended, or never began. Unknown tags are ignored. */
export function release(board: QuotaBoard, tags: Iterable<string>): QuotaBoard {
  const ended = new Set(tags)
  return keeping(board, (_, tag) => !ended.has(tag))
}

/** The board without other tasks. */
export function onlyOf(board: QuotaBoard, task: string): QuotaBoard {
  const waiting = filtered(board.waiting, (one) => one.task === task)
  return keeping({ ...board, waiting }, (reservation) => reservation.task === task)
}

export interface Lesson {
  readonly model: string
  readonly tokens: number
  readonly source: LimitSource
  /** Milliseconds since 1970. */
  readonly now: number
}

/** The newest word counts, wherever it comes from. A figure that can be no limit is ignored. */
export function learn(board: QuotaBoard, { model, tokens, source, now }: Lesson): QuotaBoard {
  if (!isLimit(tokens)) return board
  return { ...board, models: { ...board.models, [quotaPool(model)]: { tokens, learnedAt: now, source } } }
}

/**
 * Takes over a list of limits by model. Where several models share one, the figure of the name itself counts, else
 * the least.
 */
export function learnAll(
  board: QuotaBoard,
  limits: ReadonlyMap<string, number>,
  { source, now }: Pick<Lesson, 'source' | 'now'>,
): QuotaBoard {
  const best = new Map<string, number>()
  for (const [model, tokens] of limits) {
    const pool = quotaPool(model)
    if (isLimit(tokens)) best.set(pool, Math.min(tokens, best.get(pool) ?? tokens))
  }
  for (const [model, tokens] of limits)
    if (quotaPool(model) === model && isLimit(tokens)) best.set(model, tokens)
  return [...best].reduce((taught, [model, tokens]) => learn(taught, { model, tokens, source, now }), board)
}

const liveReservations = ({ reservations }: QuotaBoard, now: number): QuotaBoard['reservations'] =>
  filtered(reservations, ({ at }) => isWithin(at, now, RESERVED_MS))

const liveWaiting = ({ waiting }: QuotaBoard, now: number): QuotaBoard['waiting'] =>
  filtered(waiting, ({ at }) => isWithin(at, now, WAITING_MS))

function keeping(board: QuotaBoard, isKept: (reservation: Reservation, tag: string) => boolean): QuotaBoard {
  const reservations = filtered(board.reservations, isKept)
  return reservations === board.reservations ? board : { ...board, reservations }
}

/** The very same object when nothing is left out. */
function filtered<Value>(
  record: Readonly<Record<string, Value>>,
  isKept: (value: Value, key: string) => boolean,
): Readonly<Record<string, Value>> {
  const entries = Object.entries(record)
  const kept = entries.filter(([key, value]) => isKept(value, key))
  return kept.length === entries.length ? record : Object.fromEntries(kept)
}

const sumOf = (reservations: QuotaBoard['reservations'], pool: string): number =>
  Object.values(reservations).reduce((sum, one) => (one.pool === pool ? sum + one.tokens : sum), 0)

/** Also for a time in the future, which a clock that was set back leaves behind. */
const isWithin = (at: number, now: number, ms: number): boolean => Math.abs(now - at) <= ms

/** A model may be called anything, `constructor` included. */
const own = <Value>(record: Readonly<Record<string, Value>>, key: string): Value | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined
