import type { StoredAnswer, StoredRequest } from '../domain/request.ts'
import { addLive, lockBatch } from './batch-rows.ts'
import type { Database, Tx } from './database.ts'
import { openOf, writeChanges } from './outcome-rows.ts'
import type { OpenRequest, RequestChange } from './plan-outcome.ts'
import { changePurses, lockPurses } from './purse-rows.ts'
import { orUndefined, type RequestRow, requestOf } from './rows.ts'

/** What callers do with requests that are there: ask, come and go, take their answers, cancel. */

export const letGo = (database: Database, ids: readonly string[], replica: string): Promise<void> =>
  database.write(async ({ db, parts }) => {
    const held = db
      .selectFrom('requests')
      .select('seq')
      .where(parts.among('id', ids))
      .where('holder', '=', replica)
      .orderBy('seq')
      .modifyEnd(parts.forUpdate)
    await db.updateTable('requests').set({ holder: '' }).where('seq', 'in', held).execute()
  })

/** The claim time runs from the first delivery. */
export const delivered = (database: Database, ids: readonly string[]): Promise<void> =>
  database.write(async ({ db, parts, now }) => {
    const done = db
      .selectFrom('requests')
      .select('seq')
      .where(parts.among('id', ids))
      .where('state', '=', 'done')
      .orderBy('seq')
      .modifyEnd(parts.forUpdate)
    await db
      .updateTable('requests')
      .set((of) => ({ holder: '', delivered_at: of.fn.coalesce('delivered_at', of.val(now)) }))
      .where('seq', 'in', done)
      .execute()
  })

export const request = (database: Database, id: string, tenant: string): Promise<StoredRequest | undefined> =>
  database.read(async (db) => {
    const row = await db
      .selectFrom('requests')
      .selectAll()
      .where('id', '=', id)
      .where('tenant', '=', tenant)
      .executeTakeFirst()
    return row && requestOf(row)
  })

export const requests = (database: Database, ids: readonly string[]): Promise<readonly StoredRequest[]> =>
  database.read(async (db, parts) => {
    const rows = await db
      .selectFrom('requests')
      .selectAll()
      .where(parts.among('id', ids))
      .orderBy('seq')
      .execute()
    return rows.map(requestOf)
  })

export const answers = (
  database: Database,
  ids: readonly string[],
): Promise<ReadonlyMap<string, StoredAnswer>> =>
  database.read(async (db, parts) => {
    const rows = await db
      .selectFrom('requests')
      .innerJoin('answers', 'answers.seq', 'requests.seq')
      .where(parts.among('requests.id', ids))
      .select(['id', 'ending', 'route', 'finished_at', 'status', 'body', 'request_id', 'batch_id'])
      .execute()
    return new Map(
      rows.map((row) => [
        row.id,
        {
          id: row.id,
          // A request gets both with its answer, and they stay.
          ending: row.ending ?? 'failed',
          finishedAt: row.finished_at ?? 0,
          status: row.status,
          body: row.body,
          requestId: orUndefined(row.request_id),
          route: row.route,
          batchId: orUndefined(row.batch_id),
        },
      ]),
    )
  })

export const finishedAmong = (database: Database, ids: readonly string[]): Promise<readonly string[]> =>
  database.read(async (db, parts) => {
    const rows = await db
      .selectFrom('requests')
      .select('id')
      .where(parts.among('id', ids))
      .where('state', '=', 'done')
      .execute()
    return rows.map(({ id }) => id)
  })

export const heldBy = (database: Database, replica: string): Promise<readonly string[]> =>
  database.read(async (db) => {
    const rows = await db
      .selectFrom('requests')
      .select('id')
      .where('holder', '=', replica)
      .where('delivered_at', 'is', null)
      .execute()
    return rows.map(({ id }) => id)
  })

interface Cancellation {
  readonly id: string
  readonly tenant: string
  readonly answer: { readonly status: number; readonly body: string }
}

export const cancelRequest = (
  database: Database,
  cancellation: Cancellation,
): Promise<'ended' | 'sent' | 'done' | 'absent'> => database.write((tx) => cancel(tx, cancellation))

async function cancel(
  tx: Tx,
  { id, tenant, answer }: Cancellation,
): Promise<'ended' | 'sent' | 'done' | 'absent'> {
  const seen = await requestRow(tx, id, tenant)
  if (!seen) return 'absent'
  if (seen.batch !== null) await lockBatch(tx, seen.batch)
  const purses = await lockPurses(tx, new Set([tenant]))
  const row = await requestRow(tx, id, tenant, true)
  if (!row) return 'absent'
  if (row.state === 'done') return 'done'
  const open = openOf(row)
  const change = cancelled(open, answer)
  purses.change(tenant, { reserved: change.reservedNanoUsd - open.reservedNanoUsd, waiting: -1 })
  await writeChanges(tx, [change])
  await changePurses(tx, purses)
  if (row.state === 'batched' && row.batch !== null) await addLive(tx, row.batch, -1)
  return change.isOut ? 'sent' : 'ended'
}

function requestRow(
  { db, parts }: Tx,
  id: string,
  tenant: string,
  locked = false,
): Promise<RequestRow | undefined> {
  const query = db.selectFrom('requests').selectAll().where('id', '=', id).where('tenant', '=', tenant)
  return (locked ? query.modifyEnd(parts.forUpdate) : query).executeTakeFirst()
}

/** What it can still be charged stays set aside until the outcome of its line or call is known. */
function cancelled(request: OpenRequest, answer: Cancellation['answer']): RequestChange {
  const isOut = request.state !== 'queued'
  return {
    request,
    state: 'done',
    route: request.route,
    reservedNanoUsd: isOut ? request.reservedNanoUsd : 0,
    attempts: request.attempts,
    expiries: request.expiries,
    readyAt: undefined,
    costNanoUsd: request.costNanoUsd,
    answer: { ending: 'cancelled', ...answer, requestId: undefined },
    isOut,
  }
}
