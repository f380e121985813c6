import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { Client, Pool } from 'pg'
import { errorText } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import type { Database, Db, SqlParts, Tx } from './database.ts'
import { DoneListeners } from './done-listeners.ts'
import { PostgresEar } from './postgres-ear.ts'
import { isCollision, isConnectionLoss, storeErrorOf } from './postgres-errors.ts'
import { postgresParts } from './sql-parts.ts'
import { closed, StoreError } from './store-error.ts'

/** Times that a transaction is run when another is in its way. */
const MOST_RUNS = 6
/** Payloads of a notification must be shorter than 8000 bytes. */
const IDS_IN_PAYLOAD = 100
/** How often, and how far apart, it is asked what became of a commit: for as long as a database takes to start again. */
const MOST_LOOKS = 40
const LOOK_PAUSE_MS = 250

export interface OpenedPostgres {
  readonly place: string
  readonly schema: string
  readonly clock: Clock
  readonly pool: Pool
  readonly db: Db
  /** A new one beside the pool. */
  readonly connection: () => Client
}

/** PostgreSQL, as the store uses it. */
export class PostgresDatabase implements Database {
  readonly kind = 'postgres'
  readonly parts: SqlParts = postgresParts()
  readonly #opened: OpenedPostgres
  readonly #listeners = new DoneListeners()
  #closing: Promise<void> | undefined
  readonly #ear: PostgresEar
  /** Marks what this process says, which it has heard already. */
  readonly #voice = randomUUID()
  readonly #channel: string

  constructor(opened: OpenedPostgres) {
    this.#opened = opened
    this.#channel = `${opened.schema}_done`
    const { connection, clock } = opened
    const heard = (payload: string) => this.#heard(payload)
    this.#ear = new PostgresEar({ connection, clock, channel: this.#channel, heard })
  }

  async write<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
    if (this.#closing) throw closed(this.#opened.place)
    for (let run = 1; ; run++) {
      try {
        return await this.#transaction(work)
      } catch (error) {
        if (run === MOST_RUNS || !isCollision(error)) throw storeErrorOf(this.#opened.place, error)
      }
    }
  }

  async #transaction<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
    const done: string[] = []
    const reached: { end?: { readonly result: Result; readonly xid: string } } = {}
    const transaction = this.#opened.db.transaction().setIsolationLevel('read committed')
    try {
      await transaction.execute(async (db) => {
        const { now, xid } = await begin(db)
        const result = await work({ db, parts: this.parts, now, done })
        await this.#announce(db, done)
        reached.end = { result, xid }
      })
    } catch (error) {
      // Once all is said, only the commit itself can fail: whether it did is not told when the connection breaks.
      if (!reached.end || !isConnectionLoss(error)) throw error
      if (!(await this.#isCommitted(reached.end.xid, error))) throw error
    }
    if (!reached.end) throw new TypeError('a transaction has ended without its result')
    this.#listeners.tell(done)
    return reached.end.result
  }

  /** What became of a transaction whose commit went unanswered. Throws StoreError `in_doubt` when that cannot be found out. */
  async #isCommitted(xid: string, cause: unknown): Promise<boolean> {
    const { clock, place } = this.#opened
    for (let look = 0; look < MOST_LOOKS; look++) {
      if (look > 0) await clock.sleep(LOOK_PAUSE_MS)
      const state = await this.#stateOf(xid)
      if (state === 'committed') return true
      if (state === 'aborted') return false
    }
    const message =
      `PostgreSQL at ${place} was lost while a change was committed (${errorText(cause)}), and is not back: whether ` +
      'it was made is not known'
    throw new StoreError('in_doubt', message, { cause, retryable: true })
  }

  /** Undefined while the database is away, or does not know yet. */
  async #stateOf(xid: string): Promise<string | undefined> {
    try {
      const { rows } = await sql<{ state: string }>`select pg_xact_status(${xid}::xid8) as state`.execute(
        this.#opened.db,
      )
      return rows[0]?.state
    } catch (error) {
      if (isConnectionLoss(error)) return undefined
      throw error
    }
  }

  /** Tells the other replicas, at the moment of the commit. */
  async #announce(db: Db, done: readonly string[]): Promise<void> {
    for (let at = 0; at < done.length; at += IDS_IN_PAYLOAD) {
      const payload = [this.#voice, ...done.slice(at, at + IDS_IN_PAYLOAD)].join(' ')
      await sql`select pg_notify(${this.#channel}, ${payload})`.execute(db)
    }
  }

  #heard(payload: string): void {
    const [voice, ...ids] = payload.split(' ')
    if (voice !== this.#voice) this.#listeners.tell(ids)
  }

  async read<Result>(work: (db: Db, parts: SqlParts) => Promise<Result>): Promise<Result> {
    if (this.#closing) throw closed(this.#opened.place)
    try {
      return await work(this.#opened.db, this.parts)
    } catch (error) {
      throw storeErrorOf(this.#opened.place, error)
    }
  }

  now(): Promise<number> {
    return this.read(async (db, parts) => {
      const { now } = await db.selectNoFrom(parts.now().as('now')).executeTakeFirstOrThrow()
      return now
    })
  }

  onDone(listener: (ids: readonly string[]) => void): () => void {
    this.#ear.start()
    return this.#listeners.add(listener)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#ear.stop()
    // Waits for all that runs.
    await this.#opened.pool.end()
  }
}

interface Beginning {
  readonly now: number
  /** By which it can be found out later whether it was committed. */
  readonly xid: string
}

async function begin(db: Db): Promise<Beginning> {
  const { rows } = await sql<Beginning>`
    select (extract(epoch from clock_timestamp()) * 1000)::bigint as now, pg_current_xact_id()::text as xid`.execute(
    db,
  )
  const [row] = rows
  if (!row) throw new TypeError('PostgreSQL did not say the time')
  return row
}
