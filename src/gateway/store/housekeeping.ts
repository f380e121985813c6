import { sql } from 'kysely'
import type { Database, Tx } from './database.ts'
import type { DueWebhook, StoreCounts } from './store.ts'

/** Takes webhooks for so long: whoever takes one and is gone leaves it to others then. */
export const dueWebhooks = (
  database: Database,
  limit: number,
  leaseMs: number,
): Promise<readonly DueWebhook[]> =>
  database.write(async ({ db, parts, now }) => {
    const due = await db
      .selectFrom('webhooks')
      .select('seq')
      .where('next_at', '<=', now)
      .orderBy('next_at')
      .orderBy('seq')
      .limit(limit)
      .modifyEnd(parts.forUpdateFree)
      .execute()
    if (due.length === 0) return []
    const seqs = due.map(({ seq }) => seq)
    await db
      .updateTable('webhooks')
      .set({ next_at: now + leaseMs })
      .where(parts.amongNumbers('seq', seqs))
      .execute()
    const rows = await db
      .selectFrom('webhooks')
      .innerJoin('requests', 'requests.seq', 'webhooks.seq')
      .where(parts.amongNumbers('webhooks.seq', seqs))
      .select(['requests.id as request', 'webhooks.url', 'webhooks.tries'])
      .orderBy('webhooks.seq')
      .execute()
    return rows.map(({ request, url, tries }) => ({ request, url, tries }))
  })

export const webhookTried = (
  database: Database,
  request: string,
  nextAt: number | undefined,
): Promise<void> =>
  database.write(async ({ db }) => {
    const of = db.selectFrom('requests').select('seq').where('id', '=', request)
    if (nextAt === undefined) {
      await db.deleteFrom('webhooks').where('seq', 'in', of).execute()
      return
    }
    await db
      .updateTable('webhooks')
      .set((one) => ({ tries: one('tries', '+', 1), next_at: nextAt }))
      .where('seq', 'in', of)
      .execute()
  })

/** What still has a webhook to be sent, or may still be charged, is kept. */
export const forget = (database: Database, beforeMs: number, limit: number): Promise<number> =>
  database.write(async (tx) => {
    const { db, parts } = tx
    const old = await db
      .selectFrom('requests')
      .select('seq')
      .where('finished_at', '<', beforeMs)
      .where('batch', 'is', null)
      .where('call_until', 'is', null)
      .where((is) =>
        is.not(
          is.exists(
            is.selectFrom('webhooks').select('webhooks.seq').whereRef('webhooks.seq', '=', 'requests.seq'),
          ),
        ),
      )
      .orderBy('finished_at')
      .limit(limit)
      .modifyEnd(parts.forUpdateFree)
      .execute()
    const seqs = old.map(({ seq }) => seq)
    if (seqs.length > 0) await db.deleteFrom('requests').where(parts.amongNumbers('seq', seqs)).execute()
    await forgetBatches(tx, beforeMs, limit)
    await forgetReplicas(tx, beforeMs, limit)
    return seqs.length
  })

async function forgetBatches({ db, parts }: Tx, beforeMs: number, limit: number): Promise<void> {
  const old = await db
    .selectFrom('batches')
    .select('number')
    .where('phase', '=', 'done')
    .where('phase_at', '<', beforeMs)
    .limit(limit)
    .execute()
  if (old.length === 0) return
  const numbers = old.map(({ number }) => number)
  await db.deleteFrom('batches').where(parts.amongNumbers('number', numbers)).execute()
}

/** What a replica held is looked through for every arrival until it is forgotten: one that starts again and again adds up. */
const GONE_MS = 3_600_000

/** Of a replica that is gone for long, what it held is made free by name; then nobody needs to know of it any more. */
async function forgetReplicas({ db, parts, now }: Tx, beforeMs: number, limit: number): Promise<void> {
  const goneAt = Math.max(beforeMs, now - GONE_MS)
  const gone = await db.selectFrom('replicas').select('id').where('lease_until', '<', goneAt).execute()
  const ids = gone.map(({ id }) => id)
  if (ids.length === 0) return
  const held = await db
    .selectFrom('requests')
    .select('seq')
    .where('delivered_at', 'is', null)
    .where('holder', 'in', ids)
    .limit(limit)
    .modifyEnd(parts.forUpdateFree)
    .execute()
  const seqs = held.map(({ seq }) => seq)
  if (seqs.length > 0) {
    await db.updateTable('requests').set({ holder: '' }).where(parts.amongNumbers('seq', seqs)).execute()
    return
  }
  const isHeld = db
    .selectFrom('requests')
    .select('holder')
    .where('delivered_at', 'is', null)
    .where('holder', 'in', ids)
  await db
    .deleteFrom('replicas')
    .where('id', 'in', ids)
    .where('lease_until', '<', goneAt)
    .where('id', 'not in', isHeld)
    .execute()
}

export const counts = (database: Database): Promise<StoreCounts> =>
  database.read(async (db) => {
    const queue = await db
      .selectFrom('requests')
      .where('state', '=', 'queued')
      .select((of) => [of.fn.countAll<number>().as('requests'), of.fn.min('created_at').as('oldest')])
      .executeTakeFirstOrThrow()
    const batched = await db
      .selectFrom('batches')
      .where('phase', '<>', 'done')
      .select(sql<number>`cast(coalesce(sum(live), 0) as bigint)`.as('live'))
      .executeTakeFirstOrThrow()
    const calling = await db
      .selectFrom('requests')
      .where('call_until', 'is not', null)
      .where('state', '=', 'calling')
      .select((of) => of.fn.countAll<number>().as('requests'))
      .executeTakeFirstOrThrow()
    const batches = await db
      .selectFrom('batches')
      .where('phase', '<>', 'done')
      .groupBy([sql`batch_id is null`, 'status'])
      .select((of) => [
        sql<number>`cast(max(case when batch_id is null then 1 else 0 end) as bigint)`.as('is_unsent'),
        'status',
        of.fn.countAll<number>().as('batches'),
        of.fn.min('created_at').as('oldest'),
      ])
      .execute()
    const unsent = batches.filter(({ is_unsent }) => is_unsent === 1)
    const waiting = [queue.oldest, ...unsent.map(({ oldest }) => oldest)].filter((at) => at !== null)
    return {
      queued: queue.requests,
      batched: batched.live,
      calling: calling.requests,
      batches: Object.fromEntries(
        batches.map(({ is_unsent, status, batches }) => [
          is_unsent ? 'unsent' : (status ?? 'unknown'),
          batches,
        ]),
      ),
      oldestUnsentAt: waiting.length === 0 ? undefined : Math.min(...waiting),
    }
  })
