import type { Database, Tx } from './database.ts'
import type { Replicas } from './known-requests.ts'

/**
 * Who lives. Holders that were never heard of are put on record as gone: only of those that are on record can it be
 * found what they held.
 */
export async function replicasFor({ db, now }: Tx, holders: ReadonlySet<string>): Promise<Replicas> {
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
  const isLive = ({ lease_until }: { readonly lease_until: number }) => lease_until > now
  return {
    live: new Set(rows.filter(isLive).map(({ id }) => id)),
    gone: [...rows.filter((row) => !isLive(row)).map(({ id }) => id), ...unknown],
  }
}

export const heartbeat = (database: Database, replica: string, leaseMs: number): Promise<void> =>
  database.write(async ({ db, now }) => {
    await db
      .insertInto('replicas')
      .values({ id: replica, lease_until: now + leaseMs })
      .onConflict((of) => of.column('id').doUpdateSet({ lease_until: now + leaseMs }))
      .execute()
  })

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
