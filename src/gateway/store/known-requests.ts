import { sql } from 'kysely'
import type { Arrival } from '../domain/arrival.ts'
import type { Priority, Route } from '../domain/request.ts'
import type { Candidate } from '../identity/decide-arrival.ts'
import type { Tx } from './database.ts'
import { orUndefined } from './rows.ts'

/** A request that an arrival may be the same as, with what may have to be changed of it then. */
export interface KnownRequest extends Candidate {
  /** Undefined: it came with the same group, and is written with it. */
  readonly seq: number | undefined
  readonly tenant: string
  readonly priority: Priority
  readonly deadlineAt: number | undefined
  readonly route: Route
  readonly webhook: string | undefined
  readonly mostNanoUsd: number | undefined
  readonly mostDirectlyNanoUsd: number | undefined
  readonly reservedNanoUsd: number
}

/** Replicas whose heartbeat holds, those whose does not, so that what they held is free, and those that may be either. */
export interface Replicas {
  readonly live: ReadonlySet<string>
  readonly unsure: ReadonlySet<string>
  readonly gone: readonly string[]
}

/** An arrival's own part of a search: as many as may be asked for at once. */
interface Want {
  readonly tenant: string
  readonly fingerprint: string
  readonly wanted: number
}
const WANT_COLUMNS = { tenant: 'text', fingerprint: 'text', wanted: 'bigint' } as const
const KEY_COLUMNS = { tenant: 'text', idempotency_key: 'text' } as const

/**
 * All that `decideArrival` can choose from for these arrivals, and no more: of a prompt that is sampled ten thousand
 * times, only those that nobody waits for, and as many of them as arrivals ask for it.
 */
export async function knownRequests(
  tx: Tx,
  arrivals: readonly Arrival[],
  replicas: Replicas,
): Promise<KnownRequest[]> {
  const keyed = arrivals.filter(({ idempotencyKey }) => idempotencyKey !== undefined)
  const plain = plainOf(arrivals)
  const polling = plain.filter(({ mode, claimMs }) => (mode === 'poll' || mode === 'async') && claimMs > 0)
  const caching = arrivals.filter(({ mode, cacheMs }) => mode === 'cache' || cacheMs > 0)
  const looking = arrivals.filter(({ mode }) => mode === 'cache')
  const seqs = [
    ...(keyed.length > 0 ? await withKeys(tx, keyed) : []),
    ...(plain.length > 0 ? await unclaimed(tx, wantsOf(plain), ['', ...replicas.gone]) : []),
    ...(plain.length > 0 && replicas.unsure.size > 0
      ? await unclaimed(tx, wantsOf(plain), [...replicas.unsure])
      : []),
    ...(polling.length > 0 ? await delivered(tx, polling) : []),
    ...(caching.length > 0 ? await answered(tx, wantsOf(caching)) : []),
    ...(looking.length > 0 ? await pending(tx, wantsOf(looking), replicas) : []),
  ]
  return seqs.length === 0 ? [] : await bySeq(tx, [...new Set(seqs)], replicas)
}

/** Those that may go with what nobody waits for any more. */
const plainOf = (arrivals: readonly Arrival[]): readonly Arrival[] =>
  arrivals.filter(({ idempotencyKey, mode }) => idempotencyKey === undefined && mode !== 'cache')

/** Which of these replicas hold a request that an arrival would go with, were they gone. */
export async function holdersOfTwins(
  { db, parts }: Tx,
  arrivals: readonly Arrival[],
  replicas: readonly string[],
): Promise<ReadonlySet<string>> {
  const wants = wantsOf(plainOf(arrivals))
  if (wants.length === 0 || replicas.length === 0) return new Set()
  // A subquery for each that is given, and each replica: one look into the index, however many twins there are.
  const looks = db
    .selectFrom('replicas')
    .crossJoin(parts.rows(WANT_COLUMNS, wants).as('given'))
    .where('replicas.id', 'in', replicas)
    .select((of) =>
      of
        .selectFrom('requests')
        .whereRef('requests.holder', '=', 'replicas.id')
        .whereRef('requests.fingerprint', '=', 'given.fingerprint')
        .whereRef('requests.tenant', '=', 'given.tenant')
        .where('requests.delivered_at', 'is', null)
        .where('requests.idempotency_key', 'is', null)
        .limit(1)
        .select('requests.holder')
        .as('holder'),
    )
  const rows = await db.selectFrom(looks.as('found')).select('holder').distinct().execute()
  return new Set(rows.flatMap(({ holder }) => holder ?? []))
}

function wantsOf(arrivals: readonly Arrival[]): Want[] {
  const wants = new Map<string, Want>()
  for (const { tenant, fingerprint } of arrivals) {
    const key = `${tenant} ${fingerprint}`
    wants.set(key, { tenant, fingerprint, wanted: (wants.get(key)?.wanted ?? 0) + 1 })
  }
  return [...wants.values()]
}

// A cross join, which SQLite does not turn round: it would read every request that nobody holds, for each group that comes.
async function withKeys({ db, parts }: Tx, arrivals: readonly Arrival[]): Promise<number[]> {
  const keys = arrivals.map(({ tenant, idempotencyKey = '' }) => ({
    tenant,
    idempotency_key: idempotencyKey,
  }))
  const rows = await db
    .selectFrom(parts.rows(KEY_COLUMNS, keys).as('given'))
    .crossJoin('requests')
    .whereRef('requests.tenant', '=', 'given.tenant')
    .whereRef('requests.idempotency_key', '=', 'given.idempotency_key')
    .select('requests.seq')
    .execute()
  return rows.map(({ seq }) => seq)
}

/** Those that nobody has got, of these holders: answers first, then the oldest. */
async function unclaimed(
  { db, parts }: Tx,
  wants: readonly Want[],
  holders: readonly string[],
): Promise<number[]> {
  const held = Object.fromEntries(holders.map((holder, place) => [`holder${place}`, holder]))
  const given: Readonly<Record<string, string>> = { ...held, wants: JSON.stringify(wants) }
  const rows = parts.statements.rows(db, `unclaimed of ${holders.length}`, given, (slot) => {
    const found = db
      .selectFrom(parts.table<Want>(WANT_COLUMNS, slot('wants')).as('given'))
      .crossJoin('requests')
      .whereRef('requests.fingerprint', '=', 'given.fingerprint')
      .whereRef('requests.tenant', '=', 'given.tenant')
      .where('requests.delivered_at', 'is', null)
      .where('requests.idempotency_key', 'is', null)
      .where(
        'requests.holder',
        'in',
        Object.keys(held).map((name) => slot(name)),
      )
      .where((is) => is.or([is('requests.ending', 'is', null), is('requests.ending', '<>', 'cancelled')]))
      .select(['requests.seq', 'given.wanted'])
      .select(
        sql<number>`row_number() over (partition by requests.tenant, requests.fingerprint
          order by case when requests.state = 'done' then 0 else 1 end, requests.seq)`.as('place'),
      )
    return db.selectFrom(found.as('found')).select(['seq']).whereRef('place', '<=', 'wanted')
  })
  return placed(await rows)
}

/** Those that were delivered within the claim time: the oldest. */
async function delivered({ db, parts, now }: Tx, arrivals: readonly Arrival[]): Promise<number[]> {
  const since = now - Math.max(...arrivals.map(({ claimMs }) => claimMs))
  const given = { since, wants: JSON.stringify(wantsOf(arrivals)) }
  const rows = parts.statements.rows(db, 'delivered', given, (slot) => {
    const found = db
      .selectFrom(parts.table<Want>(WANT_COLUMNS, slot('wants')).as('given'))
      .crossJoin('requests')
      .whereRef('requests.fingerprint', '=', 'given.fingerprint')
      .whereRef('requests.tenant', '=', 'given.tenant')
      // In the text: of a parameter SQLite cannot know that the index on answers has it, and plans anew each time.
      .where('requests.ending', '=', sql.lit('succeeded'))
      .where('requests.idempotency_key', 'is', null)
      .where('requests.delivered_at', '>=', slot('since'))
      .select(['requests.seq', 'given.wanted'])
      .select(
        sql<number>`row_number() over (partition by requests.tenant, requests.fingerprint order by requests.seq)`.as(
          'place',
        ),
      )
    return db.selectFrom(found.as('found')).select(['seq']).whereRef('place', '<=', 'wanted')
  })
  return placed(await rows)
}

/** The newest answer to each. */
async function answered({ db, parts }: Tx, wants: readonly Want[]): Promise<number[]> {
  const rows = await db
    .selectFrom(parts.rows(WANT_COLUMNS, wants).as('given'))
    .select((of) =>
      of
        .selectFrom('requests')
        .whereRef('requests.fingerprint', '=', 'given.fingerprint')
        .whereRef('requests.tenant', '=', 'given.tenant')
        .where('requests.ending', '=', sql.lit('succeeded'))
        .orderBy('requests.finished_at', 'desc')
        .limit(1)
        .select('requests.seq')
        .as('seq'),
    )
    .execute()
  return placed(rows)
}

/** One of each that is being worked on, whoever waits for it. */
async function pending(
  { db, parts }: Tx,
  wants: readonly Want[],
  { live, unsure, gone }: Replicas,
): Promise<number[]> {
  const rows = await db
    .selectFrom(parts.rows(WANT_COLUMNS, wants).as('given'))
    .select((of) =>
      of
        .selectFrom('requests')
        .whereRef('requests.fingerprint', '=', 'given.fingerprint')
        .whereRef('requests.tenant', '=', 'given.tenant')
        .where('requests.delivered_at', 'is', null)
        .where('requests.holder', 'in', ['', ...live, ...unsure, ...gone])
        .where('requests.state', '<>', 'done')
        .limit(1)
        .select('requests.seq')
        .as('seq'),
    )
    .execute()
  return placed(rows)
}

const placed = (rows: readonly { readonly seq: number | null }[]): number[] =>
  rows.flatMap(({ seq }) => (seq === null ? [] : [seq]))

/** As they are now: who waits for a row that another is changing sees what became of it. */
async function bySeq(
  { db, parts }: Tx,
  seqs: readonly number[],
  { live, unsure }: Replicas,
): Promise<KnownRequest[]> {
  const rows = await db
    .selectFrom('requests')
    .selectAll()
    .where(parts.amongNumbers('seq', seqs))
    .orderBy('seq')
    .modifyEnd(parts.forUpdate)
    .execute()
  return rows.map((row) => ({
    seq: row.seq,
    id: row.id,
    tenant: row.tenant,
    fingerprint: row.fingerprint,
    idempotencyKey: orUndefined(row.idempotency_key),
    state: row.state,
    ending: orUndefined(row.ending),
    isHeld: live.has(row.holder),
    mayBeHeld: unsure.has(row.holder),
    createdAt: row.created_at,
    finishedAt: orUndefined(row.finished_at),
    deliveredAt: orUndefined(row.delivered_at),
    priority: row.priority,
    deadlineAt: orUndefined(row.deadline_at),
    route: row.route,
    webhook: orUndefined(row.webhook),
    mostNanoUsd: orUndefined(row.most_nano),
    mostDirectlyNanoUsd: orUndefined(row.most_direct_nano),
    reservedNanoUsd: row.reserved_nano,
  }))
}
