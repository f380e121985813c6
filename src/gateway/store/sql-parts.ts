import { type RawBuilder, sql } from 'kysely'
import type { ColumnsOf, SqlParts } from './database.ts'
import { RowInserter } from './insert-rows.ts'
import { Statements } from './statements.ts'

/** SQLite has one writer at a time, who holds the whole file: rows need no locks. */
export function sqliteParts(now: () => number): SqlParts {
  const oneOf = (column: string, values: readonly (string | number)[]) =>
    sql<boolean>`${sql.ref(column)} in (select value from json_each(${JSON.stringify(values)}))`
  return {
    now: () => sql<number>`${now()}`,
    forUpdate: sql``,
    forUpdateFree: sql``,
    among: oneOf,
    amongNumbers: oneOf,
    inserter: new RowInserter(() => '?'),
    statements: new Statements(),
    rows: (columns, rows) => sqliteTable(columns, sql`${JSON.stringify(rows)}`),
    table: sqliteTable,
  }
}

function sqliteTable<Row>(columns: ColumnsOf<Row>, json: RawBuilder<string>): RawBuilder<Row> {
  const fields = Object.keys(columns).map(
    (name) => sql`value ->> ${sql.lit(`$.${name}`)} as ${sql.ref(name)}`,
  )
  return sql<Row>`(select ${sql.join(fields)} from json_each(${json}))`
}

export function postgresParts(): SqlParts {
  return {
    // The time of the statement, not of the clock in its midst: with that an index would be of no use.
    now: () => sql<number>`(extract(epoch from statement_timestamp()) * 1000)::bigint`,
    forUpdate: sql`for update`,
    forUpdateFree: sql`for update skip locked`,
    among: (column, values) => sql<boolean>`${sql.ref(column)} = any(${values}::text[])`,
    amongNumbers: (column, values) => sql<boolean>`${sql.ref(column)} = any(${values}::bigint[])`,
    inserter: new RowInserter((index) => `$${index}`),
    statements: new Statements(),
    rows: (columns, rows) => postgresTable(columns, sql`${JSON.stringify(rows)}`),
    table: postgresTable,
  }
}

function postgresTable<Row>(columns: ColumnsOf<Row>, json: RawBuilder<string>): RawBuilder<Row> {
  const fields = Object.entries(columns).map(([name, type]) => sql`${sql.ref(name)} ${sql.raw(String(type))}`)
  return sql<Row>`(select * from json_to_recordset(${json}::json) as given(${sql.join(fields)}))`
}
