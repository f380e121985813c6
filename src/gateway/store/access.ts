import type { StoredKey, Tenant } from '../domain/tenant.ts'
import type { Database } from './database.ts'
import { keyOf, orNull, tenantOf } from './rows.ts'

export const tenants = (database: Database): Promise<readonly Tenant[]> =>
  database.read(async (db) => {
    const rows = await db.selectFrom('tenants').selectAll().orderBy('name').execute()
    return rows.map(tenantOf)
  })

/** What it has spent stays. */
export const putTenant = (
  database: Database,
  { name, maxNanoUsd, callsPerMinute }: Pick<Tenant, 'name' | 'maxNanoUsd' | 'callsPerMinute'>,
): Promise<void> =>
  database.write(async ({ db }) => {
    const limits = { max_nano: orNull(maxNanoUsd), calls_per_minute: orNull(callsPerMinute) }
    await db
      .insertInto('tenants')
      .values({ name, ...limits })
      .onConflict((of) => of.column('name').doUpdateSet(limits))
      .execute()
  })

export const keys = (database: Database): Promise<readonly StoredKey[]> =>
  database.read(async (db) => {
    const rows = await db.selectFrom('keys').selectAll().orderBy('created_at').orderBy('id').execute()
    return rows.map(keyOf)
  })

export const addKey = (database: Database, key: StoredKey): Promise<void> =>
  database.write(async ({ db }) => {
    await db
      .insertInto('tenants')
      .values({ name: key.tenant })
      .onConflict((of) => of.doNothing())
      .execute()
    await db
      .insertInto('keys')
      .values({
        id: key.id,
        tenant: key.tenant,
        name: key.name,
        hash: key.hash,
        created_at: key.createdAt,
        revoked_at: orNull(key.revokedAt),
      })
      .execute()
  })

export const revokeKey = (database: Database, id: string): Promise<boolean> =>
  database.write(async ({ db, now }) => {
    const row = await db
      .updateTable('keys')
      .set({ revoked_at: now })
      .where('id', '=', id)
      .where('revoked_at', 'is', null)
      .returning('id')
      .executeTakeFirst()
    return row !== undefined
  })
