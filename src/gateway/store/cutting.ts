import { sql } from 'kysely'
import type { CutLimits, GatewayBatch, QueueLoad } from '../domain/batch.ts'
import type { QueueGroup } from '../domain/request.ts'
import type { Database, Tx } from './database.ts'
import { batchOf, flag, orUndefined } from './rows.ts'

const whole = (sum: string) => sql<number>`cast(coalesce(sum(${sql.ref(sum)}), 0) as bigint)`

/** Read from one index, without the rows. */
export const loads = (database: Database): Promise<readonly QueueLoad[]> =>
  database.read(async (db, parts) => {
    const rows = await db
      .selectFrom('requests')
      .where('state', '=', 'queued')
      .where('route', '=', 'batch')
      .where((is) => is.or([is('ready_at', 'is', null), is('ready_at', '<=', parts.now())]))
      .groupBy(['tenant', 'endpoint', 'model', 'has_deadline'])
      .select(['tenant', 'endpoint', 'model', 'has_deadline'])
      .select((of) => [
        sql<number>`cast(count(*) as bigint)`.as('requests'),
        whole('line_bytes').as('bytes'),
        whole('input_tokens').as('tokens'),
        // What was put off for a while has waited since then: it must not take along what has just come.
        of.fn.min<number>(of.fn.coalesce('ready_at', 'created_at')).as('oldest_at'),
        of.fn.min('deadline_at').as('deadline_at'),
      ])
      .execute()
    return rows.map((row) => ({
      tenant: row.tenant,
      endpoint: row.endpoint,
      model: row.model,
      hasDeadline: row.has_deadline === 1,
      requests: row.requests,
      bytes: row.bytes,
      tokens: row.tokens,
      oldestAt: row.oldest_at,
      deadlineAt: orUndefined(row.deadline_at),
    }))
  })

export const nextReadyAt = (database: Database): Promise<number | undefined> =>
  database.read(async (db, parts) => {
    const row = await db
      .selectFrom('requests')
      .where('state', '=', 'queued')
      .where('ready_at', 'is not', null)
      .where('ready_at', '>', parts.now())
      .select((of) => of.fn.min('ready_at').as('at'))
      .executeTakeFirst()
    return orUndefined(row?.at ?? null)
  })

export const cut = (
  database: Database,
  group: QueueGroup,
  limits: CutLimits,
): Promise<GatewayBatch | undefined> =>
  database.write(async (tx) => {
    const lines = fitting(await waitingLines(tx, group, limits.requests), limits)
    if (lines.length === 0) return undefined
    const batch = await createBatch(tx, group, lines)
    const seqs = lines.map(({ seq }) => seq)
    await tx.db
      .updateTable('requests')
      .set({ state: 'batched', batch: batch.number })
      .where(tx.parts.amongNumbers('seq', seqs))
      .execute()
    return batch
  })

interface WaitingLine {
  readonly seq: number
  readonly line_bytes: number
  readonly input_tokens: number
  readonly inputs: number
  readonly deadline_at: number | null
}

/** The oldest first. Those that another replica puts into a batch at this moment are passed over. */
const waitingLines = ({ db, parts, now }: Tx, group: QueueGroup, limit: number): Promise<WaitingLine[]> =>
  db
    .selectFrom('requests')
    .where('state', '=', 'queued')
    .where('route', '=', 'batch')
    .where('tenant', '=', group.tenant)
    .where('endpoint', '=', group.endpoint)
    .where('model', '=', group.model)
    .where('has_deadline', '=', flag(group.hasDeadline))
    .where((is) => is.or([is('ready_at', 'is', null), is('ready_at', '<=', now)]))
    .select(['seq', 'line_bytes', 'input_tokens', 'inputs', 'deadline_at'])
    .orderBy('seq')
    .limit(Math.max(1, limit))
    .modifyEnd(parts.forUpdateFree)
    .execute()

/** As many from the beginning as the limits allow, one at least: what alone is too much is for the server to refuse. */
export function fitting(lines: readonly WaitingLine[], limits: CutLimits): readonly WaitingLine[] {
  let [bytes, tokens, inputs] = [0, 0, 0]
  const end = lines.findIndex((line, index) => {
    bytes += line.line_bytes
    tokens += line.input_tokens
    inputs += line.inputs
    const isOver = bytes > limits.bytes || tokens > limits.tokens || inputs > limits.inputs
    return index > 0 && (isOver || index >= limits.requests)
  })
  return end === -1 ? lines : lines.slice(0, end)
}

async function createBatch(
  { db, now }: Tx,
  group: QueueGroup,
  lines: readonly WaitingLine[],
): Promise<GatewayBatch> {
  const deadlines = lines.flatMap(({ deadline_at }) => deadline_at ?? [])
  const row = await db
    .insertInto('batches')
    .values({
      tenant: group.tenant,
      endpoint: group.endpoint,
      model: group.model,
      has_deadline: flag(group.hasDeadline),
      phase: 'sealed',
      requests: lines.length,
      live: lines.length,
      bytes: sumOf(lines, 'line_bytes'),
      tokens: sumOf(lines, 'input_tokens'),
      created_at: now,
      phase_at: now,
      phase_epoch: 0,
      epoch: 0,
      upload_in_doubt: 0,
      adopted: 0,
      faults: '[]',
      looks: 0,
      failures: 0,
      deadline_at: deadlines.length === 0 ? null : leastOf(deadlines),
      next_at: now,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  return batchOf(row)
}

const sumOf = (lines: readonly WaitingLine[], column: 'line_bytes' | 'input_tokens'): number =>
  lines.reduce((sum, line) => sum + line[column], 0)

/** Not by `Math.min`: a batch may have more of them than a call takes arguments. */
const leastOf = (times: readonly number[]): number => times.reduce((least, time) => Math.min(least, time))
