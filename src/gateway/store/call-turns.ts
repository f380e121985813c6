import { sql } from 'kysely'
import type { Tx } from './database.ts'

/** Which calls are taken. */
export interface CallPick {
  readonly limit: number
  /** Requests of these are passed over. */
  readonly exceptModels: readonly string[]
  /** Who was served last: those after it by name come first. */
  readonly afterTenant: string
}

/**
 * Of each tenant that has calls waiting one in turn, and of each the most urgent and the oldest first: whoever has ten
 * thousand of them does not keep the others from theirs. Gives their places in the queue, locked.
 */
export async function nextCalls(tx: Tx, pick: CallPick): Promise<number[]> {
  const taken: number[] = []
  const seen = new Set<string>()
  for (let after = pick.afterTenant; taken.length < pick.limit; ) {
    // What these have may all have to wait: then it is the turn of the next ones, once round.
    const places = pick.limit - taken.length
    const names = (await tenantsInTurn(tx, after, places)).filter((name) => !seen.has(name))
    for (const name of names) seen.add(name)
    const last = names.at(-1)
    if (last === undefined) break
    after = last
    taken.push(...(await callsOfEach(tx, names, { ...pick, limit: places })))
  }
  return taken
}

/** As many as there are, up to `limit`, and after the last one by name the first one again. */
async function tenantsInTurn(tx: Tx, after: string, limit: number): Promise<string[]> {
  const later = await waitingTenants(tx, sql`tenant > ${after}`, limit)
  if (later.length === limit) return later
  return [...later, ...(await waitingTenants(tx, sql`tenant <= ${after}`, limit - later.length))]
}

/** In the words of the index `requests_calls`. */
const WAITS = sql`state = 'queued' and route <> 'batch'`

/** From one name to the next in the index: what each of them has waiting is not read. */
async function waitingTenants({ db }: Tx, range: ReturnType<typeof sql>, limit: number): Promise<string[]> {
  const { rows } = await sql<{ tenant: string }>`
    with recursive waiting (tenant) as (
      select (select tenant from requests where ${WAITS} and ${range} order by tenant limit 1)
      union all
      select (
        select tenant from requests where ${WAITS} and ${range} and tenant > waiting.tenant order by tenant limit 1
      ) from waiting where waiting.tenant is not null
    )
    select tenant from waiting where tenant is not null limit ${limit}`.execute(db)
  return rows.map(({ tenant }) => tenant)
}

/** Shares places out evenly; what one does not need goes to the others. */
async function callsOfEach(tx: Tx, tenants: readonly string[], pick: CallPick): Promise<number[]> {
  const calls = new Map(tenants.map((tenant) => [tenant, [] as number[]]))
  let left = pick.limit
  for (let open = tenants; left > 0 && open.length > 0; ) {
    const share = Math.ceil(left / open.length)
    const hungry: string[] = []
    for (const tenant of open) {
      const limit = Math.min(share, left)
      const had = calls.get(tenant) ?? []
      const more = await callsOf(tx, tenant, { ...pick, limit, offset: had.length })
      had.push(...more)
      left -= more.length
      if (more.length === limit && limit > 0) hungry.push(tenant)
    }
    open = hungry
  }
  return oneByOne([...calls.values()])
}

const URGENCY = sql`case priority when 'high' then 0 when 'normal' then 1 else 2 end`

async function callsOf(
  { db, parts, now }: Tx,
  tenant: string,
  { limit, offset, exceptModels }: CallPick & { readonly offset: number },
): Promise<number[]> {
  const rows = await db
    .selectFrom('requests')
    .select('seq')
    .where('tenant', '=', tenant)
    .where(sql<boolean>`${WAITS}`)
    .where((is) => is.or([is('ready_at', 'is', null), is('ready_at', '<=', now)]))
    .$if(exceptModels.length > 0, (some) => some.where((is) => is.not(parts.among('model', exceptModels))))
    .orderBy(URGENCY)
    .orderBy(sql`coalesce(deadline_at, 9007199254740991)`)
    .orderBy('seq')
    .limit(limit)
    .offset(offset)
    .modifyEnd(parts.forUpdateFree)
    .execute()
  return rows.map(({ seq }) => seq)
}

/** The first of each, then the second of each, and so on. */
function oneByOne<Item>(lists: readonly (readonly Item[])[]): Item[] {
  const longest = Math.max(0, ...lists.map(({ length }) => length))
  return Array.from({ length: longest }, (_, at) => lists.flatMap((list) => list.slice(at, at + 1))).flat()
}
