import { CompiledQuery, type Insertable, type Kysely } from 'kysely'
import type { Tables } from './schema.ts'

/** Largest first. Few sizes, so that a statement is put together, parsed and planned once. */
const SIZES = [256, 64, 16, 4, 1]

type TableName = keyof Tables & string

/** Inserts many rows by few statements that are always the same: half of the work for each row that building them anew is. */
export class RowInserter {
  readonly #placeholder: (index: number) => string
  readonly #statements = new Map<string, string>()

  /** `placeholder`: how the dialect names its parameters, from 1. */
  constructor(placeholder: (index: number) => string) {
    this.#placeholder = placeholder
  }

  /** Rows must all have the same columns, in the same order. `columns` are given back of each row. */
  async insert<Table extends TableName, Returned = never>(
    db: Kysely<Tables>,
    table: Table,
    rows: readonly Insertable<Tables[Table]>[],
    columns: readonly (keyof Returned & string)[] = [],
  ): Promise<Returned[]> {
    const returned: Returned[] = []
    for (let at = 0; at < rows.length; ) {
      const size = SIZES.find((one) => one <= rows.length - at) ?? 1
      const part = rows.slice(at, at + size)
      const statement = this.#statement(table, Object.keys(part[0] ?? {}), size, columns)
      const values: unknown[] = []
      for (const row of part) values.push(...Object.values(row))
      const result = await db.executeQuery<Returned>(CompiledQuery.raw(statement, values))
      if (columns.length > 0) returned.push(...result.rows)
      at += size
    }
    return returned
  }

  #statement(table: string, names: readonly string[], size: number, returning: readonly string[]): string {
    const key = `${table} ${size}`
    const known = this.#statements.get(key)
    if (known !== undefined) return known
    const row = (place: number) =>
      `(${names.map((_, column) => this.#placeholder(place * names.length + column + 1)).join(', ')})`
    const values = Array.from({ length: size }, (_, place) => row(place)).join(', ')
    const end = returning.length === 0 ? '' : ` returning ${returning.join(', ')}`
    const statement = `insert into ${table} (${names.join(', ')}) values ${values}${end}`
    this.#statements.set(key, statement)
    return statement
  }
}
