import { type Compilable, CompiledQuery, type Kysely, type RawBuilder, sql } from 'kysely'
import type { Tables } from './schema.ts'

/** Stands in a statement for a value that is given when it runs. */
class Slot {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

/** The place of a value in a statement. */
export type SlotOf<Given> = <Name extends keyof Given & string>(name: Name) => RawBuilder<Given[Name]>

interface Statement {
  readonly text: string
  /** Slots, and values that are always the same. */
  readonly parameters: readonly unknown[]
}

/** Statements that run for every group of calls are put together once: that costs more than what the database does then. */
export class Statements {
  readonly #known = new Map<string, Statement>()

  /**
   * Runs the statement of this name, and gives its rows. `build` puts it together, the first time: whatever it takes from
   * anywhere but the slots stays as it was then.
   */
  async rows<Row, Given extends Readonly<Record<string, unknown>>>(
    db: Kysely<Tables>,
    name: string,
    given: Given,
    build: (slot: SlotOf<Given>) => Compilable<Row>,
  ): Promise<Row[]> {
    const { text, parameters } = this.#known.get(name) ?? this.#learn(name, build)
    const values = parameters.map((one) => (one instanceof Slot ? given[one.name] : one))
    return (await db.executeQuery<Row>(CompiledQuery.raw(text, values))).rows
  }

  #learn<Row, Given>(name: string, build: (slot: SlotOf<Given>) => Compilable<Row>): Statement {
    const { sql: text, parameters } = build((slot) => sql`${new Slot(slot)}`).compile()
    const statement = { text, parameters }
    this.#known.set(name, statement)
    return statement
  }
}
