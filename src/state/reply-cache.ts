import { hash } from 'node:crypto'
import { join, resolve } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { z } from 'zod'
import { errorText } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { inTransaction, isLocked, loadSqlite, sqliteCode } from '../util/sqlite.ts'
import { invalid, makeFile, prepareDatabase, unusable } from './reply-cache-file.ts'

/** Name of the file in its folder. While it is in use SQLite has two more beside it, `-wal` and `-shm`. */
export const REPLY_CACHE_FILE = 'replies.sqlite'

const LOCK_WAIT_MS = 2_000
/** What failed is not tried again for as long: each try may wait for a lock, and a task asks often. */
const PAUSE_MS = 30_000

export interface ReplyCacheOptions {
  /** The folder; made when it is missing, for its owner alone. */
  readonly directory: string
  readonly clock: Clock
  /**
   * Told, in words for people, when replies could not be looked up or kept and the work goes on without. Once, and
   * again only after it worked in between.
   */
  readonly onTrouble: (message: string) => void
  /** How long another process that writes is waited for, in milliseconds; this process stands still meanwhile. Default: 2,000. */
  readonly lockWaitMs?: number
}

export interface NewReply {
  /** From `replyKey`. */
  readonly key: string
  readonly model: string
  /** The body of the reply, as JSON text. */
  readonly body: string
}

export interface CachedReply extends Omit<NewReply, 'key'> {
  /** When it was kept, in milliseconds since 1970. */
  readonly at: number
}

/**
 * What identical requests have in common, as 64 hex digits. `endpoint`: whatever tells servers and their endpoints
 * apart. `bodyText`: the body exactly as it is sent. `nth`: requests with the same body that shall have answers of
 * their own are counted from 1.
 */
export function replyKey(endpoint: string, bodyText: string, nth = 1): string {
  const name = `${endpoint}\n${bodyText}`
  // JSON text as it is sent has no line break, so no other body can end like this.
  return hash('sha256', nth === 1 ? name : `${name}\n${nth}`, 'hex')
}

const rowSchema = z.object({ model: z.string(), body: z.string(), crc: z.number(), at: z.number() })

type Work = 'look up' | 'keep'

/**
 * Replies to earlier requests, in one SQLite file that any number of processes share. It stands beside the tasks' own
 * files, which alone are the truth: kills leave it whole, a power cut may take its last replies, and while no task
 * uses it, it may be moved or deleted.
 */
export class ReplyCache {
  readonly path: string
  readonly #options: ReplyCacheOptions
  readonly #database: DatabaseSync
  readonly #select: StatementSync
  readonly #upsert: StatementSync
  /** Until when work that failed is not tried again, in milliseconds since 1970. */
  readonly #pausedUntil = new Map<Work, number>()

  private constructor(options: ReplyCacheOptions, path: string, database: DatabaseSync) {
    this.#options = options
    this.path = path
    this.#database = database
    this.#select = database.prepare('SELECT model, body, crc, at FROM replies WHERE key = ?')
    this.#upsert = database.prepare(
      'INSERT OR REPLACE INTO replies (key, model, body, crc, at) VALUES (?, ?, ?, ?, ?)',
    )
  }

  /**
   * Opens the cache in a folder, or makes one. Throws StateError `cache_invalid` (damaged, or a file of something
   * else), `newer_version`, `cache_unusable` (no access, no room, locked) or `no_sqlite`; nothing that was there is changed.
   */
  static async open(options: ReplyCacheOptions): Promise<ReplyCache> {
    const path = join(resolve(options.directory), REPLY_CACHE_FILE)
    const { DatabaseSync } = loadSqlite()
    await makeFile(path)
    let database: DatabaseSync | undefined
    try {
      database = new DatabaseSync(path, { timeout: options.lockWaitMs ?? LOCK_WAIT_MS })
      prepareDatabase(database, path)
      return new ReplyCache(options, path, database)
    } catch (error) {
      database?.close()
      throw sqliteCode(error) === undefined ? error : unusable(path, error)
    }
  }

  /**
   * The replies that are known, by their keys. When the file stays locked they count as unknown, and `onTrouble` is
   * told. Throws StateError `cache_invalid` or `cache_unusable` when it is damaged or cannot be read: to go on would
   * be to pay for answers that may be there.
   */
  lookup(keys: Iterable<string>): ReadonlyMap<string, CachedReply> {
    const found = new Map<string, CachedReply>()
    this.#orPause('look up', () => {
      for (const key of keys) {
        const reply = this.#read(key)
        if (reply) found.set(key, reply)
      }
    })
    return found
  }

  /** Keeps replies: all, or none and a word to `onTrouble`. A newer reply takes the place of an older one. */
  put(replies: readonly NewReply[]): void {
    if (replies.length === 0) return
    const at = this.#options.clock.now()
    this.#orPause('keep', () =>
      inTransaction(this.#database, () => {
        for (const { key, model, body } of replies) this.#upsert.run(idOf(key), model, body, crc32(body), at)
      }),
    )
  }

  /** May be called again. */
  close(): void {
    if (this.#database.isOpen) this.#database.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #read(key: string): CachedReply | undefined {
    const row: unknown = this.#select.get(idOf(key))
    if (row === undefined) return undefined
    const { success, data } = rowSchema.safeParse(row)
    if (!success || crc32(data.body) !== data.crc)
      throw invalid(this.path, `the reply ${key} does not match its checksum`)
    return { model: data.model, body: data.body, at: data.at }
  }

  #orPause(work: Work, attempt: () => void): void {
    const now = this.#options.clock.now()
    const left = (this.#pausedUntil.get(work) ?? 0) - now
    // A clock that was set back makes no pause longer.
    if (left > 0 && left <= PAUSE_MS) return
    try {
      attempt()
      this.#pausedUntil.delete(work)
    } catch (error) {
      if (sqliteCode(error) === undefined) throw error
      if (work === 'look up' && !isLocked(error)) throw unusable(this.path, error)
      if (!this.#pausedUntil.has(work)) this.#options.onTrouble(troubleText(work, this.path, error))
      this.#pausedUntil.set(work, now + PAUSE_MS)
    }
  }
}

const idOf = (key: string): Uint8Array => Buffer.from(key, 'hex')

const troubleText = (work: Work, path: string, error: unknown): string =>
  work === 'keep'
    ? `answers could not be kept in the reply cache ${path} (${errorText(error)}). The task goes on; other tasks will pay for these answers again. See that the disk has room and that no process that uses it is stuck.`
    : `the reply cache ${path} could not be read (${errorText(error)}): requests are sent although their answers may be in it. See that no process that uses it is stuck.`
