import type { Updateable } from 'kysely'
import type { BatchChange, GatewayBatch } from '../domain/batch.ts'
import { lockClaimed, releaseCancelled } from './batch-rows.ts'
import type { Database, Tx } from './database.ts'
import { addLitter } from './leftovers.ts'
import { changePurses, lockPurses } from './purse-rows.ts'
import { type BatchRow, batchOf, flag, orNull, storable } from './rows.ts'
import type { BatchesTable } from './schema.ts'
import type { ClaimedBatch, PageOf } from './store.ts'
import { StoreError } from './store-error.ts'

export const dueBatches = (database: Database, limit: number): Promise<readonly GatewayBatch[]> =>
  database.read(async (db, parts) => {
    const rows = await db
      .selectFrom('batches')
      .selectAll()
      .where('phase', '<>', 'done')
      .where('next_at', '<=', parts.now())
      .where((is) => is.or([is('lease_until', 'is', null), is('lease_until', '<=', parts.now())]))
      .orderBy('next_at')
      .orderBy('number')
      .limit(limit)
      .execute()
    return rows.map(batchOf)
  })

export const openBatches = (database: Database): Promise<readonly GatewayBatch[]> =>
  database.read(async (db) => {
    // In this order SQLite would read all that are done, too.
    const rows = await db.selectFrom('batches').selectAll().where('phase', '<>', 'done').execute()
    return rows.map(batchOf).sort((a, b) => a.number - b.number)
  })

/** Asked for while somebody has a claim, and so without having seen it: what that one releases it for is not waited for. */
const AT_ONCE = 0

/** A claim that lasts keeps everybody out, the same replica too: two jobs for one batch may be under way in it. */
export const claim = (
  database: Database,
  batch: number,
  replica: string,
  leaseMs: number,
): Promise<ClaimedBatch | undefined> =>
  database.write(async ({ db, now }) => {
    const row = await db
      .updateTable('batches')
      .set((of) => ({
        epoch: of('epoch', '+', 1),
        holder: replica,
        lease_until: now + leaseMs,
        next_at: of.case().when('next_at', '=', AT_ONCE).then(now).else(of.ref('next_at')).end(),
      }))
      .where('number', '=', batch)
      .where('phase', '<>', 'done')
      .where((is) => is.or([is('lease_until', 'is', null), is('lease_until', '<=', now)]))
      .returningAll()
      .executeTakeFirst()
    return row && { batch: batchOf(row), epoch: row.epoch }
  })

export const renew = (database: Database, batch: number, epoch: number, leaseMs: number): Promise<boolean> =>
  database.write(async ({ db, now }) => {
    const row = await db
      .updateTable('batches')
      .set({ lease_until: now + leaseMs })
      .where('number', '=', batch)
      .where('epoch', '=', epoch)
      .where('holder', 'is not', null)
      .returning('number')
      .executeTakeFirst()
    return row !== undefined
  })

export const release = (database: Database, batch: number, epoch: number, nextAt: number): Promise<void> =>
  database.write(async ({ db }) => {
    await db
      .updateTable('batches')
      .set((of) => ({
        holder: null,
        lease_until: null,
        next_at: of.case().when('next_at', '=', AT_ONCE).then(AT_ONCE).else(nextAt).end(),
      }))
      .where('number', '=', batch)
      .where('epoch', '=', epoch)
      .execute()
  })

export const change = (
  database: Database,
  batch: number,
  epoch: number,
  wanted: BatchChange,
): Promise<GatewayBatch | undefined> =>
  database.write(async (tx) => {
    const row = await lockClaimed(tx, batch, epoch)
    if (!row) return undefined
    if (wanted.phase === 'done') await finish(tx, row)
    const { litter = [], retire } = wanted
    await addLitter(tx, litter)
    if (retire) {
      const { tag, batch: of, inputFileId, since } = retire
      const values = { tag, batch: of, input_file_id: orNull(inputFileId), since }
      await tx.db
        .insertInto('retired_tags')
        .values(values)
        .onConflict((at) => at.doNothing())
        .execute()
    }
    const phase = wanted.phase && { phase: wanted.phase, phase_at: tx.now, phase_epoch: epoch }
    const columns = { ...columnsOf(wanted), ...phase }
    if (Object.keys(columns).length === 0) return batchOf(row)
    const changed = await tx.db
      .updateTable('batches')
      .set(columns)
      .where('number', '=', batch)
      .returningAll()
      .executeTakeFirstOrThrow()
    return batchOf(changed)
  })

/** Nobody looks at a batch that is done: a request that still waited for it would wait for ever. */
async function finish(tx: Tx, { number, live, tenant }: BatchRow): Promise<void> {
  if (live > 0) {
    const message =
      `batch ${number} cannot be done while ${live} of its requests wait for it: settle them or put them back ` +
      'into the queue first'
    throw new StoreError('unfinished_batch', message)
  }
  const purses = await lockPurses(tx, new Set([tenant]))
  await releaseCancelled(tx, number, purses)
  await changePurses(tx, purses)
}

/** Only what is named is changed; `undefined` clears it. */
function columnsOf(wanted: BatchChange): Updateable<BatchesTable> {
  return {
    ...('uploadInDoubt' in wanted && { upload_in_doubt: flag(wanted.uploadInDoubt === true) }),
    ...('adopted' in wanted && { adopted: flag(wanted.adopted === true) }),
    ...(wanted.faults && { faults: JSON.stringify(wanted.faults) }),
    ...(wanted.looks !== undefined && { looks: wanted.looks }),
    ...(wanted.failures !== undefined && { failures: wanted.failures }),
    ...(wanted.nextAt !== undefined && { next_at: wanted.nextAt }),
    ...('cancel' in wanted && { cancel: orNull(wanted.cancel) }),
    ...('deadlineAt' in wanted && { deadline_at: orNull(wanted.deadlineAt) }),
    ...('since' in wanted && { since: orNull(wanted.since) }),
    ...('fencedAt' in wanted && { fenced_at: orNull(wanted.fencedAt) }),
    ...textColumnsOf(wanted),
  }
}

const TEXT_COLUMNS = {
  tag: 'tag',
  inputFileId: 'input_file_id',
  batchId: 'batch_id',
  status: 'status',
  remote: 'remote',
  outputFileId: 'output_file_id',
  errorFileId: 'error_file_id',
  note: 'note',
} as const

function textColumnsOf(wanted: BatchChange): Updateable<BatchesTable> {
  const columns: { -readonly [Column in (typeof TEXT_COLUMNS)[keyof typeof TEXT_COLUMNS]]?: string | null } =
    {}
  const names = [
    'tag',
    'inputFileId',
    'batchId',
    'status',
    'remote',
    'outputFileId',
    'errorFileId',
    'note',
  ] as const
  for (const name of names) {
    if (!(name in wanted)) continue
    const value = wanted[name]
    columns[TEXT_COLUMNS[name]] = value === undefined ? null : storable(value)
  }
  return columns
}

/** The wish of a caller goes before that of a deadline: it ends what a deadline would send another way. */
export const askCancel = (database: Database, batch: number, cancel: 'caller' | 'deadline'): Promise<void> =>
  database.write(async ({ db }) => {
    await db
      .updateTable('batches')
      .set({ cancel, next_at: AT_ONCE })
      .where('number', '=', batch)
      .where('phase', '<>', 'done')
      .where((is) => is.or([is('cancel', 'is', null), is('cancel', '=', 'deadline')]))
      .execute()
  })

export const batchByRemoteId = (
  database: Database,
  batchId: string,
  tenant: string,
): Promise<GatewayBatch | undefined> =>
  database.read(async (db) => {
    const row = await db
      .selectFrom('batches')
      .selectAll()
      .where('batch_id', '=', batchId)
      .where('tenant', '=', tenant)
      .executeTakeFirst()
    return row && batchOf(row)
  })

export const remoteBatches = (
  database: Database,
  tenant: string,
  { after, limit }: { readonly after?: string | undefined; readonly limit: number },
): Promise<PageOf<GatewayBatch> | undefined> =>
  database.read(async (db) => {
    const known = db.selectFrom('batches').where('tenant', '=', tenant).where('batch_id', 'is not', null)
    const last =
      after === undefined
        ? undefined
        : await known.select('number').where('batch_id', '=', after).executeTakeFirst()
    if (after !== undefined && !last) return undefined
    const rows = await known
      .selectAll()
      .$if(last !== undefined, (query) => query.where('number', '<', last?.number ?? 0))
      .orderBy('number', 'desc')
      .limit(limit + 1)
      .execute()
    return { items: rows.slice(0, limit).map(batchOf), hasMore: rows.length > limit }
  })
