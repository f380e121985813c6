import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import type { Client, Pool } from 'pg'
import { errorText } from '../../errors.ts'
import type { Clock } from '../../util/clock.ts'
import { type CommitMark, CommitMarks } from './commit-marks.ts'
import type { Database, Db, SqlParts, Tx } from './database.ts'
import { DoneListeners } from './done-listeners.ts'
import { lifeLockOf, livesOf } from './life-locks.ts'
import { OpenWork } from './open-work.ts'
import { PostgresEar } from './postgres-ear.ts'
import { isCollision, isConnectionLoss, storeErrorOf } from './postgres-errors.ts'
import { postgresParts } from './sql-parts.ts'
import { StoreError } from './store-error.ts'

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
  readonly #returnListeners: (() => void)[] = []
  readonly #work: OpenWork
  readonly #ear: PostgresEar
  /** Marks what this process says, which it has heard already, and the lock by which others tell that it lives. */
  readonly #voice = randomUUID()
  readonly #marks = new CommitMarks(this.#voice)
  readonly #channel: string

  constructor(opened: OpenedPostgres) {
    this.#opened = opened
    this.#work = new OpenWork(opened.place)
    this.#channel = `${opened.schema}_done`
    const { connection, clock } = opened
    const heard = (payload: string) => this.#heard(payload)
    const lifeLock = lifeLockOf(this.#voice)
    const lost = () => void this.#silenced()
    const back = () => {
      for (const listener of this.#returnListeners) queueMicrotask(listener)
    }
    this.#ear = new PostgresEar({ connection, clock, channel: this.#channel, lifeLock, heard, lost, back })
  }

  async voice(): Promise<string | undefined> {
    return (await this.#ear.isOpen()) ? this.#voice : undefined
  }

  /** It lives all the same: until it is heard again, its lease alone says so. */
  async #silenced(): Promise<void> {
    const unsaid = this.write(({ db }) =>
      db.updateTable('replicas').set({ voice: null }).where('voice', '=', this.#voice).execute(),
    )
    // The database is away: others cannot ask it either, and the next heartbeat says what is wrong with it.
    await unsaid.catch(() => undefined)
  }

  write<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
    return this.#work.run(() => this.#write(work))
  }

  async #write<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result> {
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
    const mark = this.#marks.begin()
    const reached: { end?: { readonly result: Result } } = {}
    const transaction = this.#opened.db.transaction().setIsolationLevel('read committed')
    try {
      await transaction.execute(async (db) => {
        const now = await this.#marks.write(db, mark)
        const result = await work({
          db,
          parts: this.parts,
          now,
          done,
          voice: this.#voice,
          lives: (voices) => livesOf(db, voices),
        })
        await this.#announce(db, done)
        reached.end = { result }
      })
      this.#marks.end(mark)
    } catch (error) {
      if (!isConnectionLoss(error)) this.#marks.end(mark)
      // Once all is said, only the commit itself can fail: whether it did is not told when the connection breaks.
      if (!reached.end || !isConnectionLoss(error)) throw error
      if (!(await this.#isCommitted(mark, error))) throw error
    }
    if (!reached.end) throw new TypeError('a transaction has ended without its result')
    this.#listeners.tell(done)
    return reached.end.result
  }

  /** What became of a transaction whose commit went unanswered. Throws StoreError `in_doubt` when that cannot be found out. */
  async #isCommitted(mark: CommitMark, cause: unknown): Promise<boolean> {
    const { clock, db } = this.#opened
    for (let look = 0; look < MOST_LOOKS; look++) {
      if (look > 0) await clock.sleep(LOOK_PAUSE_MS)
      try {
        return await this.#marks.isCommitted(db, mark)
      } catch (error) {
        // The server may still be at the commit, as when it waits for a standby: then it is not said in time either.
        if (!isConnectionLoss(error)) throw this.#inDoubt(cause, error)
      }
    }
    throw this.#inDoubt(cause, 'it is not back')
  }

  #inDoubt(cause: unknown, why: unknown): StoreError {
    const message =
      `PostgreSQL at ${this.#opened.place} was lost while a change was committed (${errorText(cause)}), and whether ` +
      `it was made cannot be found out (${errorText(why)})`
    return new StoreError('in_doubt', message, { cause, retryable: true })
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

  read<Result>(work: (db: Db, parts: SqlParts) => Promise<Result>): Promise<Result> {
    return this.#work.run(async () => {
      try {
        return await work(this.#opened.db, this.parts)
      } catch (error) {
        throw storeErrorOf(this.#opened.place, error)
      }
    })
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

  onReturn(listener: () => void): void {
    this.#ear.start()
    this.#returnListeners.push(listener)
  }

  close(): Promise<void> {
    return this.#work.close(async () => {
      await this.#ear.stop()
      await this.#opened.pool.end()
    })
  }
}
