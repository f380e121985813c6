import { sql } from 'kysely'
import type { Outcome } from '../domain/request.ts'
import type { Tx } from './database.ts'
import { type OpenRequest, planOutcome, type RequestChange } from './plan-outcome.ts'
import { changePurses } from './purse-rows.ts'
import type { Purses } from './purses.ts'
import { flag, orNull, orUndefined, type RequestRow, storable } from './rows.ts'

export interface OutcomeRecord {
  /** The requests that outcomes are about, as they are now, locked; others are passed over. */
  readonly rows: readonly RequestRow[]
  /** Of their tenants, locked. */
  readonly purses: Purses
  /** Of several for one request the first counts. */
  readonly outcomes: readonly Outcome[]
  /** Remote id of the batch that the answers come from. */
  readonly batchId?: string | undefined
  /** Requests that have another line under way, which may be charged as well. */
  readonly staysOut?: (row: RequestRow) => boolean
}

/**
 * Puts outcomes on record, with what they make of purses, bodies, answers and webhooks. Gives the requests that this
 * made a difference to: not those that their callers have cancelled, which are only charged.
 */
export async function recordOutcomes(tx: Tx, record: OutcomeRecord): Promise<readonly RequestRow[]> {
  const { rows, purses, outcomes, batchId, staysOut = () => false } = record
  const byId = new Map(rows.map((row) => [row.id, row]))
  const changes: RequestChange[] = []
  for (const outcome of outcomes) {
    const row = byId.get(outcome.id)
    if (!row) continue
    byId.delete(outcome.id)
    const change = planOutcome(openOf(row), outcome, purses)
    changes.push(staysOut(row) ? keptOut(change, purses) : change)
  }
  await writeChanges(tx, changes, batchId)
  await changePurses(tx, purses)
  const changed = new Set(changes.map(({ request }) => request.id))
  return rows.filter(({ id, state }) => state !== 'done' && changed.has(id))
}

/** Whatever its first line came to, the second one can be charged as much. */
function keptOut(change: RequestChange, purses: Purses): RequestChange {
  const { reservedNanoUsd, tenant } = change.request
  purses.change(tenant, { reserved: reservedNanoUsd })
  return { ...change, reservedNanoUsd, isOut: true }
}

export const openOf = (row: RequestRow): OpenRequest => ({
  seq: row.seq,
  id: row.id,
  tenant: row.tenant,
  state: row.state,
  route: row.route,
  batch: orUndefined(row.batch),
  reservedNanoUsd: row.reserved_nano,
  mostNanoUsd: orUndefined(row.most_nano),
  mostDirectlyNanoUsd: orUndefined(row.most_direct_nano),
  attempts: row.attempts,
  expiries: row.expiries,
  deadlineAt: orUndefined(row.deadline_at),
  webhook: orUndefined(row.webhook),
  ending: orUndefined(row.ending),
  finishedAt: orUndefined(row.finished_at),
  costNanoUsd: orUndefined(row.cost_nano),
})

/** Rows of requests by id, locked, the oldest first. */
export const lockedRequests = ({ db, parts }: Tx, ids: readonly string[]): Promise<RequestRow[]> =>
  db
    .selectFrom('requests')
    .selectAll()
    .where(parts.among('id', ids))
    .orderBy('seq')
    .modifyEnd(parts.forUpdate)
    .execute()

/** Whose requests these are: that never changes, so it can be read before anything is locked. */
export async function tenantsOf({ db, parts }: Tx, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await db
    .selectFrom('requests')
    .select('tenant')
    .distinct()
    .where(parts.among('id', ids))
    .execute()
  return new Set(rows.map(({ tenant }) => tenant))
}

const CHANGE_COLUMNS = {
  seq: 'bigint',
  state: 'text',
  route: 'text',
  reserved_nano: 'bigint',
  attempts: 'bigint',
  expiries: 'bigint',
  has_deadline: 'bigint',
  ready_at: 'bigint',
  finished_at: 'bigint',
  ending: 'text',
  cost_nano: 'bigint',
  is_out: 'bigint',
} as const

const rowOf = ({ request, answer, ...change }: RequestChange, now: number) => ({
  seq: request.seq,
  state: change.state,
  route: change.route,
  reserved_nano: change.reservedNanoUsd,
  attempts: change.attempts,
  expiries: change.expiries,
  has_deadline: flag(request.deadlineAt !== undefined),
  ready_at: orNull(change.readyAt),
  finished_at: orNull(answer ? now : request.finishedAt),
  ending: orNull(answer?.ending ?? request.ending),
  cost_nano: orNull(change.costNanoUsd),
  is_out: flag(change.isOut),
})

/** Writes what became of requests, and for those that end now their answers and webhooks. */
export async function writeChanges(
  tx: Tx,
  changes: readonly RequestChange[],
  batchId?: string,
): Promise<void> {
  if (changes.length === 0) return
  const { db, parts, now } = tx
  const rows = changes.map((change) => rowOf(change, now))
  await db
    .updateTable('requests')
    .from(parts.rows(CHANGE_COLUMNS, rows).as('given'))
    .whereRef('requests.seq', '=', 'given.seq')
    .set((of) => ({
      state: of.ref('given.state'),
      route: of.ref('given.route'),
      reserved_nano: of.ref('given.reserved_nano'),
      attempts: of.ref('given.attempts'),
      expiries: of.ref('given.expiries'),
      has_deadline: of.ref('given.has_deadline'),
      ready_at: of.ref('given.ready_at'),
      finished_at: of.ref('given.finished_at'),
      ending: of.ref('given.ending'),
      cost_nano: of.ref('given.cost_nano'),
      // A line or call that is still out keeps its place: there it is looked for when it comes to be charged.
      batch: sql<number | null>`case when given.is_out = 1 then requests.batch end`,
      caller: sql<string | null>`case when given.is_out = 1 then requests.caller end`,
      call_until: sql<number | null>`case when given.is_out = 1 then requests.call_until end`,
    }))
    .execute()
  await writeEnds(tx, changes, batchId)
}

async function writeEnds(tx: Tx, changes: readonly RequestChange[], batchId?: string): Promise<void> {
  const { db, parts, now } = tx
  const ends = changes.flatMap(({ request, answer }) => (answer ? [{ request, answer }] : []))
  if (ends.length === 0) return
  const answers = ends.map(({ request: { seq }, answer: { status, body, requestId } }) => ({
    seq,
    status,
    body: storable(body),
    request_id: orNull(requestId),
    batch_id: orNull(batchId),
  }))
  await parts.inserter.insert(db, 'answers', answers)
  const seqs = ends.map(({ request }) => request.seq)
  await db.deleteFrom('bodies').where(parts.amongNumbers('seq', seqs)).execute()
  const webhooks = ends.flatMap(({ request: { seq, webhook } }) =>
    webhook === undefined ? [] : [{ seq, url: webhook, next_at: now }],
  )
  await parts.inserter.insert(db, 'webhooks', webhooks)
  tx.done.push(...ends.map(({ request }) => request.id))
}
