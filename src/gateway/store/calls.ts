import { sql } from 'kysely'
import type { Outcome, Route, StoredRequest } from '../domain/request.ts'
import { type CallPick, nextCalls } from './call-turns.ts'
import type { Database, Tx } from './database.ts'
import { lockedRequests, recordOutcomes, tenantsOf } from './outcome-rows.ts'
import { changePurses, lockPurses } from './purse-rows.ts'
import { reserveFor } from './reserve.ts'
import { orUndefined, type RequestRow, requestOf } from './rows.ts'
import type { TakenCall } from './store.ts'

export interface PressedPage {
  readonly beforeMs: number
  readonly limit: number
  readonly after?: Pick<StoredRequest, 'id' | 'deadlineAt'> | undefined
}

/** Of those that nothing but a batch may take, none: there is nothing to think over. */
export const pressed = (
  database: Database,
  { beforeMs, limit, after }: PressedPage,
): Promise<readonly StoredRequest[]> =>
  database.read(async (db, parts) => {
    let query = db
      .selectFrom('requests')
      .selectAll()
      .where('state', '=', 'queued')
      .where('deadline_at', '>', parts.now())
      .where('deadline_at', '<=', sql<number>`${parts.now()} + ${Math.ceil(beforeMs)}`)
      .where('route', '<>', 'direct')
      .where('priority', '<>', 'low')
    if (after?.deadlineAt !== undefined) {
      const { deadlineAt, id } = after
      query = query.where((is) =>
        is.or([
          is('deadline_at', '>', deadlineAt),
          is.and([is('deadline_at', '=', deadlineAt), is('id', '>', id)]),
        ]),
      )
    }
    const rows = await query.orderBy('deadline_at').orderBy('id').limit(limit).execute()
    return rows.map(requestOf)
  })

/** Those whose tenants cannot pay for the dearer route stay where they are. */
export const reroute = (
  database: Database,
  ids: readonly string[],
  route: Route,
): Promise<readonly string[]> =>
  database.write(async (tx) => {
    const purses = await lockPurses(tx, await tenantsOf(tx, ids))
    const rows = (await lockedRequests(tx, ids)).filter(({ state }) => state === 'queued')
    const moved = rows.flatMap((row) => {
      const reserved = reserveFor(route, {
        mostNanoUsd: orUndefined(row.most_nano),
        mostDirectlyNanoUsd: orUndefined(row.most_direct_nano),
      })
      const more = reserved - row.reserved_nano
      if (!purses.hasRoom(row.tenant, more)) return []
      purses.change(row.tenant, { reserved: more })
      return [{ seq: row.seq, id: row.id, reserved_nano: reserved }]
    })
    await writeRoutes(tx, moved, route)
    await changePurses(tx, purses)
    return moved.map(({ id }) => id)
  })

const ROUTE_COLUMNS = { seq: 'bigint', reserved_nano: 'bigint' } as const

async function writeRoutes(
  { db, parts }: Tx,
  moved: readonly { readonly seq: number; readonly reserved_nano: number }[],
  route: Route,
): Promise<void> {
  if (moved.length === 0) return
  const rows = moved.map(({ seq, reserved_nano }) => ({ seq, reserved_nano }))
  await db
    .updateTable('requests')
    .from(parts.rows(ROUTE_COLUMNS, rows).as('given'))
    .whereRef('requests.seq', '=', 'given.seq')
    // What it waited for on its old way, such as room in flex, says nothing of the new one.
    .set((of) => ({ route, reserved_nano: of.ref('given.reserved_nano'), ready_at: null }))
    .execute()
}

export interface CallTaking extends CallPick {
  readonly replica: string
  readonly leaseMs: number
}

export const takeCalls = (
  database: Database,
  { replica, leaseMs, ...pick }: CallTaking,
): Promise<readonly TakenCall[]> =>
  database.write(async (tx) => {
    const { db, parts, now } = tx
    const seqs = await nextCalls(tx, pick)
    if (seqs.length === 0) return []
    const taken = await db
      .updateTable('requests')
      .set((of) => ({
        state: 'calling' as const,
        call_epoch: of('call_epoch', '+', 1),
        caller: replica,
        call_until: now + leaseMs,
      }))
      .where(parts.amongNumbers('seq', seqs))
      .returningAll()
      .execute()
    const bodies = await db.selectFrom('bodies').selectAll().where(parts.amongNumbers('seq', seqs)).execute()
    const bySeq = new Map(taken.map((row) => [row.seq, row]))
    const bodyOf = new Map(bodies.map(({ seq, body }) => [seq, body]))
    return seqs.flatMap((seq) => callOf(bySeq.get(seq), bodyOf.get(seq)))
  })

const callOf = (row: RequestRow | undefined, bodyText: string | undefined): TakenCall[] =>
  row && bodyText !== undefined ? [{ request: requestOf(row), bodyText, epoch: row.call_epoch }] : []

/** One that its caller has cancelled meanwhile is charged, and stays cancelled. */
export const settleCall = (database: Database, epoch: number, outcome: Outcome): Promise<boolean> =>
  database.write(async (tx) => {
    const purses = await lockPurses(tx, await tenantsOf(tx, [outcome.id]))
    const rows = (await lockedRequests(tx, [outcome.id])).filter(
      (row) => row.call_epoch === epoch && row.call_until !== null,
    )
    if (rows.length === 0) return false
    await recordOutcomes(tx, { rows, purses, outcomes: [outcome] })
    return true
  })

export const renewCalls = (
  database: Database,
  ids: readonly string[],
  replica: string,
  leaseMs: number,
): Promise<void> =>
  database.write(async ({ db, parts, now }) => {
    await db
      .updateTable('requests')
      .set({ call_until: now + leaseMs })
      .where(parts.among('id', ids))
      .where('caller', '=', replica)
      .where('call_until', 'is not', null)
      .execute()
  })

/** At a time; the next round takes the rest. */
const MOST_RECOVERED = 500

export const recoverCalls = (database: Database): Promise<number> =>
  database.write(async (tx) => {
    const { db, now } = tx
    const lost = await db
      .selectFrom('requests')
      .select('id')
      .where('call_until', '<=', now)
      .orderBy('call_until')
      .limit(MOST_RECOVERED)
      .execute()
    if (lost.length === 0) return 0
    const ids = lost.map(({ id }) => id)
    const purses = await lockPurses(tx, await tenantsOf(tx, ids))
    const rows = (await lockedRequests(tx, ids)).filter(
      ({ call_until }) => call_until !== null && call_until <= now,
    )
    await recordOutcomes(tx, { rows, purses, outcomes: rows.map((row) => uncertain(row, now)) })
    return rows.filter(({ state }) => state !== 'done').length
  })

/** Nobody knows whether it was carried out: it is charged as if it was, and counts as tried. */
const uncertain = ({ id, route, reserved_nano }: RequestRow, readyAt: number): Outcome => ({
  kind: 'again',
  id,
  uses: 'attempt',
  readyAt,
  route,
  costNanoUsd: reserved_nano,
})
