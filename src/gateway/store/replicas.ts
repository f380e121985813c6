import type { Selectable } from 'kysely'
import type { Arrival } from '../domain/arrival.ts'
import type { Database, Life, Tx } from './database.ts'
import { holdersOfTwins, type Replicas } from './known-requests.ts'
import type { ReplicasTable } from './schema.ts'

/**
 * Who lives: whose lease holds, but for those that are known to be gone sooner. Holders that were never heard of are put
 * on record as gone: only of those that are on record can it be found what they held.
 */
export async function replicasFor(tx: Tx, arrivals: readonly Arrival[]): Promise<Replicas> {
  const { db, now } = tx
  const holders = new Set(arrivals.flatMap(({ holder }) => holder ?? []))
  const rows = await db.selectFrom('replicas').selectAll().execute()
  const known = new Set(rows.map(({ id }) => id))
  const unknown = [...holders].filter((id) => !known.has(id)).sort()
  if (unknown.length > 0) {
    const values = unknown.map((id) => ({ id, lease_until: 0 }))
    await db
      .insertInto('replicas')
      .values(values)
      .onConflict((of) => of.doNothing())
      .execute()
  }
  const leased = rows.filter(({ lease_until }) => lease_until > now)
  const others = leased.filter(({ id }) => !holders.has(id))
  const lives = await livesOfHolders(tx, arrivals, others)
  const among = (life: Life) =>
    new Set(leased.map(({ id }) => id).filter((id) => (lives.get(id) ?? 'live') === life))
  const [live, unsure] = [among('live'), among('unsure')]
  const gone = rows.map(({ id }) => id).filter((id) => !live.has(id) && !unsure.has(id))
  return { live, unsure, gone: [...gone, ...unknown] }
}

/** Of those that hold what an arrival could go with. It is asked of these alone, since it is not cheap. */
async function livesOfHolders(
  tx: Tx,
  arrivals: readonly Arrival[],
  leased: readonly Selectable<ReplicasTable>[],
): Promise<ReadonlyMap<string, Life>> {
  const others = leased.filter(({ voice }) => tx.voice !== undefined && voice !== tx.voice)
  const ids = others.map(({ id }) => id)
  const held = await holdersOfTwins(tx, arrivals, ids)
  const asked = others.filter(({ id }) => held.has(id))
  if (asked.length === 0) return new Map()
  const lives = await tx.lives(
    asked.map(({ voice, beat_at }) => ({ voice: voice ?? undefined, at: beat_at ?? 0 })),
  )
  return new Map(asked.map(({ id }, place) => [id, lives[place] ?? 'live']))
}

export async function heartbeat(database: Database, replica: string, leaseMs: number): Promise<void> {
  const voice = (await database.voice()) ?? null
  await database.write(async ({ db, now }) => {
    const life = { lease_until: now + leaseMs, beat_at: now, voice }
    await db
      .insertInto('replicas')
      .values({ id: replica, ...life })
      .onConflict((of) => of.column('id').doUpdateSet(life))
      .execute()
  })
}

/** Calls that they made stay theirs until their leases end: one that is still on its way would be paid for twice. */
export const freeGone = (database: Database): Promise<number> =>
  database.write(async (tx) => {
    const gone = await goneClaimers(tx)
    if (gone.length === 0) return 0
    await tx.db.deleteFrom('leases').where('replica', 'in', gone).execute()
    const freed = await tx.db
      .updateTable('batches')
      .set({ holder: null, lease_until: null })
      .where('phase', '<>', 'done')
      .where('holder', 'in', gone)
      .returning('number')
      .execute()
    return freed.length
  })

async function goneClaimers(tx: Tx): Promise<readonly string[]> {
  const { db, now, voice } = tx
  if (voice === undefined) return []
  const claimers = db
    .selectFrom('batches')
    .select('holder as id')
    .where('phase', '<>', 'done')
    .where('lease_until', '>', now)
    .union(db.selectFrom('leases').select('replica as id').where('lease_until', '>', now))
  const rows = await db.selectFrom('replicas').selectAll().where('id', 'in', claimers).execute()
  const others = rows.filter((row) => row.voice !== voice)
  const lives = await tx.lives(others.map((row) => ({ voice: row.voice ?? undefined, at: row.beat_at ?? 0 })))
  return others.flatMap(({ id }, place) => (lives[place] === 'gone' ? [id] : []))
}

/** What it held is free at once, and so are its leases. */
export const leave = (database: Database, replica: string): Promise<void> =>
  database.write(async ({ db }) => {
    await db.updateTable('replicas').set({ lease_until: 0 }).where('id', '=', replica).execute()
    await db.deleteFrom('leases').where('replica', '=', replica).execute()
  })

/** False while another has it. */
export const lease = (database: Database, name: string, replica: string, leaseMs: number): Promise<boolean> =>
  database.write(async ({ db, now }) => {
    const until = { replica, lease_until: now + leaseMs }
    const taken = await db
      .insertInto('leases')
      .values({ name, ...until })
      .onConflict((of) =>
        of
          .column('name')
          .doUpdateSet(until)
          .where((is) => is.or([is('leases.lease_until', '<=', now), is('leases.replica', '=', replica)])),
      )
      .returning('name')
      .executeTakeFirst()
    return taken !== undefined
  })
