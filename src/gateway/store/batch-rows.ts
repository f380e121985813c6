import type { BatchPhase } from '../domain/batch.ts'
import type { Tx } from './database.ts'
import type { Purses } from './purses.ts'
import type { BatchRow } from './rows.ts'

/** A batch, locked until the end of the transaction. */
export const lockBatch = ({ db, parts }: Tx, batch: number): Promise<BatchRow | undefined> =>
  db
    .selectFrom('batches')
    .selectAll()
    .where('number', '=', batch)
    .modifyEnd(parts.forUpdate)
    .executeTakeFirst()

/** A batch, locked; undefined when the claim is lost. */
export async function lockClaimed(tx: Tx, batch: number, epoch: number): Promise<BatchRow | undefined> {
  const row = await lockBatch(tx, batch)
  return row?.epoch === epoch ? row : undefined
}

/** Changes how many requests still wait for a batch. */
export async function addLive({ db }: Tx, batch: number, change: number): Promise<void> {
  if (change === 0) return
  await db
    .updateTable('batches')
    .set((of) => ({ live: of('live', '+', change) }))
    .where('number', '=', batch)
    .execute()
}

const UNSENT: ReadonlySet<BatchPhase> = new Set(['sealed', 'intended'])

/** No batch can have come of its present attempt yet. */
export const isUnsent = ({ phase }: BatchRow): boolean => UNSENT.has(phase)

/**
 * Gives back what is set aside for requests that were cancelled while their lines were in this batch, and of which no
 * line came back: they were not carried out.
 */
export async function releaseCancelled({ db }: Tx, batch: number, purses: Purses): Promise<void> {
  const rows = await db
    .selectFrom('requests')
    .select(['tenant', 'reserved_nano'])
    .where('batch', '=', batch)
    .where('state', '=', 'done')
    .execute()
  for (const { tenant, reserved_nano } of rows) purses.change(tenant, { reserved: -reserved_nano })
  await db
    .updateTable('requests')
    .set({ batch: null, reserved_nano: 0 })
    .where('batch', '=', batch)
    .where('state', '=', 'done')
    .execute()
}
