import type { Expression, Kysely, RawBuilder, SqlBool } from 'kysely'
import type { RowInserter } from './insert-rows.ts'
import type { Tables } from './schema.ts'
import type { Statements } from './statements.ts'

export type Db = Kysely<Tables>

/** Types of the columns of rows that are given to a statement. */
export type ColumnsOf<Row> = { readonly [Column in keyof Row]: 'text' | 'bigint' }

/** Where the two databases speak differently. */
export interface SqlParts {
  /** The store's time in milliseconds since 1970, for statements outside of transactions. */
  now(): RawBuilder<number>
  /** Ends of a select whose rows are about to be changed: they wait for whoever changes them now, or pass them over. */
  readonly forUpdate: Expression<unknown>
  readonly forUpdateFree: Expression<unknown>
  /** Whether a column has one of these values, however many: they are one parameter. */
  among(column: string, values: readonly string[]): RawBuilder<SqlBool>
  amongNumbers(column: string, values: readonly number[]): RawBuilder<SqlBool>
  readonly inserter: RowInserter
  readonly statements: Statements
  /** Rows as a table, however many: they are one parameter. */
  rows<Row>(columns: ColumnsOf<Row>, rows: readonly Row[]): RawBuilder<Row>
  /** The same of rows that are given as a JSON text. */
  table<Row>(columns: ColumnsOf<Row>, json: RawBuilder<string>): RawBuilder<Row>
}

/** A process, and when it said that it lives: milliseconds since 1970. */
export interface Voice {
  /** Undefined: it cannot be heard, and its lease alone says that it lives. */
  readonly voice: string | undefined
  readonly at: number
}

/** `gone`: whatever its lease says. `unsure`: nobody has had the time yet to say that it lives. */
export type Life = 'live' | 'gone' | 'unsure'

/** One transaction that writes. */
export interface Tx {
  readonly db: Db
  readonly parts: SqlParts
  /** Its time, in milliseconds since 1970. */
  readonly now: number
  /** Requests that it has ended; whoever listens hears of them once it is durable. */
  readonly done: string[]
  /** By which others hear this process. */
  readonly voice: string | undefined
  /** What is known of processes whose leases hold, in the same order. Not cheap. */
  lives(voices: readonly Voice[]): Promise<readonly Life[]>
}

/** A connection to one of the databases: it runs what the store says, and knows nothing of requests. */
export interface Database {
  readonly kind: 'sqlite' | 'postgres'
  readonly parts: SqlParts
  /** By which other processes hear that this one lives; undefined while they cannot. */
  voice(): Promise<string | undefined>
  /** Runs `work` in one transaction that is durable when this resolves. It may be run again from its beginning. */
  write<Result>(work: (tx: Tx) => Promise<Result>): Promise<Result>
  /** Runs statements that change nothing. */
  read<Result>(work: (db: Db, parts: SqlParts) => Promise<Result>): Promise<Result>
  now(): Promise<number>
  onDone(listener: (ids: readonly string[]) => void): () => void
  /** Hears when the database is there again after it was away. */
  onReturn(listener: () => void): void
  close(): Promise<void>
}
