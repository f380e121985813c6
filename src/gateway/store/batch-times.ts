import { sql } from 'kysely'
import type { Database } from './database.ts'

/** From cut to done, in milliseconds. What failed, or was cancelled, says nothing of how long work takes. */
export const batchTimes = (database: Database, limit: number): Promise<readonly number[]> =>
  database.read(async (db) => {
    const rows = await db
      .selectFrom('batches')
      .where('phase', '=', 'done')
      .where('status', 'in', ['completed', 'expired'])
      .select(sql<number>`phase_at - created_at`.as('ms'))
      .orderBy('phase_at', 'desc')
      .limit(limit)
      .execute()
    return rows.map(({ ms }) => ms)
  })
