import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import { beforeAll, describe, expect, test } from 'vitest'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import { openPostgres } from '../../../src/gateway/store/postgres.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { systemClock } from '../../../src/util/clock.ts'
import {
  ANY_SIZE,
  accepted,
  arrivalOf,
  claimedBatch,
  endOf,
  GROUP,
  LONG_MS,
  moneyOf,
  NO_LIMITS,
} from '../../support/gateway-stores.ts'
import { startPostgres, type TestPostgres, temporarySchema, withClient } from '../../support/postgres.ts'
import { startProgram } from '../../support/program.ts'
import { expectSoundBooks } from './books.ts'
import { insist } from './insist.ts'
import { serverLine } from './server-line.ts'
import { transactionPooler } from './transaction-pooler.ts'

const VICTIM = fileURLToPath(new URL('store-victim.ts', import.meta.url))

let server: TestPostgres
beforeAll(async () => {
  server = await startPostgres()
}, 120_000)

/** Replicas on one database. */
async function replicas(count: number) {
  const schema = await temporarySchema(server)
  const settings = { kind: 'postgres', url: server.url, schema: schema.name } as const
  const stores = await Promise.all(Array.from({ length: count }, () => openStore(settings, systemClock)))
  const [first, second] = stores
  if (!first) throw new Error('no replica')
  const dispose = async () => {
    for (const store of stores) await store.close()
    await schema[Symbol.asyncDispose]()
  }
  return { settings, stores, first, second: second ?? first, [Symbol.asyncDispose]: dispose }
}

const idsOf = (acceptances: readonly object[]): unknown[] =>
  acceptances.flatMap((one) => ('id' in one ? [one.id] : []))

describe('replicas that race', () => {
  test('make the schema once, however many start at once', async () => {
    await using world = await replicas(6)
    for (const store of world.stores) expect(await store.counts()).toMatchObject({ queued: 0 })
  })

  test('never both go with one request', async () => {
    await using world = await replicas(2)
    for (const replica of ['rep_0', 'rep_1', 'rep_gone']) await world.first.heartbeat(replica, LONG_MS)
    const twins = (holder: string) =>
      Array.from({ length: 20 }, () => arrivalOf({ fingerprint: 'same', mode: 'sync', holder }))
    await world.first.accept(twins('rep_gone'), NO_LIMITS)
    await world.second.leave('rep_gone')
    const groups = [0, 1, 0, 1].map((replica) =>
      world.stores[replica]?.accept(twins(`rep_${replica}`).slice(0, 8), NO_LIMITS),
    )
    const all = (await Promise.all(groups)).flatMap((group) => group ?? [])
    expect(new Set(idsOf(all)).size).toBe(32)
    expect(all.filter(({ kind }) => kind === 'joined')).toHaveLength(20)
    expect(await world.first.counts()).toMatchObject({ queued: 32 })
  })

  test('never both take one key', async () => {
    await using world = await replicas(2)
    const calls = Array.from({ length: 20 }, (_, place) =>
      world.stores[place % 2]?.accept([arrivalOf({ fingerprint: 'same', idempotencyKey: 'k' })], NO_LIMITS),
    )
    const all = (await Promise.all(calls)).flatMap((group) => group ?? [])
    expect(new Set(idsOf(all)).size).toBe(1)
    expect(all.filter(({ kind }) => kind === 'new')).toHaveLength(1)
  })

  test('never spend beyond a limit together', async () => {
    await using world = await replicas(2)
    await world.first.putTenant({ name: 'default', maxNanoUsd: 10_500, callsPerMinute: undefined })
    const calls = Array.from({ length: 30 }, (_, place) =>
      world.stores[place % 2]?.accept([arrivalOf()], NO_LIMITS),
    )
    const all = (await Promise.all(calls)).flatMap((group) => group ?? [])
    expect(all.filter(({ kind }) => kind === 'new')).toHaveLength(10)
    expect(await moneyOf(world.first)).toEqual({ spent: 0, reserved: 10_000 })
  })

  test('put each request into one batch, claim each batch once, take each call once', async () => {
    await using world = await replicas(2)
    await accepted(world.first, ...Array.from({ length: 60 }, () => ({})))
    const limits = { ...ANY_SIZE, requests: 10 }
    const cuts = Array.from({ length: 12 }, (_, place) => world.stores[place % 2]?.cut(GROUP, limits))
    const batches = (await Promise.all(cuts)).flatMap((batch) => batch ?? [])
    const rest = await world.first.cut(GROUP, ANY_SIZE)
    const all = [...batches, ...(rest ? [rest] : [])]
    expect(all.reduce((sum, { requests }) => sum + requests, 0)).toBe(60)
    const number = batches[0]?.number ?? 0
    const claims = await Promise.all(
      [0, 1, 0, 1].map((replica) => world.stores[replica]?.claim(number, `rep_${replica}`, LONG_MS)),
    )
    expect(claims.filter((claim) => claim !== undefined)).toHaveLength(1)
    await accepted(world.first, ...Array.from({ length: 40 }, () => ({ route: 'direct' as const })))
    const takes = Array.from({ length: 8 }, (_, place) =>
      world.stores[place % 2]?.takeCalls(7, 'rep_1', LONG_MS),
    )
    const taken = (await Promise.all(takes)).flatMap((calls) => calls ?? [])
    const again = await world.first.takeCalls(99, 'rep_1', LONG_MS)
    expect(new Set([...taken, ...again].map(({ request }) => request.id)).size).toBe(40)
    expect(taken.length + again.length).toBe(40)
    await expectSoundBooks(world.settings)
  })

  test('hear of what the other one has ended', async () => {
    await using world = await replicas(2)
    const ids = await accepted(world.first, ...Array.from({ length: 250 }, () => ({})))
    const { number, epoch } = await claimedBatch(world.first)
    const own: string[] = []
    world.first.onDone((done) => own.push(...done))
    const heard = await listening(world.second, world.first)
    await world.first.settle(
      number,
      epoch,
      ids.map((id) => endOf(id)),
    )
    await heard(ids)
    expect(own.filter((id) => ids.includes(id)).sort()).toEqual([...ids].sort())
  })
})

/** Resolves once the listener is in place: what it gives waits until all these were heard of. */
async function listening(store: GatewayStore, other: GatewayStore) {
  const heard = new Set<string>()
  let changed = Promise.withResolvers<void>()
  store.onDone((ids) => {
    for (const id of ids) heard.add(id)
    changed.resolve()
    changed = Promise.withResolvers<void>()
  })
  while (heard.size === 0) {
    const [id = ''] = await accepted(other, { tenant: 'probe' })
    await other.cancelRequest(id, 'probe', { status: 499, body: '{}' })
    await Promise.race([changed.promise, setTimeout(20)])
  }
  return async (ids: readonly string[]) => {
    while (!ids.every((id) => heard.has(id))) await changed.promise
  }
}

describe('a server', () => {
  test('that cannot be reached is said so, without its password', async () => {
    const url = 'postgres://me:secret@127.0.0.1:9/db'
    const refusal = openStore({ kind: 'postgres', url }, systemClock)
    await expect(refusal).rejects.toMatchObject({
      name: 'StoreError',
      code: 'store_unavailable',
      retryable: true,
    })
    await expect(refusal).rejects.toThrow('127.0.0.1:9/db')
    await expect(refusal).rejects.not.toThrow('secret')
  })

  test('that knows no such user refuses for good', async () => {
    const url = server.url.replace(/\/\/.*@/, '//nobody:wrong@')
    await expect(openStore({ kind: 'postgres', url }, systemClock)).rejects.toMatchObject({
      code: 'store_failed',
      retryable: false,
    })
  })

  test.each([
    ['postgres://me:se#cret@127.0.0.1:9/db', 'Invalid URL'],
    ['postgres:me:secret', 'cannot be'],
    ['postgres://me:secret@127.0.0.1:9/db?sslmode=verify-full&sslrootcert=/none', 'no such file'],
  ])('whose URL cannot be used says so: %s', async (url, why) => {
    const refusal = openStore({ kind: 'postgres', url }, systemClock)
    await expect(refusal).rejects.toMatchObject({ name: 'StoreError' })
    await expect(refusal).rejects.toThrow(why)
    await expect(refusal).rejects.not.toThrow(/secret|cret@/)
  })

  test('whose socket on this machine is gone is away', async () => {
    await expect(
      openStore({ kind: 'postgres', url: 'postgres://me@/db?host=/tmp/none' }, systemClock),
    ).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
  })

  test('behind a pooler that keeps no sessions is refused', async ({ skip }) => {
    if (!server.restart) return skip('it may ask for a password')
    await using schema = await temporarySchema(server)
    await using pooler = await transactionPooler(server.url)
    await withClient(pooler.url, async (client) => {
      expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }])
    })
    await expect(
      openStore({ kind: 'postgres', url: pooler.url, schema: schema.name }, systemClock),
    ).rejects.toMatchObject({ code: 'no_sessions', message: expect.stringContaining('pool_mode = session') })
  })

  test('that is gone without a word is known to be so, and is asked by new connections', async () => {
    await using world = await replicas(1)
    const line = await serverLine(server.url)
    const store = await openStore({ ...world.settings, url: line.url, statementMs: 1000 }, systemClock)
    expect(await store.tenants()).toEqual([])
    line.mute('all')
    await expect(store.tenants()).rejects.toMatchObject({ code: 'store_unavailable', retryable: true })
    expect(await insist(() => store.tenants())).toEqual([])
    await line.close()
    await store.close()
  })

  test('whose schema is of a newer release is refused, and left as it is', async () => {
    await using world = await replicas(1)
    await withClient(server.url, (client) =>
      client.query(`insert into ${world.settings.schema}.schema_versions values (99, '9.8.7')`),
    )
    await expect(openStore(world.settings, systemClock)).rejects.toMatchObject({
      code: 'newer_store',
      message: expect.stringContaining('needs Nightshift 9.8.7 or later'),
    })
  })

  test('lives beside other things, in a schema of its own', async () => {
    await using world = await replicas(1)
    await accepted(world.first, {})
    await withClient(server.url, async (client) => {
      const { rows } = await client.query(
        "select distinct schemaname from pg_tables where tablename in ('requests', 'batches') and schemaname = 'public'",
      )
      expect(rows).toEqual([])
    })
  })

  test('commits synchronously, and isolates no more than is needed, whatever its owner chose', async () => {
    await using world = await replicas(1)
    await withClient(server.url, async (client) => {
      const role = 'alter role current_user set'
      await client.query(
        `${role} synchronous_commit to off; ${role} default_transaction_isolation to 'serializable'`,
      )
      const database = await openPostgres(world.settings, systemClock)
      const shown = (name: string) =>
        database.write(async ({ db }) => (await sql.raw(`show ${name}`).execute(db)).rows)
      expect(await shown('synchronous_commit')).toEqual([{ synchronous_commit: 'on' }])
      expect(await shown('transaction_isolation')).toEqual([{ transaction_isolation: 'read committed' }])
      await database.close()
      await client.query('alter role current_user reset all')
    })
  })

  test('lets all that runs end before it is closed', async () => {
    await using world = await replicas(2)
    const calls = world.stores.map((store) => accepted(store, {}, {}))
    await world.first.close()
    expect((await Promise.all(calls)).flat()).toHaveLength(4)
    await expect(world.first.tenants()).rejects.toMatchObject({ code: 'store_closed' })
    await expect(world.first.accept([arrivalOf()], NO_LIMITS)).rejects.toMatchObject({ code: 'store_closed' })
    expect(await world.second.counts()).toMatchObject({ queued: 4 })
  })

  test('refuses one row, and that is no passing failure', async () => {
    await using world = await replicas(1)
    const [id = ''] = await accepted(world.first, {})
    const group = [arrivalOf(), arrivalOf({ id, fingerprint: 'other' })]
    await expect(world.first.accept(group, NO_LIMITS)).rejects.toMatchObject({
      code: 'store_failed',
      retryable: false,
    })
    const zero = [arrivalOf({ idempotencyKey: 'a\0b' })]
    await expect(world.first.accept(zero, NO_LIMITS)).rejects.toMatchObject({
      code: 'store_failed',
      retryable: false,
    })
    expect(await world.first.counts()).toMatchObject({ queued: 1 })
  })
})

describe('a server that goes down', () => {
  test('takes nothing with it that was acknowledged, and replicas go on when it is back', {
    timeout: 120_000,
  }, async ({ skip }) => {
    const { restart } = server
    if (!restart) return skip('not our server')
    await using world = await replicas(2)
    const acknowledged: string[] = []
    let isOver = false
    const accepting = world.stores.map(async (store, replica) => {
      for (let round = 0; !isOver; round++) {
        const arrivals = Array.from({ length: 10 }, (_, place) =>
          arrivalOf({ id: `req_${replica}-${round}-${place}` }),
        )
        const acceptances = await insistOnce(() => store.accept(arrivals, NO_LIMITS))
        acknowledged.push(...(acceptances ?? []).flatMap((one) => (one.kind === 'new' ? [one.id] : [])))
      }
    })
    for (let times = 0; times < 3; times++) {
      const before = acknowledged.length
      while (acknowledged.length < before + 100) await setTimeout(5)
      await restart()
    }
    const before = acknowledged.length
    while (acknowledged.length < before + 100) await setTimeout(5)
    isOver = true
    await Promise.all(accepting)
    expect(new Set(acknowledged).size).toBe(acknowledged.length)
    for (let at = 0; at < acknowledged.length; at += 500) {
      const ids = acknowledged.slice(at, at + 500)
      expect(await world.first.requests(ids)).toHaveLength(ids.length)
    }
    await expectSoundBooks(world.settings)
  })

  test('is listened to again when it is back', { timeout: 60_000 }, async ({ skip }) => {
    const { restart } = server
    if (!restart) return skip('not our server')
    await using world = await replicas(2)
    const ids = await accepted(world.first, {}, {})
    const { number, epoch } = await claimedBatch(world.first)
    await listening(world.second, world.first)
    await restart()
    const heard = await insist(() => listening(world.second, world.first))
    expect(
      await insist(() =>
        world.first.settle(
          number,
          epoch,
          ids.map((id) => endOf(id)),
        ),
      ),
    ).toEqual(ids)
    await heard(ids)
  })

  test('in the midst of a commit: what became of it is found out', { timeout: 60_000 }, async () => {
    await using world = await replicas(1)
    const lost = ['connection', 'server'] as const
    for (const what of lost) {
      if (what === 'server' && !server.restart) continue
      const id = `req_${what}`
      // A trigger that fires at the commit holds it up for long enough to break the connection under it.
      await holdCommits(world.settings.schema)
      const accepting = world.first.accept([arrivalOf({ id })], NO_LIMITS)
      const outcome = accepting.then(
        (acceptances) => acceptances,
        (error: unknown) => error,
      )
      await untilCommitting(world.settings.schema)
      if (what === 'server') await server.restart?.()
      else await endConnections()
      const said = await outcome
      const isThere = (await insist(() => world.first.requests([id]))).length === 1
      expect(isThere ? said : (said as { code?: string }).code).toEqual(
        isThere ? [{ kind: 'new', id }] : 'store_unavailable',
      )
      await insist(() => world.first.counts())
      await letCommits(world.settings.schema)
    }
  })

  test('whose answer to a commit is lost: it was made, and nobody does it again', async () => {
    await using world = await replicas(1)
    const line = await serverLine(server.url)
    const store = await openStore({ ...world.settings, url: line.url }, systemClock)
    line.cutNextCommit()
    const done: string[] = []
    store.onDone((ids) => done.push(...ids))
    expect(await store.accept([arrivalOf({ id: 'req_1' })], NO_LIMITS)).toEqual([
      { kind: 'new', id: 'req_1' },
    ])
    line.cutNextCommit()
    expect(await store.cancelRequest('req_1', 'default', { status: 499, body: '{}' })).toBe('ended')
    expect(line.cuts()).toBe(2)
    expect(done).toEqual(['req_1'])
    expect(await world.first.requests(['req_1'])).toMatchObject([{ state: 'done' }])
    await store.close()
    await line.close()
  })

  test('that does not say in time what became of a commit leaves it in doubt', async () => {
    await using world = await replicas(1)
    const line = await serverLine(server.url)
    const store = await openStore({ ...world.settings, url: line.url }, systemClock)
    await holdCommits(world.settings.schema)
    const refusal = expect(store.accept([arrivalOf({ id: 'req_1' })], NO_LIMITS)).rejects.toMatchObject({
      code: 'in_doubt',
      retryable: true,
    })
    await untilCommitting(world.settings.schema)
    line.cut()
    // As when a statement has waited for the commit for as long as it may.
    await expect
      .poll(async () => {
        let ended = 0
        await withClient(server.url, async (client) => {
          const { rows } = await client.query(
            "select pg_cancel_backend(pid) from pg_stat_activity where wait_event_type = 'Lock' and query like '%commit_marks%' and pid <> pg_backend_pid()",
          )
          ended = rows.length
        })
        return ended
      })
      .toBe(1)
    await endConnections()
    await refusal
    await letCommits(world.settings.schema)
    await store.close()
    await line.close()
  })

  test('killed replicas in turn lose nothing', { timeout: 120_000 }, async () => {
    await using world = await replicas(1)
    const acknowledged = new Set<string>()
    for (let round = 0; round < 3; round++) {
      const victims = ['a', 'b'].map((name) =>
        startProgram(VICTIM, [JSON.stringify(world.settings), `${name}${round}`]),
      )
      await Promise.all(victims.map((victim) => victim.says('settled req_')))
      for (const victim of victims) victim.kill('SIGKILL')
      for (const victim of victims) {
        const { stderr } = await victim.ended
        const lines = stderr.split('\n').slice(0, -1)
        for (const line of lines) for (const id of line.split(' ').slice(1)) if (id) acknowledged.add(id)
      }
      await expectSoundBooks(world.settings)
    }
    const ids = [...acknowledged]
    expect(await world.first.requests(ids)).toHaveLength(ids.length)
  })
})

/** The result, or undefined when the database was away. */
async function insistOnce<Result>(call: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await call()
  } catch (error) {
    expect(error).toMatchObject({ name: 'StoreError', retryable: true })
    await setTimeout(5)
    return undefined
  }
}

const holdCommits = (schema: string) =>
  withClient(server.url, (client) =>
    client.query(`
      create function ${schema}.hold() returns trigger language plpgsql as
        $$ begin perform pg_sleep(60); return null; end $$;
      create constraint trigger hold after insert on ${schema}.bodies deferrable initially deferred
        for each row execute function ${schema}.hold()`),
  )

const letCommits = (schema: string) =>
  withClient(server.url, (client) => client.query(`drop function ${schema}.hold() cascade`))

async function untilCommitting(_schema: string): Promise<void> {
  for (let isCommitting = false; !isCommitting; ) {
    await withClient(server.url, async (client) => {
      const { rows } = await client.query(
        "select 1 from pg_stat_activity where query = 'commit' and wait_event = 'PgSleep'",
      )
      isCommitting = rows.length > 0
    })
  }
}

const endConnections = () =>
  withClient(server.url, (client) =>
    client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where query = 'commit' and wait_event = 'PgSleep'",
    ),
  )
