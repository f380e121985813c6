import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { QueryResultRow } from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Arrival } from '../../../src/gateway/domain/arrival.ts'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { type Clock, systemClock } from '../../../src/util/clock.ts'
import { arrivalOf, LONG_MS, NO_LIMITS } from '../../support/gateway-stores.ts'
import { startPostgres, type TestPostgres, temporarySchema, withClient } from '../../support/postgres.ts'
import { startProgram } from '../../support/program.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'
import { insist } from './insist.ts'
import { serverLine } from './server-line.ts'

const VICTIM = fileURLToPath(new URL('store-victim.ts', import.meta.url))

let server: TestPostgres
beforeAll(async () => {
  server = await startPostgres()
}, 120_000)
afterAll(() => server[Symbol.asyncDispose]())

/** A replica that is reached by a line of its own, and another one. */
async function twoReplicas(clock: Clock = systemClock) {
  const schema = await temporarySchema(server)
  const line = await serverLine(server.url)
  const settings = { kind: 'postgres', url: server.url, schema: schema.name } as const
  const far = await openStore({ ...settings, url: line.url }, clock)
  const near = await openStore(settings, systemClock)
  const query = async (sql: string): Promise<QueryResultRow[]> => {
    const found: QueryResultRow[] = []
    await withClient(server.url, async (client) => {
      found.push(...(await client.query(sql)).rows)
    })
    return found
  }
  const dispose = async () => {
    await line.close()
    for (const store of [far, near]) await store.close()
    await schema[Symbol.asyncDispose]()
  }
  const isHeard = async (): Promise<boolean> =>
    (await query(`select from ${schema.name}.replicas where id = 'rep_far' and voice is not null`)).length > 0
  return { settings, line, far, near, query, isHeard, [Symbol.asyncDispose]: dispose }
}

/** Connections by which replicas are heard. */
const OF_EARS = "from pg_locks where locktype = 'advisory'"

const HELD = { fingerprint: 'same', mode: 'sync', holder: 'rep_far' } as const
const hold = async (store: GatewayStore): Promise<void> => {
  await store.heartbeat('rep_far', LONG_MS)
  expect(await store.accept([arrivalOf(HELD)], NO_LIMITS)).toMatchObject([{ kind: 'new' }])
}
/** The same call again, which would go with what is held if its holder were gone. */
const kindOfTwin = async (store: GatewayStore): Promise<string | undefined> =>
  (await store.accept([arrivalOf({ fingerprint: 'same' })], NO_LIMITS))[0]?.kind

test('what a killed replica held is free at once, and what a living one holds is not', async () => {
  await using world = await twoReplicas()
  const victim = startProgram(VICTIM, [JSON.stringify(world.settings), 'v'])
  await victim.says('accepted req_v-0')
  await world.far.heartbeat('rep_second', 3_600_000)
  const held = { mode: 'sync', holder: 'rep_second' } as const
  const mine = (): readonly Arrival[] => [arrivalOf({ fingerprint: 'mine', ...held })]
  const retried = (place: number) => [arrivalOf({ fingerprint: `v-0-${place}` })]
  await world.far.accept(mine(), NO_LIMITS)
  expect(await world.near.accept(retried(0), NO_LIMITS)).toMatchObject([{ kind: 'new' }])
  expect(await world.near.accept(mine(), NO_LIMITS)).toMatchObject([{ kind: 'new' }])

  victim.kill('SIGKILL')
  await victim.ended
  // The server has yet to hear that the connection is gone.
  await expect
    .poll(() => world.near.accept(retried(1), NO_LIMITS), { timeout: 10_000 })
    .toMatchObject([{ kind: 'joined', id: 'req_v-0-1' }])
  expect(await world.near.accept(mine(), NO_LIMITS)).toMatchObject([{ kind: 'new' }])
})

test('a replica whose connection is lost lives on, by its lease', async () => {
  await using world = await twoReplicas()
  await hold(world.far)
  world.line.shut()
  await world.query(`select pg_terminate_backend(pid) ${OF_EARS}`)
  await expect.poll(() => world.isHeard()).toBe(false)
  expect(await kindOfTwin(world.near)).toBe('new')
  world.line.open()
  await expect
    .poll(async () => {
      await world.far.heartbeat('rep_far', LONG_MS)
      return await world.isHeard()
    })
    .toBe(true)
})

test('a replica whose connection was dropped without a word lives on, by its lease', async () => {
  const clock = new VirtualClock()
  await using world = await twoReplicas(clock)
  await hold(world.far)
  expect(await world.isHeard()).toBe(true)
  world.line.mute('listening')
  const beat = world.far.heartbeat('rep_far', LONG_MS)
  let isOver = false
  void beat.finally(() => {
    isOver = true
  })
  while (!isOver) {
    clock.advance(1000)
    await setTimeout(5)
  }
  expect(await world.isHeard()).toBe(false)
  expect(await kindOfTwin(world.near)).toBe('new')
})

test('a server that starts again after one of its processes crashed has heard nobody yet', async ({
  skip,
}) => {
  if (!server.restart) return skip('not our server')
  await using world = await twoReplicas()
  await hold(world.far)
  const [victim] = await world.query(`select pid ${OF_EARS}`)
  world.line.shut()
  process.kill(Number(victim?.pid), 'SIGKILL')
  const kind = await insist(() => kindOfTwin(world.near))
  expect(await world.isHeard()).toBe(true)
  expect(kind).toBe('new')
})
