import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { openStore, type StoreSettings } from '../../../src/gateway/store/open-store.ts'
import { openSqlite } from '../../../src/gateway/store/sqlite.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { contentsOf, temporaryFolder } from '../../support/folder.ts'
import {
  ANY_SIZE,
  accepted,
  arrivalOf,
  batchNumber,
  GROUP,
  LONG_MS,
  NO_LIMITS,
} from '../../support/gateway-stores.ts'
import { startProgram } from '../../support/program.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'
import { expectSoundBooks } from './books.ts'

const VICTIM = fileURLToPath(new URL('store-victim.ts', import.meta.url))

const serving = (dataDir: string) => ({ kind: 'sqlite', dataDir, serve: true }) as const
const beside = (dataDir: string) => ({ kind: 'sqlite', dataDir, serve: false }) as const
const open = (settings: StoreSettings) => openStore(settings, systemClock)
const modeOf = (path: string) => statSync(path).mode & 0o777

test('folder and files are for their owner alone, and the folder is made with what lacks above it', async () => {
  await using folder = await temporaryFolder()
  const dataDir = join(folder.path, 'a', 'b')
  const store = await open(serving(dataDir))
  await accepted(store, {})
  expect([modeOf(join(folder.path, 'a')), modeOf(dataDir)]).toEqual([0o700, 0o700])
  const files = readdirSync(dataDir).sort()
  expect(files).toEqual(['gateway.db', 'gateway.db-shm', 'gateway.db-wal', 'gateway.lock'])
  expect(files.map((name) => modeOf(join(dataDir, name)))).toEqual(files.map(() => 0o600))
  await store.close()
  await store.close()
  expect(readdirSync(dataDir).sort()).toEqual(['gateway.db', 'gateway.lock'])
})

test('every commit is synced before it counts', async () => {
  await using folder = await temporaryFolder()
  const database = await openSqlite(serving(folder.path), systemClock)
  const settings = ['journal_mode', 'synchronous', 'fullfsync', 'foreign_keys', 'busy_timeout'].map((name) =>
    database.read((db) => sql.raw(`pragma ${name}`).execute(db)),
  )
  const rows = (await Promise.all(settings)).flatMap(({ rows }) => rows)
  expect(rows).toEqual([
    { journal_mode: 'wal' },
    { synchronous: 2 },
    { fullfsync: 1 },
    { foreign_keys: 1 },
    { timeout: 5000 },
  ])
  await database.close()
})

test('once it is closed it says so', async () => {
  await using folder = await temporaryFolder()
  const store = await open(serving(folder.path))
  const last = accepted(store, {}, {})
  await store.close()
  expect(await last).toHaveLength(2)
  await expect(store.tenants()).rejects.toMatchObject({ code: 'store_closed' })
  await expect(store.heartbeat('rep_1', 1)).rejects.toMatchObject({ code: 'store_closed' })
})

test('a second server on the folder is refused at once, in this process and in another one', async () => {
  await using folder = await temporaryFolder()
  const victim = startProgram(VICTIM, [JSON.stringify(serving(folder.path)), 'a'])
  await victim.says('ready')
  const refusal = {
    name: 'LockError',
    code: 'gateway_folder_in_use',
    message: expect.stringContaining(folder.path),
  }
  await expect(open(serving(folder.path))).rejects.toMatchObject(refusal)
  victim.kill('SIGKILL')
  await victim.ended
  const store = await open(serving(folder.path))
  await expect(open(serving(folder.path))).rejects.toMatchObject(refusal)
  await accepted(store, {})
  await store.close()
  await (await open(serving(folder.path))).close()
})

test('a command works beside a server that is writing', async () => {
  await using folder = await temporaryFolder()
  const victim = startProgram(VICTIM, [JSON.stringify(serving(folder.path)), 'a'])
  await victim.says('accepted')
  const command = await open(beside(folder.path))
  for (let place = 0; place < 20; place++) {
    const name = `key_${place}`
    await command.addKey({ id: name, tenant: 't', name, hash: name, createdAt: 1, revokedAt: undefined })
  }
  expect(await command.keys()).toHaveLength(20)
  await command.close()
  victim.kill('SIGKILL')
  expect(await victim.ended).toMatchObject({ signal: 'SIGKILL' })
})

test('a command makes the store where there is none, and a server finds it', async () => {
  await using folder = await temporaryFolder()
  const command = await open(beside(folder.path))
  await command.putTenant({ name: 'team', maxNanoUsd: 5, callsPerMinute: 6 })
  const server = await open(serving(folder.path))
  expect(await server.tenants()).toMatchObject([{ name: 'team', maxNanoUsd: 5, callsPerMinute: 6 }])
  await server.close()
  await command.close()
})

test('kill -9 in the midst of commits loses nothing that was acknowledged', {
  timeout: 120_000,
}, async () => {
  await using folder = await temporaryFolder()
  const settings = serving(folder.path)
  const acknowledged = { accepted: new Set<string>(), settled: new Set<string>() }
  for (let round = 0; round < 4; round++) {
    const victim = startProgram(VICTIM, [JSON.stringify(settings), `r${round}`])
    // Killed at another place each time: after so many lines were said.
    for (let said = 0; said <= round; said++) await victim.says(`settled req_r${round}-${said}`)
    victim.kill('SIGKILL')
    const { stderr, signal } = await victim.ended
    expect(signal).toBe('SIGKILL')
    note(stderr, acknowledged)
    await expectSoundBooks(settings)
  }
  const store = await open(settings)
  const ids = [...acknowledged.accepted]
  expect(ids.length).toBeGreaterThan(100)
  expect(await store.requests(ids)).toHaveLength(ids.length)
  const answers = await store.answers([...acknowledged.settled])
  for (const id of acknowledged.settled) expect(answers.get(id)?.body).toBe(`"answer to ${id}"`)
  const [tenant] = await store.tenants()
  expect(tenant?.spentNanoUsd).toBeGreaterThanOrEqual(10 * acknowledged.settled.size)
  await store.close()
})

/** Whole lines only: one that was cut by the kill acknowledges nothing. */
function note(stderr: string, into: Readonly<Record<string, Set<string>>>): void {
  for (const line of stderr.split('\n').slice(0, -1)) {
    const [what = '', ...ids] = line.split(' ')
    for (const id of ids) into[what]?.add(id)
  }
}

test('what a killed server held, claimed and called is free for the next one at once', async () => {
  await using folder = await temporaryFolder()
  const opened = await open(serving(folder.path))
  await opened.heartbeat('rep_killed', LONG_MS)
  const held = { mode: 'sync', holder: 'rep_killed' } as const
  await opened.accept([arrivalOf({ id: 'req_a', fingerprint: 'a', ...held })], NO_LIMITS)
  const batch = await opened.cut(GROUP, ANY_SIZE)
  await opened.claim(batchNumber(batch), 'rep_killed', LONG_MS)
  await opened.accept([arrivalOf({ id: 'req_b', fingerprint: 'b', route: 'direct', ...held })], NO_LIMITS)
  await opened.takeCalls(1, 'rep_killed', LONG_MS)
  await opened.lease('sweep', 'rep_killed', LONG_MS)
  // The leases are what a kill leaves: to close the file says nothing of them.
  await opened.close()

  const next = await open(serving(folder.path))
  expect(await next.accept([arrivalOf({ fingerprint: 'a' })], NO_LIMITS)).toMatchObject([
    { kind: 'joined', id: 'req_a' },
  ])
  expect(await next.claim(batchNumber(batch), 'rep_next', LONG_MS)).toMatchObject({
    batch: { phase: 'sealed' },
  })
  expect(await next.recoverCalls()).toBe(1)
  expect(await next.lease('sweep', 'rep_next', LONG_MS)).toBe(true)
  await next.close()
})

test('a store of a newer release is refused by its release, and left as it is', async () => {
  await using folder = await temporaryFolder()
  await (await open(serving(folder.path))).close()
  const database = new DatabaseSync(join(folder.path, 'gateway.db'))
  database.exec("insert into schema_versions values (99, '9.8.7')")
  database.close()
  const before = await contentsOf(folder.path)
  for (const settings of [serving(folder.path), beside(folder.path)])
    await expect(open(settings)).rejects.toMatchObject({
      code: 'newer_store',
      message: expect.stringContaining('needs Nightshift 9.8.7 or later'),
    })
  expect(await contentsOf(folder.path)).toEqual(before)
})

test.each([
  ['a text', 'no database at all, but long enough to be one'.repeat(50)],
  ['another database', undefined],
])('%s in its place is left as it is', async (_, text) => {
  await using folder = await temporaryFolder()
  const path = join(folder.path, 'gateway.db')
  if (text !== undefined) writeFileSync(path, text)
  else {
    const database = new DatabaseSync(path)
    database.exec('create table requests (a)')
    database.close()
  }
  const before = readFileSync(path)
  await expect(open(serving(folder.path))).rejects.toMatchObject({
    name: 'StoreError',
    code: 'not_a_store',
    retryable: false,
    message: expect.stringContaining(path),
  })
  expect(readFileSync(path).equals(before)).toBe(true)
})

test('a folder that cannot be used is said so, with its name', async () => {
  await using folder = await temporaryFolder()
  const file = join(folder.path, 'file')
  writeFileSync(file, '')
  await expect(open(serving(join(file, 'data')))).rejects.toMatchObject({
    code: 'store_unavailable',
    message: expect.stringContaining(join(file, 'data')),
  })
  await expect(open(serving('/proc/none/data'))).rejects.toMatchObject({ code: 'store_unavailable' })
})

test('a database that another process locks is busy for a while, and nothing is changed', async () => {
  await using folder = await temporaryFolder()
  const store = await open(serving(folder.path))
  const other = new DatabaseSync(join(folder.path, 'gateway.db'))
  other.exec('begin immediate')
  await expect(store.accept([arrivalOf()], NO_LIMITS)).rejects.toMatchObject({
    name: 'StoreError',
    code: 'store_busy',
    retryable: true,
  })
  other.exec('rollback')
  other.close()
  expect(await store.counts()).toMatchObject({ queued: 0 })
  await accepted(store, {})
  await store.close()
})

test('a row that breaks a rule is refused, and is no passing failure', async () => {
  await using folder = await temporaryFolder()
  const store = await open(serving(folder.path))
  const [id = ''] = await accepted(store, {})
  await expect(
    store.accept([arrivalOf(), arrivalOf({ id, fingerprint: 'other' })], NO_LIMITS),
  ).rejects.toMatchObject({
    code: 'store_failed',
    retryable: false,
  })
  expect(await store.counts()).toMatchObject({ queued: 1 })
  await store.close()
})

test('leases end by the clock of the store', async () => {
  await using folder = await temporaryFolder()
  const clock = new VirtualClock()
  const store = await openStore(serving(folder.path), clock)
  await store.heartbeat('rep_1', 1000)
  await accepted(store, { fingerprint: 'same', holder: 'rep_1', mode: 'sync', id: 'req_1' })
  expect(await store.lease('sweep', 'rep_1', 1000)).toBe(true)
  const same = () => arrivalOf({ fingerprint: 'same', holder: 'rep_2', mode: 'sync' })
  clock.jump(999)
  expect(await store.accept([same()], NO_LIMITS)).toMatchObject([{ kind: 'new' }])
  expect(await store.lease('sweep', 'rep_2', 1000)).toBe(false)
  clock.jump(1)
  expect(await store.accept([same()], NO_LIMITS)).toMatchObject([{ kind: 'joined', id: 'req_1' }])
  expect(await store.lease('sweep', 'rep_2', LONG_MS)).toBe(true)
  await store.close()
})

test('a model that was refused is tried again after a day', async () => {
  await using folder = await temporaryFolder()
  const clock = new VirtualClock()
  const store = await openStore(serving(folder.path), clock)
  await store.refuseModel('/v1/embeddings', 'm', 'not today')
  clock.jump(24 * LONG_MS - 1)
  expect((await store.refusedModels()).size).toBe(1)
  clock.jump(1)
  expect((await store.refusedModels()).size).toBe(0)
  await store.close()
})
