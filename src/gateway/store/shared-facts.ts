import { sql } from 'kysely'
import { z } from 'zod'
import { EMPTY_BOARD, type QuotaBoard } from '../../batch/quota.ts'
import type { Database } from './database.ts'
import { storable } from './rows.ts'

/** What all replicas know of the account: its limits of enqueued tokens, and models that cannot be batched. */

const boardSchema = z.object({
  version: z.literal(1),
  models: z.record(
    z.string(),
    z.object({ tokens: z.number(), learnedAt: z.number(), source: z.enum(['refusal', 'admin']) }),
  ),
  reservations: z.record(
    z.string(),
    z.object({ pool: z.string(), tokens: z.number(), at: z.number(), task: z.string() }),
  ),
  waiting: z.record(
    z.string(),
    z.object({ pool: z.string(), task: z.string(), since: z.number(), at: z.number() }),
  ),
})

type BoardChange<Result> = (board: QuotaBoard) => { readonly board: QuotaBoard; readonly result: Result }

export const quota = <Result>(database: Database, change: BoardChange<Result>): Promise<Result> =>
  database.write(async ({ db, parts }) => {
    const first = { name: 'quota', value: JSON.stringify(EMPTY_BOARD) }
    await db
      .insertInto('facts')
      .values(first)
      .onConflict((of) => of.doNothing())
      .execute()
    const { value } = await db
      .selectFrom('facts')
      .select('value')
      .where('name', '=', 'quota')
      .modifyEnd(parts.forUpdate)
      .executeTakeFirstOrThrow()
    const { board, result } = change(boardSchema.parse(JSON.parse(value)))
    const text = JSON.stringify(board)
    if (text !== value)
      await db.updateTable('facts').set({ value: text }).where('name', '=', 'quota').execute()
    return result
  })

/** Then a model is tried again: the server may have learned to batch it. */
const REFUSED_MS = 24 * 3_600_000

export const refusedModels = (database: Database): Promise<ReadonlyMap<string, string>> =>
  database.read(async (db, parts) => {
    const rows = await db
      .selectFrom('refused_models')
      .selectAll()
      .where('since', '>', sql<number>`${parts.now()} - ${REFUSED_MS}`)
      .execute()
    return new Map(rows.map(({ endpoint, model, message }) => [`${endpoint} ${model}`, message]))
  })

export const refuseModel = (
  database: Database,
  endpoint: string,
  model: string,
  message: string,
): Promise<void> =>
  database.write(async ({ db, now }) => {
    const words = { message: storable(message), since: now }
    await db
      .insertInto('refused_models')
      .values({ endpoint, model, ...words })
      .onConflict((of) => of.columns(['endpoint', 'model']).doUpdateSet(words))
      .execute()
  })
