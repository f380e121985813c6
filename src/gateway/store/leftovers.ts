import type { RetiredTag } from '../domain/batch.ts'
import type { Database, Tx } from './database.ts'
import { orUndefined } from './rows.ts'

/** What attempts and batches leave behind at the server: files to delete, tags of which a batch may still come. */

export async function addLitter({ db }: Tx, fileIds: readonly string[]): Promise<void> {
  if (fileIds.length === 0) return
  const rows = fileIds.map((file_id) => ({ file_id }))
  await db
    .insertInto('litter')
    .values(rows)
    .onConflict((of) => of.doNothing())
    .execute()
}

export const litter = (database: Database, limit: number): Promise<readonly string[]> =>
  database.read(async (db) => {
    const rows = await db.selectFrom('litter').select('file_id').orderBy('place').limit(limit).execute()
    return rows.map(({ file_id }) => file_id)
  })

export const forgetLitter = (database: Database, fileIds: readonly string[]): Promise<void> =>
  database.write(async ({ db, parts }) => {
    await db.deleteFrom('litter').where(parts.among('file_id', fileIds)).execute()
  })

export const retiredTags = (database: Database): Promise<readonly RetiredTag[]> =>
  database.read(async (db) => {
    const rows = await db.selectFrom('retired_tags').selectAll().orderBy('since').orderBy('tag').execute()
    return rows.map(({ tag, batch, input_file_id, since }) => ({
      tag,
      batch,
      inputFileId: orUndefined(input_file_id),
      since,
    }))
  })

export const forgetTags = (database: Database, tags: readonly string[]): Promise<void> =>
  database.write(async ({ db, parts }) => {
    await db.deleteFrom('retired_tags').where(parts.among('tag', tags)).execute()
  })
