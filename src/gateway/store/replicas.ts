import type { Selectable } from 'kysely'
import type { Arrival } from '../domain/arrival.ts'
import type { Database, Tx } from './database.ts'
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
  const silent = await silentHolders(tx, arrivals, leased)
  const live = new Set(leased.map(({ id }) => id).filter((id) => !silent.has(id)))
  return {
    live,
    gone: [...rows.map(({ id }) => id).filter((id) => !live.has(id)), ...unknown],
  }
}

/** Others that hold what an arrival could go with, and have fallen silent. That is asked of these alone, since it is not cheap. */
async function silentHolders(
  tx: Tx,
  arrivals: readonly Arrival[],
  leased: readonly Selectable<ReplicasTable>[],
): Promise<ReadonlySet<string>> {
  const others = leased.filter(({ voice }) => voice !== null && voice !== tx.voice)
  const asked = await holdersOfTwins(
    tx,
    arrivals,
    others.map(({ id }) => id),
  )
  const voices = others.flatMap(({ id, voice, beat_at }) =>
    voice !== null && asked.has(id) ? [{ voice, at: beat_at ?? 0 }] : [],
  )
  if (voices.length === 0) return new Set()
  const silent = await tx.silent(voices)
  return new Set(others.filter(({ voice }) => voice !== null && silent.has(voice)).map(({ id }) => id))
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
