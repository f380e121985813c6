import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { z } from 'zod'
import type { StoreSettings } from '../../src/gateway/store/open-store.ts'
import { withClient } from './postgres.ts'

/** Each finds what must never be; whatever it gives is wrong. */
const AUDIT: Readonly<Record<string, string>> = {
  'a tenant has set aside something else than its requests say': `
    select name from tenants where reserved_nano <>
      (select coalesce(sum(reserved_nano), 0) from requests where requests.tenant = tenants.name)`,
  'a tenant has another number of requests that wait': `
    select name from tenants where waiting <>
      (select count(*) from requests where requests.tenant = tenants.name and state <> 'done')`,
  'a tenant has spent less than its requests cost': `
    select name from tenants where spent_nano <
      (select coalesce(sum(cost_nano), 0) from requests where requests.tenant = tenants.name)`,
  'a batch has another number of requests that wait for it': `
    select number from batches where live <>
      (select count(*) from requests where requests.batch = batches.number and state = 'batched')`,
  'a request waits for a batch that is done, or is not there': `
    select id from requests where state = 'batched' and not exists
      (select 1 from batches where number = requests.batch and phase <> 'done')`,
  'a request that waits in the queue is somewhere else, too': `
    select id from requests where state = 'queued' and (batch is not null or call_until is not null)`,
  'a request that is called has no lease': `
    select id from requests where state = 'calling' and (call_until is null or caller is null or batch is not null)`,
  'a request is not done and has no body': `
    select id from requests where state <> 'done' and not exists (select 1 from bodies where bodies.seq = requests.seq)`,
  'a request is done and has a body': `
    select id from requests where state = 'done' and exists (select 1 from bodies where bodies.seq = requests.seq)`,
  'a request is done without an answer, an ending or a time': `
    select id from requests where state = 'done' and (ending is null or finished_at is null
      or not exists (select 1 from answers where answers.seq = requests.seq))`,
  'a request has an answer and is not done': `
    select id from requests where state <> 'done' and (ending is not null or finished_at is not null
      or exists (select 1 from answers where answers.seq = requests.seq))`,
  'a request was delivered and is not done': `select id from requests where delivered_at is not null and state <> 'done'`,
  'something has a negative amount': `
    select name from tenants where spent_nano < 0 or reserved_nano < 0 or waiting < 0
    union all select id from requests where reserved_nano < 0`,
}

const beyondSchema = z.object({ name: z.string(), excess: z.coerce.number() })

/** Reads from a gateway's database, at one moment. */
export type Query = (sql: string) => Promise<readonly unknown[]>

const BEYOND = `
  select name, spent_nano + reserved_nano - max_nano as excess from tenants where spent_nano + reserved_nano > max_nano`

/** What batches that turned up late may cost tenants beyond their limits, in nano-USD: both they and those made in their place are paid. */
export type Excess = ReadonlyMap<string, number>

/** Looks into the database, beside whoever uses it, for anything that must never be at a commit; in words. */
export const unsoundBooks = (settings: StoreSettings, allowed: Excess = new Map()): Promise<string[]> =>
  readBooks(settings, async (query) => {
    const findings: string[] = []
    for (const { name, excess } of z.array(beyondSchema).parse(await query(BEYOND)))
      if (excess > (allowed.get(name) ?? 0))
        findings.push(`a tenant is beyond its limit: ${name} by ${excess}`)
    for (const [what, sql] of Object.entries(AUDIT)) {
      const rows = await query(sql)
      findings.push(...rows.map((row) => `${what}: ${JSON.stringify(row)}`))
    }
    return findings
  })

/** Gives what `read` makes of the database, all of it as it is at one moment. A damaged SQLite file throws. */
export const readBooks = <Result>(
  settings: StoreSettings,
  read: (query: Query) => Promise<Result>,
): Promise<Result> =>
  settings.kind === 'sqlite' ? readFile(settings.dataDir, read) : readServer(settings, read)

async function readFile<Result>(dataDir: string, read: (query: Query) => Promise<Result>): Promise<Result> {
  const database = new DatabaseSync(join(dataDir, 'gateway.db'), { readOnly: true })
  try {
    database.exec('begin')
    const query: Query = (sql) => Promise.resolve(database.prepare(sql).all())
    const [isWhole] = await query('pragma integrity_check')
    if (JSON.stringify(isWhole) !== '{"integrity_check":"ok"}')
      throw new Error(`the database is damaged: ${JSON.stringify(isWhole)}`)
    return await read(query)
  } finally {
    database.close()
  }
}

async function readServer<Result>(
  { url, schema = 'nightshift' }: Extract<StoreSettings, { kind: 'postgres' }>,
  read: (query: Query) => Promise<Result>,
): Promise<Result> {
  const results: Result[] = []
  await withClient(url, async (client) => {
    await client.query(`set search_path to ${schema}; begin isolation level repeatable read read only`)
    results.push(await read(async (sql) => (await client.query(sql)).rows))
  })
  const [result] = results
  if (result === undefined) throw new Error('nothing was read')
  return result
}
