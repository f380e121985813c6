import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { Kysely } from 'kysely'
import { errorText, NightshiftError } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import { isDamage, isLocked, loadSqlite, sqliteCode } from '../../util/sqlite.ts'
import { systemCode } from '../../util/system-code.ts'
import type { Database, Db, SqlParts, Tx } from './database.ts'
import { DoneListeners } from './done-listeners.ts'
import { isUpToDate, migrate } from './migrations.ts'
import { OpenWork } from './open-work.ts'
import type { Tables } from './schema.ts'
import { sqliteParts } from './sql-parts.ts'
import { NodeSqliteDialect } from './sqlite-driver.ts'
import { DATABASE_FILE, lockFolder, makeDataFolder, makePrivateFile } from './sqlite-folder.ts'
import { StoreError } from './store-error.ts'

export interface SqliteSettings {
  readonly dataDir: string
  /** True for a server, which must be the only one; false for a command beside it. */
  readonly serve: boolean
}

/** How long a statement waits for another process that writes. Nobody else is served meanwhile, and nobody writes for long. */
const BUSY_MS = 5000

/** "NSGW" in the file's header: what tells the file from any other database. No release may change it. */
const APPLICATION_ID = 0x4e_53_47_57

/**
 * Every commit is synced before it counts, on macOS through the disk's own memory as well. The log grows to 32 MB before
 * it is worked into the file: a page that many commits have changed is then written once. What undoes a single statement
 * dies with its transaction, and is no use on the disk: there it doubles what a commit writes.
 */
const SETTINGS = `
  pragma journal_mode = wal;
  pragma synchronous = full;
  pragma fullfsync = on;
  pragma checkpoint_fullfsync = on;
  pragma foreign_keys = on;
  pragma cache_size = -32000;
  pragma temp_store = memory;
  pragma wal_autocheckpoint = 8000;`

/**
 * Opens the store in a folder, and makes it where there is none. Throws LockError `gateway_folder_in_use` when another
 * server has it, StoreError `not_a_store`, `newer_store` or `store_unavailable`, or StateError `no_sqlite`.
 */
export async function openSqlite({ dataDir, serve }: SqliteSettings, clock: Clock): Promise<Database> {
  const path = join(dataDir, DATABASE_FILE)
  const held: Disposable[] = []
  try {
    const db = translated(path, () => {
      makeDataFolder(dataDir)
      if (serve) held.push(lockFolder(dataDir))
      makePrivateFile(path)
      const database = openFile(path)
      held.push({ [Symbol.dispose]: () => closeFile(database) })
      return new Kysely<Tables>({ dialect: new NodeSqliteDialect(database) })
    })
    await makeSchema({ db, path, dataDir, serve })
    if (serve) await translatedLater(path, () => endOldLeases(db))
    return new SqliteDatabase({ path, db, clock, held })
  } catch (error) {
    giveBack(held)
    throw error
  }
}

/** The file first, then the lock on the folder. */
function giveBack(held: readonly Disposable[]): void {
  for (const one of [...held].reverse()) one[Symbol.dispose]()
}

const closeFile = (database: DatabaseSync): void => {
  if (database.isOpen) database.close()
}

interface Place extends SqliteSettings {
  readonly db: Db
  readonly path: string
}

/** Whoever has the folder is the only one: what an earlier server held, however that ended, is free. */
const endOldLeases = (db: Db): Promise<void> =>
  db.transaction().execute(async (db) => {
    await db.updateTable('replicas').set({ lease_until: 0 }).where('lease_until', '>', 0).execute()
    await db.deleteFrom('leases').execute()
    await db
      .updateTable('batches')
      .set({ holder: null, lease_until: null })
      .where('phase', '<>', 'done')
      .where('lease_until', 'is not', null)
      .execute()
    await db.updateTable('requests').set({ call_until: 0 }).where('call_until', 'is not', null).execute()
  })

/** Under a server that runs the schema does not change: whoever comes beside it with a newer one is refused. */
async function makeSchema({ db, path, dataDir, serve }: Place): Promise<void> {
  const transaction = <Result>(work: (db: Db) => Promise<Result>): Promise<Result> =>
    translatedLater(path, () => db.transaction().execute(work))
  const plan = { kind: 'sqlite', place: path, transaction } as const
  if (!serve && (await isUpToDate(plan))) return
  const lock = serve ? undefined : lockFolder(dataDir)
  try {
    await migrate(plan)
  } finally {
    lock?.[Symbol.dispose]()
  }
}

function openFile(path: string): DatabaseSync {
  const { DatabaseSync } = loadSqlite()
  const database = new DatabaseSync(path, { timeout: BUSY_MS })
  try {
    const id = database.prepare('pragma application_id').get()?.application_id
    const tables = database.prepare('select count(*) as tables from sqlite_schema').get()?.tables
    if (id !== APPLICATION_ID && tables !== 0) throw notAStore(path, 'it is a database of something else')
    database.exec(SETTINGS)
    if (id !== APPLICATION_ID) database.exec(`pragma application_id = ${APPLICATION_ID}`)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

interface Opened {
  readonly path: string
  readonly db: Db
  readonly clock: Clock
  /** The lock on the folder, and the file. */
  readonly held: readonly Disposable[]
}

class SqliteDatabase implements Database {
  readonly kind = 'sqlite'
  readonly parts: SqlParts
  readonly #opened: Opened
  readonly #listeners = new DoneListeners()
  readonly #work: OpenWork

  constructor(opened: Opened) {
    this.#opened = opened
    this.#work = new OpenWork(opened.path)
    this.parts = sqliteParts(() => opened.clock.now())
  }

  async write<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
    const { db, clock } = this.#opened
    const done: string[] = []
    // There are no others.
    const lives = () => Promise.resolve([])
    const run = (db: Db) => work({ db, parts: this.parts, now: clock.now(), done, voice: undefined, lives })
    const result = await this.#whileOpen(() => db.transaction().execute(run))
    this.#listeners.tell(done)
    return result
  }

  read<Result>(work: (db: Db, parts: SqlParts) => Promise<Result>): Promise<Result> {
    return this.#whileOpen(() => work(this.#opened.db, this.parts))
  }

  #whileOpen<Result>(work: () => Promise<Result>): Promise<Result> {
    return this.#work.run(() => translatedLater(this.#opened.path, work))
  }

  /** There are no others. */
  voice(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  now(): Promise<number> {
    return Promise.resolve(this.#opened.clock.now())
  }

  onDone(listener: (ids: readonly string[]) => void): () => void {
    return this.#listeners.add(listener)
  }

  onReturn(): void {
    // A file does not go away.
  }

  close(): Promise<void> {
    return this.#work.close(async () => {
      const { db, held } = this.#opened
      await db.destroy()
      giveBack(held)
    })
  }
}

function translated<Result>(path: string, work: () => Result): Result {
  try {
    return work()
  } catch (error) {
    throw storeErrorOf(path, error)
  }
}

async function translatedLater<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work()
  } catch (error) {
    throw storeErrorOf(path, error)
  }
}

const FULL = 13
const IO_ERROR = 10
/** A row that breaks a rule of its table; a value of a wrong type. */
const BROKEN_RULES: ReadonlySet<number> = new Set([19, 20])

/** What a failure of SQLite or of the file system means. Errors of anything else are left as they are. */
function storeErrorOf(path: string, error: unknown): unknown {
  if (NightshiftError.is(error)) return error
  const [code, system] = [sqliteCode(error), systemCode(error)]
  if (code === undefined && system === undefined) return error
  const why = errorText(error)
  if (isLocked(error))
    return retryable('store_busy', `the gateway's store ${path} is locked by another process (${why})`, error)
  if (code === FULL || system === 'ENOSPC')
    return retryable(
      'store_full',
      `there is no room for the gateway's store ${path} (${why}): make some`,
      error,
    )
  if (isDamage(error)) return notAStore(path, why, error)
  if (BROKEN_RULES.has(code ?? 0))
    return new StoreError('store_failed', `the gateway's store ${path} refused a row (${why})`, {
      cause: error,
    })
  const message = `the gateway's store ${path} cannot be used (${why}): make the folder and its files writable, and see that the disk works`
  if (code === IO_ERROR) return retryable('in_doubt', message, error)
  return new StoreError('store_unavailable', message, { cause: error })
}

const retryable = (code: string, message: string, cause: unknown): StoreError =>
  new StoreError(code, message, { cause, retryable: true })

const notAStore = (path: string, why: string, cause?: unknown): StoreError =>
  new StoreError(
    'not_a_store',
    `${path} is damaged, or is no store of a gateway: ${why}. It was left as it is. Move it away, or choose another folder (--data-dir).`,
    { cause },
  )
