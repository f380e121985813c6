import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import { errorText, StateError } from '../errors.ts'
import { inTransaction, isDamage, isLocked, sqliteCode } from '../util/sqlite.ts'
import { systemCode } from '../util/system-code.ts'
import { versionNeeded } from '../util/version.ts'
import { makeDirectories } from './make-directories.ts'

/** "NSRC" in the file's header: what tells the file from any other database. No release may change it. */
const APPLICATION_ID = 0x4e_53_52_43
/** The form of the file, and the first release that reads it. */
const FORMAT = { version: 1, needs: '0.3.0' } as const

/** `about` is for releases that cannot read the rest: no release may change it. */
const SCHEMA = `
  CREATE TABLE about (needs TEXT NOT NULL) STRICT;
  INSERT INTO about VALUES ('${FORMAT.needs}');
  CREATE TABLE replies (
    key BLOB NOT NULL PRIMARY KEY,
    model TEXT NOT NULL,
    body TEXT NOT NULL,
    crc INTEGER NOT NULL,
    at INTEGER NOT NULL
  ) STRICT;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${FORMAT.version};`

/**
 * Makes folder and file where they are missing, readable by their owner alone; the files that SQLite puts beside it
 * are made like it. A file that is there is not touched: to open and close it here would take away the locks that
 * this process may hold on it. Throws StateError `cache_unusable`.
 */
export async function makeFile(path: string): Promise<void> {
  try {
    await makeDirectories(dirname(path), 0o700)
  } catch (error) {
    throw unusable(path, error)
  }
  try {
    await (await open(path, 'wx', 0o600)).close()
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw unusable(path, error)
  }
}

/**
 * Makes an empty database a reply cache, and sees that any other is one. Throws StateError `cache_invalid` or
 * `newer_version`, or what SQLite says; what is not a reply cache is not written to.
 */
export function prepareDatabase(database: DatabaseSync, path: string): void {
  if (isEmpty(database)) {
    inTransaction(database, () => {
      // Another process may have been faster.
      if (isEmpty(database)) database.exec(SCHEMA)
    })
  }
  checkFormat(database, path)
  // A power cut may then take the last replies, but no more.
  database.exec('PRAGMA synchronous = NORMAL')
  preferWal(database)
}

const isEmpty = (database: DatabaseSync): boolean =>
  numberFrom(database, 'PRAGMA application_id') === 0 &&
  numberFrom(database, 'SELECT count(*) FROM sqlite_schema') === 0

function checkFormat(database: DatabaseSync, path: string): void {
  if (numberFrom(database, 'PRAGMA application_id') !== APPLICATION_ID)
    throw invalid(path, 'it is the database of another program')
  const version = numberFrom(database, 'PRAGMA user_version')
  if (version > FORMAT.version) throw newer(path, neededRelease(database))
  if (version < 1) throw invalid(path, `its version is ${version}`)
}

/** With it readers and a writer do not wait for each other. Where that cannot be had now, it goes without. */
function preferWal(database: DatabaseSync): void {
  try {
    database.exec('PRAGMA journal_mode = WAL')
  } catch (error) {
    if (!isLocked(error)) throw error
  }
}

const firstColumn = (database: DatabaseSync, sql: string): unknown =>
  Object.values(database.prepare(sql).get() ?? {})[0]

const numberFrom = (database: DatabaseSync, sql: string): number =>
  z.number().parse(firstColumn(database, sql))

function neededRelease(database: DatabaseSync): string | undefined {
  try {
    return z.string().optional().catch(undefined).parse(firstColumn(database, 'SELECT needs FROM about'))
  } catch (error) {
    if (sqliteCode(error) === undefined) throw error
    return undefined
  }
}

export function invalid(path: string, why: string, cause?: unknown): StateError {
  const message =
    `${path} is damaged, or is no reply cache: ${why}. It was left as it is. Move or delete it, or name another ` +
    'folder (--cache); answers in it are then paid for again.'
  return new StateError('cache_invalid', message, { cause })
}

const newer = (path: string, needs: string | undefined): StateError =>
  new StateError(
    'newer_version',
    `${path} ${versionNeeded(needs)}. It was left as it is. Update Nightshift, or name another folder (--cache).`,
  )

/** What the failure of a file operation, or of SQLite, means for the file at `path`. */
export function unusable(path: string, cause: unknown): StateError {
  const reason = errorText(cause)
  if (isDamage(cause)) return invalid(path, reason, cause)
  const message =
    `the reply cache ${path} cannot be used (${reason}). Make the folder and the file writable, see that the disk ` +
    'has room and that no process that uses it is stuck, and run again; or run without --cache.'
  return new StateError('cache_unusable', message, { cause })
}
