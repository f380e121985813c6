import type { DatabaseSync } from 'node:sqlite'
import { StateError } from '../errors.ts'

type Sqlite = typeof import('node:sqlite')

/**
 * Node's own SQLite, which takes time to load: for whoever uses it to call, never at import. Throws StateError
 * `no_sqlite` when Node.js was built or started without it.
 */
export function loadSqlite(): Sqlite {
  const sqlite: Sqlite | undefined = withoutSqliteWarning(() => process.getBuiltinModule('node:sqlite'))
  if (sqlite) return sqlite
  const message =
    'this Node.js has no SQLite (node:sqlite), in which the reply cache and the gateway keep their data. Start it ' +
    'without --no-experimental-sqlite; a task also runs without --cache, a gateway also with --postgres.'
  throw new StateError('no_sqlite', message)
}

/**
 * Runs `load` without the one warning that Node.js before 24.15 gives when `node:sqlite` is loaded: that it is
 * experimental. It is meant for whoever chose the module, and the terminal it would go to is another's. Loading is
 * synchronous, so nobody else can warn meanwhile; any other warning is passed on.
 */
export function withoutSqliteWarning<Result>(load: () => Result): Result {
  const emitWarning = process.emitWarning
  process.emitWarning = (warning: string | Error, ...more: readonly unknown[]) => {
    const isKnown =
      more[0] === 'ExperimentalWarning' && String(warning).startsWith('SQLite is an experimental')
    if (!isKnown) Reflect.apply(emitWarning, process, [warning, ...more])
  }
  try {
    return load()
  } finally {
    process.emitWarning = emitWarning
  }
}

/** SQLite's result codes, without what extends them (https://sqlite.org/rescode.html). */
const LOCKED = new Set([5, 6])
/** Malformed; no database; a table or column that should be there is missing. */
const DAMAGED = new Set([11, 26, 1])

/** SQLite's own word for what went wrong; undefined for an error of anything else. */
export function sqliteCode(error: unknown): number | undefined {
  if (!(error instanceof Error && 'errcode' in error)) return undefined
  return typeof error.errcode === 'number' ? error.errcode & 0xff : undefined
}

export const isLocked = (error: unknown): boolean => LOCKED.has(sqliteCode(error) ?? 0)
export const isDamage = (error: unknown): boolean => DAMAGED.has(sqliteCode(error) ?? 0)

/** Runs `work` in one transaction that writes: all of it or, when it throws, nothing. */
export function inTransaction(database: DatabaseSync, work: () => void): void {
  // Asks for the write lock at once: one that is only asked for after reading may be refused without a wait.
  database.exec('BEGIN IMMEDIATE')
  try {
    work()
    database.exec('COMMIT')
  } catch (error) {
    // After some failures, such as a full disk, SQLite has undone it already.
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}
