import type { Outcome } from '../domain/request.ts'
import { addLive, isUnsent, lockBatch, lockClaimed } from './batch-rows.ts'
import type { Database } from './database.ts'
import { lockedRequests, recordOutcomes, tenantsOf } from './outcome-rows.ts'
import { lockPurses } from './purse-rows.ts'
import { type BatchRow, orUndefined, type RequestRow } from './rows.ts'

const idsOf = (outcomes: readonly Outcome[]): string[] => outcomes.map(({ id }) => id)
const requestIdsOf = (rows: readonly RequestRow[]): string[] => rows.map(({ id }) => id)

export const settle = (
  database: Database,
  batch: number,
  epoch: number,
  outcomes: readonly Outcome[],
): Promise<readonly string[] | undefined> =>
  database.write(async (tx) => {
    const row = await lockClaimed(tx, batch, epoch)
    if (!row) return undefined
    const purses = await lockPurses(tx, new Set([row.tenant]))
    const rows = (await lockedRequests(tx, idsOf(outcomes))).filter((one) => one.batch === batch)
    const settled = await recordOutcomes(tx, { rows, purses, outcomes, batchId: orUndefined(row.batch_id) })
    await addLive(tx, batch, -settled.length)
    return requestIdsOf(settled)
  })

/**
 * Only ends count: that a stray failed says nothing of the line that is under way, and what a request has used up must
 * not grow each time this is said again.
 */
export const settleStray = (
  database: Database,
  tag: string,
  outcomes: readonly Outcome[],
): Promise<readonly string[]> =>
  database.write(async (tx) => {
    const ends = outcomes.filter(({ kind }) => kind === 'ended')
    const retired = await tx.db
      .selectFrom('retired_tags')
      .select('batch')
      .where('tag', '=', tag)
      .executeTakeFirst()
    const batch = retired && (await lockBatch(tx, retired.batch))
    const purses = await lockPurses(tx, await tenantsOf(tx, idsOf(ends)))
    const rows = (await lockedRequests(tx, idsOf(ends))).filter((row) => waitsFor(row, batch))
    const staysOut = ({ state }: RequestRow) => state === 'batched' && batch !== undefined && !isUnsent(batch)
    const settled = await recordOutcomes(tx, { rows, purses, outcomes: ends, staysOut })
    if (batch) await addLive(tx, batch.number, -settled.filter(({ state }) => state === 'batched').length)
    return requestIdsOf(settled)
  })

/** It waits in the queue, or for a later attempt at the batch that the stray was an attempt at. */
const waitsFor = (row: RequestRow, batch: BatchRow | undefined): boolean =>
  row.state === 'queued' || (row.state === 'batched' && batch !== undefined && row.batch === batch.number)
