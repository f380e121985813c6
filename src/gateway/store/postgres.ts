import { Kysely, PostgresDialect, sql } from 'kysely'
import type { ClientBase, ClientConfig } from 'pg'
import type { Clock } from '../../util/clock.ts'
import { forgetOldMarks } from './commit-marks.ts'
import type { Database } from './database.ts'
import { migrate } from './migrations.ts'
import { type OpenedPostgres, PostgresDatabase } from './postgres-database.ts'
import { storeErrorOf } from './postgres-errors.ts'
import type { Tables } from './schema.ts'
import { StoreError } from './store-error.ts'

export interface PostgresSettings {
  /** `postgres://user:password@host:5432/database`, with any parameter that `pg` knows. */
  readonly url: string
  /** The schema that the gateway's tables are in. Default: `nightshift`. */
  readonly schema?: string | undefined
}

/** Older ones are not tried: their makers have given them up. */
const OLDEST_SERVER = 130_000
const CONNECTIONS = 10
const CONNECT_MS = 10_000
/** Longest that a statement may take; the largest batches are put back within seconds. */
const STATEMENT_MS = 60_000
/** What a replica that hangs has locked is free after so long. */
const IDLE_IN_TRANSACTION_MS = 30_000

/**
 * Opens the store in a PostgreSQL database, and makes its schema where there is none. Throws StoreError
 * `store_unavailable`, `newer_store`, `old_server` or `store_failed`.
 */
export async function openPostgres(settings: PostgresSettings, clock: Clock): Promise<Database> {
  const { url, schema = 'nightshift' } = settings
  const { default: pg } = await import('pg')
  const place = placeOf(url)
  const types = new pg.TypeOverrides()
  // Amounts and times fit: they are far below 2^53.
  types.setTypeParser(pg.types.builtins.INT8, Number)
  const config: ClientConfig = {
    connectionString: url,
    application_name: 'nightshift',
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    types,
  }
  const pool = new pg.Pool({
    ...config,
    max: CONNECTIONS,
    query_timeout: STATEMENT_MS + 5000,
    onConnect: (client) => prepared(client, schema),
  })
  // Of a connection that waits for work: whoever works next is told what is wrong.
  pool.on('error', () => undefined)
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  const opened = { place, schema, clock, pool, db, connection: () => new pg.Client(config) }
  try {
    await checkServer(opened)
    await makeSchema(opened)
    await forgetOldMarks(db)
    return new PostgresDatabase(opened)
  } catch (error) {
    await pool.end()
    throw storeErrorOf(place, error)
  }
}

/** Where a database is, for people: never its password. */
function placeOf(url: string): string {
  const { hostname, port, pathname } = URL.parse(url) ?? { hostname: '', port: '', pathname: '' }
  return `${hostname || 'localhost'}${port && `:${port}`}${pathname}`
}

/** Settings of each connection; those that the server or its owner chose for others do not matter. */
async function prepared(client: ClientBase, schema: string): Promise<void> {
  // A connection may break while it is in use: the statement that it breaks says so.
  client.on('error', () => undefined)
  await client.query(
    `set search_path to ${client.escapeIdentifier(schema)}; set synchronous_commit to on; ` +
      `set statement_timeout to ${STATEMENT_MS}; ` +
      `set idle_in_transaction_session_timeout to ${IDLE_IN_TRANSACTION_MS}`,
  )
}

async function checkServer({ db, place }: OpenedPostgres): Promise<void> {
  const { rows } = await sql<{
    version: string
  }>`select current_setting('server_version_num') as version`.execute(db)
  const version = Number(rows[0]?.version)
  if (version >= OLDEST_SERVER) return
  const message = `PostgreSQL at ${place} is version ${version / 10_000}; the gateway needs 13 or later`
  throw new StoreError('old_server', message)
}

const makeSchema = ({ db, place, schema }: OpenedPostgres): Promise<void> =>
  migrate({
    kind: 'postgres',
    place: `${place}, schema ${schema}`,
    transaction: (work) =>
      db.transaction().execute(async (db) => {
        await sql`select pg_advisory_xact_lock(hashtextextended(${`nightshift ${schema}`}, 0))`.execute(db)
        const { rows } = await sql`select from pg_namespace where nspname = ${schema}`.execute(db)
        // Only whoever may make schemas may ask for one that is there.
        if (rows.length === 0) await sql`create schema ${sql.id(schema)}`.execute(db)
        return await work(db)
      }),
  })
