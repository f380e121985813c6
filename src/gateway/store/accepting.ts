import { sql } from 'kysely'
import type { Acceptance, AcceptLimits, Arrival } from '../domain/arrival.ts'
import type { Tx } from './database.ts'
import { knownRequests } from './known-requests.ts'
import { type AcceptPlan, type Join, planAccept } from './plan-accept.ts'
import { changePurses, lockPurses, waitingInAll } from './purse-rows.ts'
import { replicasFor } from './replicas.ts'
import { reserveFor } from './reserve.ts'
import { flag, orNull } from './rows.ts'

/**
 * Decides arrivals and puts them on record. The purses of their tenants are locked first, so that of two replicas that
 * accept for a tenant the second decides by what the first has written: neither can go with what the other one just
 * went with, use a key twice, or spend what is spent.
 */
export async function accept(
  tx: Tx,
  arrivals: readonly Arrival[],
  limits: AcceptLimits,
): Promise<readonly Acceptance[]> {
  const purses = await lockPurses(tx, new Set(arrivals.map(({ tenant }) => tenant)))
  const waiting = await waitingInAll(tx)
  const replicas = await replicasFor(tx, arrivals)
  const known = await knownRequests(tx, arrivals, replicas)
  const facts = { now: tx.now, known, purses, waiting, liveReplicas: replicas.live, limits }
  const plan = planAccept(arrivals, facts)
  await create(tx, plan.created)
  await join(tx, [...plan.joins.values()])
  await changePurses(tx, purses)
  return plan.acceptances
}

async function create(tx: Tx, arrivals: AcceptPlan['created']): Promise<void> {
  const { db, parts, now } = tx
  const rows = arrivals.map((arrival) => rowOf(arrival, now))
  const placed = await parts.inserter.insert<'requests', { id: string; seq: number }>(db, 'requests', rows, [
    'id',
    'seq',
  ])
  const seqs = new Map(placed.map(({ id, seq }) => [id, seq]))
  const bodies = arrivals.flatMap(({ id, bodyText }) => {
    const seq = seqs.get(id)
    return seq === undefined ? [] : [{ seq, body: bodyText }]
  })
  await parts.inserter.insert(db, 'bodies', bodies)
}

const rowOf = (arrival: Arrival, now: number) => ({
  id: arrival.id,
  tenant: arrival.tenant,
  endpoint: arrival.endpoint,
  model: arrival.model,
  has_deadline: flag(arrival.hasDeadline),
  state: 'queued' as const,
  fingerprint: arrival.fingerprint,
  idempotency_key: orNull(arrival.idempotencyKey),
  holder: arrival.holder ?? '',
  mode: arrival.mode,
  priority: arrival.priority,
  deadline_at: orNull(arrival.deadlineAt),
  max_nano: orNull(arrival.maxNanoUsd),
  webhook: orNull(arrival.webhook),
  route: arrival.route,
  line_bytes: arrival.lineBytes,
  tokens: JSON.stringify(arrival.tokens),
  // Calibrated estimates have fractions.
  input_tokens: Math.ceil(arrival.tokens.input),
  inputs: arrival.inputs ?? 0,
  reserved_nano: reserveFor(arrival.route, arrival),
  most_nano: orNull(arrival.mostNanoUsd),
  most_direct_nano: orNull(arrival.mostDirectlyNanoUsd),
  created_at: now,
})

const JOIN_COLUMNS = {
  seq: 'bigint',
  holder: 'text',
  mode: 'text',
  priority: 'text',
  deadline_at: 'bigint',
  webhook: 'text',
  route: 'text',
  reserved_nano: 'bigint',
} as const

/** Rows were locked when they were read: what was decided by still holds. */
async function join(tx: Tx, joins: readonly Join[]): Promise<void> {
  if (joins.length === 0) return
  const { db, parts } = tx
  const rows = joins.flatMap(({ to, arrival }) =>
    to.seq === undefined ? [] : [joinRow(to.seq, { to, arrival })],
  )
  await db
    .updateTable('requests')
    .from(parts.rows(JOIN_COLUMNS, rows).as('given'))
    .whereRef('requests.seq', '=', 'given.seq')
    .set((of) => ({
      holder: of.ref('given.holder'),
      mode: of.ref('given.mode'),
      priority: of.ref('given.priority'),
      deadline_at: of.ref('given.deadline_at'),
      webhook: of.ref('given.webhook'),
      route: of.ref('given.route'),
      reserved_nano: of.ref('given.reserved_nano'),
      // What is in a batch stays in the group of that; it is put with the others of its kind when it comes back.
      has_deadline: sql<number>`case when requests.state = 'queued' and given.deadline_at is not null
        then 1 else requests.has_deadline end`,
    }))
    .execute()
  await tellAgain(tx, joins)
}

const joinRow = (seq: number, { to, arrival }: Join) => ({
  seq,
  holder: arrival.holder ?? '',
  mode: arrival.mode,
  priority: to.priority,
  deadline_at: orNull(to.deadlineAt),
  webhook: orNull(to.webhook),
  route: to.route,
  reserved_nano: to.reservedNanoUsd,
})

/** Whoever names a webhook for a request that is done already is told at once. */
async function tellAgain({ db, parts, now }: Tx, joins: readonly Join[]): Promise<void> {
  const due = joins.flatMap(({ to: { seq, state }, arrival: { webhook } }) =>
    state === 'done' && webhook !== undefined && seq !== undefined
      ? [{ seq, url: webhook, next_at: now }]
      : [],
  )
  if (due.length === 0) return
  const seqs = due.map(({ seq }) => seq)
  await db.deleteFrom('webhooks').where(parts.amongNumbers('seq', seqs)).execute()
  await parts.inserter.insert(db, 'webhooks', due)
}
