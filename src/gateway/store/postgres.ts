import { Socket } from 'node:net'
import { Kysely, PostgresDialect, sql } from 'kysely'
import type { ClientBase, ClientConfig, PoolClient } from 'pg'
import { errorText, NightshiftError } from '../../errors.ts'
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
  /** Longest that a statement may take, in milliseconds. Default: 60 s; the largest batches are put back within seconds. */
  readonly statementMs?: number | undefined
}

/** Older ones are not tried: their makers have given them up. */
const OLDEST_SERVER = 130_000
const CONNECTIONS = 10
const CONNECT_MS = 10_000
const STATEMENT_MS = 60_000
/** A server says in time that a statement took too long: one that says nothing at all by then is not there any more. */
const SILENCE_MS = 5000
/** What a replica that hangs has locked is free after so long. */
const IDLE_IN_TRANSACTION_MS = 30_000

/**
 * Opens the store in a PostgreSQL database, and makes its schema where there is none. Throws StoreError
 * `store_unavailable`, `newer_store`, `old_server`, `no_sessions` or `store_failed`.
 */
export async function openPostgres(settings: PostgresSettings, clock: Clock): Promise<Database> {
  const { url, schema = 'nightshift', statementMs = STATEMENT_MS } = settings
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
    onConnect: (client) => prepared(client, { schema, statementMs }),
  })
  pool.on('connect', (client) => endWhenSilent(client, statementMs + SILENCE_MS))
  // Of a connection that waits for work: whoever works next is told what is wrong.
  pool.on('error', () => undefined)
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) })
  const opened = {
    place,
    schema,
    clock,
    pool,
    db,
    connection: () => new pg.Client({ ...config, query_timeout: CONNECT_MS }),
  }
  try {
    await checkServer(opened)
    await checkSessions(opened)
    await makeSchema(opened)
    await forgetOldMarks(db)
    return new PostgresDatabase(opened)
  } catch (error) {
    await pool.end()
    throw unusable(place, storeErrorOf(place, error))
  }
}

/** What the driver says of a URL, of certificates or of passwords has no code of its own. */
function unusable(place: string, error: unknown): unknown {
  if (NightshiftError.is(error)) return error
  const message =
    `PostgreSQL at ${place} cannot be used (${errorText(error)}). See that its URL is right: characters of a ` +
    'password such as # / @ % are written as %23 %2F %40 %25 there.'
  return new StoreError('store_failed', message, { cause: error })
}

/** Where a database is, for people: never its password. */
function placeOf(url: string): string {
  const parsed = /^postgres(ql)?:\/\//i.test(url) ? URL.parse(url) : null
  if (!parsed) return 'the URL that was given'
  const { hostname, port, pathname } = parsed
  return `${hostname || 'localhost'}${port && `:${port}`}${pathname}`
}

/** Settings of each connection; those that the server or its owner chose for others do not matter. */
async function prepared(
  client: ClientBase,
  { schema, statementMs }: { readonly schema: string; readonly statementMs: number },
): Promise<void> {
  // A connection may break while it is in use: the statement that it breaks says so.
  client.on('error', () => undefined)
  await client.query(
    `set search_path to ${client.escapeIdentifier(schema)}; set synchronous_commit to on; ` +
      `set statement_timeout to ${statementMs}; ` +
      `set idle_in_transaction_session_timeout to ${IDLE_IN_TRANSACTION_MS}`,
  )
}

/** A server that vanished without a word would keep whoever asked it waiting for a quarter of an hour, and then the next. */
function endWhenSilent({ connection: { stream } }: PoolClient, ms: number): void {
  if (!(stream instanceof Socket)) return
  stream.setTimeout(ms, () =>
    stream.destroy(Object.assign(new Error(`no answer for ${ms} ms`), { code: 'ETIMEDOUT' })),
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

/**
 * Refuses a pooler that gives every transaction the session that is free at that moment: what is said for a connection
 * (its schema, its locks, what it listens to) would be lost, or hold for others. One that keeps sessions is welcome.
 */
async function checkSessions({ pool, place }: OpenedPostgres): Promise<void> {
  const [one, other] = await Promise.all([pool.connect(), pool.connect()])
  try {
    const first = await sessionOf(one)
    await other.query('begin')
    const second = await sessionOf(other)
    // The other one keeps what it was given for its transaction: whoever was lent the same before gets another one now.
    const again = await sessionOf(one)
    await other.query('commit')
    if (first === again && first !== second) return
  } finally {
    one.release()
    other.release()
  }
  const message =
    `between the gateway and PostgreSQL at ${place} there is a pooler (such as PgBouncer) that keeps no sessions: let ` +
    'it pool by session (pool_mode = session) for the gateway, or name PostgreSQL itself'
  throw new StoreError('no_sessions', message)
}

async function sessionOf(client: PoolClient): Promise<unknown> {
  const { rows } = await client.query('select pg_backend_pid() as session')
  return rows[0]?.session
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
