import { sql } from 'kysely'
import type { Tx } from './database.ts'
import { Purses } from './purses.ts'
import { orUndefined } from './rows.ts'

/**
 * The purses of some tenants, locked until the end of the transaction; whoever is new gets an empty one. Locks are
 * always taken in one order: batches, purses (by name), requests (by age).
 */
export async function lockPurses({ db, parts }: Tx, tenants: ReadonlySet<string>): Promise<Purses> {
  const names = [...tenants]
  const read = () =>
    db
      .selectFrom('tenants')
      .selectAll()
      .where(parts.among('name', names))
      .orderBy('name')
      .modifyEnd(parts.forUpdate)
      .execute()
  let rows = await read()
  if (rows.length < names.length) {
    const all = names.sort().map((name) => ({ name }))
    await db
      .insertInto('tenants')
      .values(all)
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
export async function waitingInAll({ db }: Tx): Promise<number> {
  const row = await db
    .selectFrom('tenants')
    .select(sql<number>`cast(coalesce(sum(waiting), 0) as bigint)`.as('waiting'))
    .executeTakeFirstOrThrow()
  return row.waiting
}

const CHANGE_COLUMNS = { name: 'text', spent: 'bigint', reserved: 'bigint', waiting: 'bigint' } as const

/** Writes what became of purses: beside what it is about, so that neither is ever without the other. */
export async function changePurses({ db, parts }: Tx, purses: Purses): Promise<void> {
  const changes = [...purses.changes]
    .filter(([, { spent, reserved, waiting }]) => spent !== 0 || reserved !== 0 || waiting !== 0)
    .map(([name, change]) => ({ name, ...change }))
  if (changes.length === 0) return
  await db
    .updateTable('tenants')
    .from(parts.rows(CHANGE_COLUMNS, changes).as('given'))
    .whereRef('tenants.name', '=', 'given.name')
    .set((of) => ({
      spent_nano: of('tenants.spent_nano', '+', of.ref('given.spent')),
      reserved_nano: of('tenants.reserved_nano', '+', of.ref('given.reserved')),
      waiting: of('tenants.waiting', '+', of.ref('given.waiting')),
    }))
    .execute()
}
