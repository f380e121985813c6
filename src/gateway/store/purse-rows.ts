import { sql } from 'kysely'
import type { Tx } from './database.ts'
import { Purses } from './purses.ts'
import { orUndefined } from './rows.ts'

interface Named {
  readonly name: string
}
const NAME_COLUMNS = { name: 'text' } as const

/**
 * The purses of some tenants, locked until the end of the transaction; whoever is new gets an empty one. Locks are
 * always taken in one order: batches, purses (by name), requests (by age).
 */
export async function lockPurses({ db, parts }: Tx, tenants: ReadonlySet<string>): Promise<Purses> {
  const names = [...tenants].map((name) => ({ name }))
  const read = () =>
    parts.statements.rows(db, 'lock purses', { names: JSON.stringify(names) }, (slot) =>
      db
        .selectFrom('tenants')
        .selectAll()
        .where('name', 'in', (of) =>
          of.selectFrom(parts.table<Named>(NAME_COLUMNS, slot('names')).as('given')).select('given.name'),
        )
        .orderBy('name')
        .modifyEnd(parts.forUpdate),
    )
  let rows = await read()
  if (rows.length < names.length) {
    await db
      .insertInto('tenants')
      .values(names.toSorted((one, other) => (one.name < other.name ? -1 : 1)))
      .onConflict((of) => of.doNothing())
      .execute()
    rows = await read()
  }
  return new Purses(
    rows.map(({ name, max_nano, spent_nano, reserved_nano }) => ({
      tenant: name,
      maxNanoUsd: orUndefined(max_nano),
      spentNanoUsd: spent_nano,
      reservedNanoUsd: reserved_nano,
    })),
  )
}

/** Requests of all tenants that are not done. Of tenants that are not locked, as of a moment ago. */
export async function waitingInAll({ db, parts }: Tx): Promise<number> {
  const [row] = await parts.statements.rows(db, 'waiting in all', {}, () =>
    db.selectFrom('tenants').select(sql<number>`cast(coalesce(sum(waiting), 0) as bigint)`.as('waiting')),
  )
  return row?.waiting ?? 0
}

interface NamedChange extends Named {
  readonly spent: number
  readonly reserved: number
  readonly waiting: number
}
const CHANGE_COLUMNS = { name: 'text', spent: 'bigint', reserved: 'bigint', waiting: 'bigint' } as const

/** Writes what became of purses: beside what it is about, so that neither is ever without the other. */
export async function changePurses({ db, parts }: Tx, purses: Purses): Promise<void> {
  const changes = [...purses.changes]
    .filter(([, { spent, reserved, waiting }]) => spent !== 0 || reserved !== 0 || waiting !== 0)
    .map(([name, change]) => ({ name, ...change }))
  if (changes.length === 0) return
  await parts.statements.rows(db, 'change purses', { changes: JSON.stringify(changes) }, (slot) =>
    db
      .updateTable('tenants')
      .from(parts.table<NamedChange>(CHANGE_COLUMNS, slot('changes')).as('given'))
      .whereRef('tenants.name', '=', 'given.name')
      .set((of) => ({
        spent_nano: of('tenants.spent_nano', '+', of.ref('given.spent')),
        reserved_nano: of('tenants.reserved_nano', '+', of.ref('given.reserved')),
        waiting: of('tenants.waiting', '+', of.ref('given.waiting')),
      })),
  )
}
