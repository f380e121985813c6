import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { QueryResultRow } from 'pg'
import { beforeAll, expect, test } from 'vitest'
import type { Arrival } from '../../../src/gateway/domain/arrival.ts'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { type Clock, systemClock } from '../../../src/util/clock.ts'
import { ANY_SIZE, arrivalOf, batchNumber, GROUP, LONG_MS, NO_LIMITS } from '../../support/gateway-stores.ts'
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

test('what a replica had claimed that is gone is free before its claim ends; its calls are not', async () => {
  await using world = await twoReplicas()
  await world.far.heartbeat('rep_far', LONG_MS)
  await world.near.heartbeat('rep_near', LONG_MS)
  const claimed = async (store: GatewayStore, replica: string) => {
    await store.accept([arrivalOf()], NO_LIMITS)
    const number = batchNumber(await store.cut(GROUP, ANY_SIZE))
    await store.claim(number, replica, LONG_MS)
    return number
  }
  const [lost, kept] = [await claimed(world.far, 'rep_far'), await claimed(world.near, 'rep_near')]
  await world.far.accept([arrivalOf({ route: 'direct' })], NO_LIMITS)
  expect(await world.far.takeCalls(1, 'rep_far', LONG_MS)).toHaveLength(1)
  expect(await world.far.lease('litter', 'rep_far', LONG_MS)).toBe(true)
  expect(await world.near.freeGone()).toBe(0)

  world.line.shut()
  world.line.cut()
  await expect.poll(() => world.near.freeGone(), { timeout: 10_000 }).toBe(1)
  expect(await world.near.claim(lost, 'rep_near', LONG_MS)).toMatchObject({ batch: { phase: 'sealed' } })
  expect(await world.near.lease('litter', 'rep_near', LONG_MS)).toBe(true)
  expect(await world.near.claim(kept, 'rep_other', LONG_MS)).toBeUndefined()
  expect(await world.near.recoverCalls()).toBe(0)
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
  const [victim] = await world.query("select pid from pg_stat_activity where backend_type = 'checkpointer'")
  // It has said that it lives, and cannot take that back.
  world.line.shut()
  world.line.mute('all')
  process.kill(Number(victim?.pid), 'SIGKILL')
  const kind = await insist(() => kindOfTwin(world.near))
  expect(await world.isHeard()).toBe(true)
  expect(kind).toBe('unsure')
})

test('after the server was started nothing is decided by what a replica holds that has not said yet that it lives', async ({
  skip,
}) => {
  const restart = server.restart ?? skip('not our server')
  await using world = await twoReplicas()
  await hold(world.far)
  const back = Promise.withResolvers<void>()
  world.far.onReturn(() => back.resolve())
  await restart()
  expect(await insist(() => kindOfTwin(world.near))).toBe('unsure')
  expect((await world.near.accept([arrivalOf({ fingerprint: 'other' })], NO_LIMITS))[0]?.kind).toBe('new')
  // It is asked to say so as soon as it is connected again.
  await back.promise
  await world.far.heartbeat('rep_far', LONG_MS)
  expect(await kindOfTwin(world.near)).toBe('new')
})

test('what a replica held that was gone before the server was started is free soon', async ({ skip }) => {
  const restart = server.restart ?? skip('not our server')
  await using world = await twoReplicas()
  await hold(world.far)
  world.line.shut()
  await restart()
  expect(await insist(() => kindOfTwin(world.near))).toBe('unsure')
  await expect.poll(() => kindOfTwin(world.near), { timeout: 25_000 }).toBe('joined')
})
