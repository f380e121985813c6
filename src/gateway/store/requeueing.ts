import { sql } from 'kysely'
import type { Route } from '../domain/request.ts'
import { addLive, lockClaimed, releaseCancelled } from './batch-rows.ts'
import type { Database, Tx } from './database.ts'
import { changePurses, lockPurses } from './purse-rows.ts'
import type { Purses } from './purses.ts'

export const requeue = (
  database: Database,
  batch: number,
  epoch: number,
  { uses, route }: { readonly uses: 'expiry' | 'nothing'; readonly route?: Route | undefined },
): Promise<number | undefined> =>
  database.write(async (tx) => {
    const row = await lockClaimed(tx, batch, epoch)
    if (!row) return undefined
    const purses = await lockPurses(tx, new Set([row.tenant]))
    const to =
      route && (await affordable(tx, { batch, tenant: row.tenant, route }, purses)) ? route : undefined
    const count = await putBack(tx, batch, { expiries: uses === 'expiry' ? 1 : 0, route: to })
    await addLive(tx, batch, -count)
    await releaseCancelled(tx, batch, purses)
    await changePurses(tx, purses)
    return count
  })

/** What has to be set aside for a request on a route; as `reserveFor`. */
const reserveOn = (route: Route) =>
  route === 'batch'
    ? sql<number>`coalesce(most_nano, 0)`
    : sql<number>`coalesce(most_direct_nano, most_nano, 0)`

/** Sets aside what another route can cost more, for all or, where that is too much, for none. */
async function affordable(
  { db }: Tx,
  { batch, tenant, route }: { readonly batch: number; readonly tenant: string; readonly route: Route },
  purses: Purses,
): Promise<boolean> {
  const { more } = await db
    .selectFrom('requests')
    .where('batch', '=', batch)
    .where('state', '=', 'batched')
    .select(sql<number>`cast(coalesce(sum(${reserveOn(route)} - reserved_nano), 0) as bigint)`.as('more'))
    .executeTakeFirstOrThrow()
  if (!purses.hasRoom(tenant, more)) return false
  purses.change(tenant, { reserved: more })
  return true
}

interface Return {
  readonly expiries: number
  readonly route: Route | undefined
}

async function putBack({ db }: Tx, batch: number, { expiries, route }: Return): Promise<number> {
  const result = await db
    .updateTable('requests')
    .set((of) => ({
      state: 'queued' as const,
      batch: null,
      ready_at: null,
      has_deadline: sql<number>`case when deadline_at is null then 0 else 1 end`,
      expiries: of('expiries', '+', expiries),
      ...(route && { route, reserved_nano: reserveOn(route) }),
    }))
    .where('batch', '=', batch)
    .where('state', '=', 'batched')
    .executeTakeFirstOrThrow()
  return Number(result.numUpdatedRows)
}
