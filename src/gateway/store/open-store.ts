import type { Clock } from '../../util/clock.ts'
import { storeOver } from './kysely-store.ts'
import type { PostgresSettings } from './postgres.ts'
import { openSqlite, type SqliteSettings } from './sqlite.ts'
import type { GatewayStore } from './store.ts'

export type StoreSettings =
  | ({ readonly kind: 'sqlite' } & SqliteSettings)
  | ({ readonly kind: 'postgres' } & PostgresSettings)

/**
 * Opens the gateway's store, and brings its schema up to date. The clock is the store's time for SQLite; PostgreSQL has
 * its own. Throws StoreError (see there), and LockError `gateway_folder_in_use` for a folder that another server has.
 */
export async function openStore(settings: StoreSettings, clock: Clock): Promise<GatewayStore> {
  if (settings.kind === 'sqlite') return storeOver(await openSqlite(settings, clock))
  // Whoever has no PostgreSQL does not wait for its driver to be loaded.
  const { openPostgres } = await import('./postgres.ts')
  return storeOver(await openPostgres(settings, clock))
}
