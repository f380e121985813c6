import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { LockError } from '../../errors.ts'
import { isLocked, loadSqlite } from '../../util/sqlite.ts'
import { systemCode } from '../../util/system-code.ts'

/** Names of the files in a gateway's data folder. */
export const DATABASE_FILE = 'gateway.db'
const LOCK_FILE = 'gateway.lock'

/** Makes the folder and what it lacks above it, for its owner alone, so that a power cut cannot take it away again. */
export function makeDataFolder(path: string): void {
  const missing: string[] = []
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.push(at)
  for (const folder of missing.reverse()) {
    make(() => mkdirSync(folder, { mode: 0o700 }))
    syncFolder(dirname(folder))
  }
}

/** Makes an empty file for its owner alone. One that is there is not even opened: to close it would take away the locks on it. */
export function makePrivateFile(path: string): void {
  make(() => closeSync(openSync(path, 'wx', 0o600)))
}

function make(create: () => void): void {
  try {
    create()
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
  }
}

function syncFolder(path: string): void {
  // Windows keeps folders by itself, and cannot open them.
  if (process.platform === 'win32') return
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

/**
 * Takes a data folder for this process: by a transaction that is held open on a tiny database, a lock that ends with the
 * process however it ends. Throws LockError `gateway_folder_in_use` at once when another one, or this one, has it.
 */
export function lockFolder(dataDir: string): Disposable {
  const path = join(dataDir, LOCK_FILE)
  makePrivateFile(path)
  const { DatabaseSync } = loadSqlite()
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    // Nothing is ever written to it: without this, an empty journal lies beside it.
    database.exec('pragma journal_mode = memory; begin exclusive')
  } catch (error) {
    database.close()
    throw isLocked(error) ? inUse(dataDir, error) : error
  }
  return { [Symbol.dispose]: () => close(database) }
}

const close = (database: DatabaseSync): void => {
  if (database.isOpen) database.close()
}

function inUse(dataDir: string, cause: unknown): LockError {
  const message =
    `the folder ${dataDir} is in use by another gateway. Stop that one, or choose another folder (--data-dir). For ` +
    'several gateways that work together, use PostgreSQL (--postgres).'
  return new LockError('gateway_folder_in_use', message, { cause, retryable: true })
}
