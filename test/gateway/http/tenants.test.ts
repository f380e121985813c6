import { hash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { Secret } from '../../../src/util/secret.ts'
import { AnswerGate, ask, CallLog, chat, openRig, type Rig, type RigOptions, until } from './rig.ts'

const bearer = (key: string) => ({ authorization: `Bearer ${key}` })
const OWN = bearer('own-key')
const ALICE = bearer('alices-key')
const BOB = bearer('bobs-key')

interface Limits {
  readonly maxNanoUsd?: number
  readonly callsPerMinute?: number
}

/** A gateway with a key of its own, and two tenants that have theirs; the limits are those of one. */
async function openShared(options: RigOptions = {}, limits: Limits = {}): Promise<Rig> {
  const dataDir = await mkdtemp(join(tmpdir(), 'nightshift-gateway-'))
  const store = await openStore({ kind: 'sqlite', dataDir, serve: false }, systemClock)
  for (const tenant of ['alice', 'bob'])
    await store.addKey({
      id: `key_${tenant}`,
      tenant,
      name: '',
      hash: hash('sha256', `${tenant}s-key`, 'base64url'),
      createdAt: 0,
      revokedAt: undefined,
    })
  await store.putTenant({
    name: 'alice',
    maxNanoUsd: limits.maxNanoUsd,
    callsPerMinute: limits.callsPerMinute,
  })
  await store.close()
  const access = { kind: 'keys' as const, key: new Secret('own-key') }
  const rig = await openRig({ ...options, dataDir, settings: { access, ...options.settings } })
  return {
    ...rig,
    [Symbol.asyncDispose]: async () => {
      await rig[Symbol.asyncDispose]()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

const get = (rig: Rig, path: string, headers: Readonly<Record<string, string>>) =>
  rig.gateway.app.request(path, { headers })
const listSchema = z.object({ data: z.array(z.looseObject({ id: z.string() })) })
const batchIds = async (rig: Rig, headers: Readonly<Record<string, string>>) =>
  listSchema.parse(await (await get(rig, '/v1/batches', headers)).json()).data.map(({ id }) => id)
const idOf = (response: Response) => response.headers.get('x-nightshift-request-id') ?? ''

describe('tenants', () => {
  test('see neither each others batches nor requests, nor share an answer', async () => {
    const gate = new AnswerGate()
    await using rig = await openShared({
      emulator: { answer: gate.answer },
      settings: { cacheMs: 60_000 },
    })
    const headers = { 'x-nightshift-mode': 'async', 'idempotency-key': 'the-same' }
    const [alices, bobs] = [
      await ask(rig, chat('a'), { headers: { ...headers, ...ALICE } }),
      await ask(rig, chat('a'), { headers: { ...headers, ...BOB } }),
    ]
    expect([alices.status, bobs.status]).toEqual([202, 202])
    expect(idOf(alices)).not.toBe(idOf(bobs))
    await until(
      async () => (await batchIds(rig, ALICE)).length === 1 && (await batchIds(rig, BOB)).length === 1,
    )
    const [batch = ''] = await batchIds(rig, ALICE)
    expect(await batchIds(rig, BOB)).not.toContain(batch)
    expect(await batchIds(rig, OWN)).toEqual([])
    for (const path of [`/v1/batches/${batch}`, `/v1/requests/${idOf(alices)}`]) {
      expect((await get(rig, path, ALICE)).status).toBe(200)
      expect((await get(rig, path, BOB)).status).toBe(404)
    }
    const steal = { method: 'DELETE', headers: BOB }
    expect((await rig.gateway.app.request(`/v1/requests/${idOf(alices)}`, steal)).status).toBe(404)
    const cancel = { method: 'POST', headers: BOB }
    expect((await rig.gateway.app.request(`/v1/batches/${batch}/cancel`, cancel)).status).toBe(404)
    expect((await get(rig, `/v1/batches?after=${batch}`, BOB)).status).toBe(404)
    gate.open()
  })

  test('need a key for all but the health of the gateway', async () => {
    await using rig = await openShared()
    const { app } = rig.gateway
    for (const path of ['/v1/batches', '/v1/models', '/metrics', '/v1/requests/req_1'])
      expect((await app.request(path)).status).toBe(401)
    expect((await ask(rig, chat('a'))).status).toBe(401)
    expect((await app.request('/admin/flush', { method: 'POST' })).status).toBe(401)
    expect([(await app.request('/healthz')).status, (await app.request('/healthcheck')).status]).toEqual([
      200, 200,
    ])
  })

  test('do not see the metrics, which are of all; the operator does', async () => {
    await using rig = await openShared()
    const seen = await get(rig, '/metrics', ALICE)
    expect([seen.status, await seen.json()]).toMatchObject([403, { error: { code: 'operators_only' } }])
    expect((await get(rig, '/metrics', OWN)).status).toBe(200)
  })

  test('are named in the log with the ids of their requests; probes are logged when they fail', async () => {
    const log = new CallLog()
    await using rig = await openShared({ log, settings: { mode: 'async' } })
    const accepted = await ask(rig, chat('a'), { headers: ALICE })
    for (const path of ['/healthz', '/healthcheck', '/metrics']) await get(rig, path, OWN)
    await get(rig, '/metrics', ALICE)
    expect(log.calls).toMatchObject([
      { tenant: 'alice', status: 202, request: idOf(accepted), route: '/v1/chat/completions' },
      { tenant: 'alice', status: 403, route: '/metrics' },
    ])
  })

  test('who have used up their calls of a minute are told when to come back', async () => {
    await using rig = await openShared({ settings: { mode: 'async' } }, { callsPerMinute: 2 })
    const calls = [
      await ask(rig, chat('a'), { headers: ALICE }),
      await ask(rig, chat('b'), { headers: ALICE }),
    ]
    expect(
      calls.map(({ status, headers }) => [status, headers.get('x-ratelimit-remaining-requests')]),
    ).toEqual([
      [202, '1'],
      [202, '0'],
    ])
    const refused = await ask(rig, chat('c'), { headers: ALICE })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '30'])
    expect(await refused.json()).toMatchObject({ error: { type: 'requests', code: 'rate_limit_exceeded' } })
    expect((await get(rig, '/v1/batches', ALICE)).status).toBe(200)
    expect((await ask(rig, chat('c'), { headers: BOB })).status).toBe(202)
  })

  test('who have spent what they may are told so, and clients do not try again', async () => {
    await using rig = await openShared({ settings: { mode: 'async' } }, { maxNanoUsd: 1000 })
    const dear = chat('a', { max_completion_tokens: 1000 })
    const refused = await ask(rig, dear, { headers: ALICE })
    expect([refused.status, refused.headers.get('x-should-retry')]).toEqual([429, 'false'])
    expect(await refused.json()).toMatchObject({
      error: { type: 'insufficient_quota', code: 'insufficient_quota' },
    })
    const unknown = await ask(rig, { ...dear, model: 'a-model-of-ours' }, { headers: ALICE })
    expect(unknown.status).toBe(400)
    expect(await unknown.json()).toMatchObject({ error: { code: 'cost_unbounded' } })
    expect((await ask(rig, dear, { headers: BOB })).status).toBe(202)
  })

  test('flush their own queue, and the operator all of them', async () => {
    await using rig = await openShared({ settings: { mode: 'async', windowMs: 3_600_000 } })
    const flush = async (headers: Readonly<Record<string, string>>) =>
      (await rig.gateway.app.request('/admin/flush', { method: 'POST', headers })).json()
    for (const headers of [ALICE, BOB]) await ask(rig, chat('a'), { headers })
    expect(await flush(ALICE)).toEqual({ object: 'flush', batches: 1 })
    expect(await flush(ALICE)).toEqual({ object: 'flush', batches: 0 })
    expect(await flush(OWN)).toEqual({ object: 'flush', batches: 1 })
  })
})

describe('DELETE /v1/requests/{id}', () => {
  const remove = (rig: Rig, id: string) => rig.gateway.app.request(`/v1/requests/${id}`, { method: 'DELETE' })

  test('ends what waits, and whoever is held for it hears that', async () => {
    await using rig = await openRig({ settings: { windowMs: 3_600_000 } })
    const { id } = z
      .object({ id: z.string() })
      .parse(
        await (
          await ask(rig, chat('a'), { headers: { 'x-nightshift-mode': 'async', 'idempotency-key': 'k' } })
        ).json(),
      )
    const waiting = ask(rig, chat('a'), { headers: { 'idempotency-key': 'k' } })
    await until(async () =>
      (await (await rig.gateway.app.request('/metrics')).text()).includes('held_calls 1'),
    )
    const removed = await remove(rig, id)
    expect([removed.status, await removed.json()]).toMatchObject([200, { id, status: 'cancelled' }])
    const told = await waiting
    expect([told.status, told.headers.get('x-should-retry')]).toEqual([499, 'false'])
    expect(await told.json()).toMatchObject({ error: { code: 'request_cancelled' } })
    expect((await remove(rig, id)).status).toBe(409)
  })

  test('of what is not there is a 404', async () => {
    await using rig = await openRig()
    const response = await remove(rig, 'req_of_nobody')
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ error: { code: 'request_not_found', param: 'id' } })
  })
})

describe('GET /v1/batches', () => {
  test.each([
    ['?limit=0', 400, 'integer_below_min_value'],
    ['?limit=101', 400, 'integer_above_max_value'],
    ['?limit=ten', 400, 'invalid_type'],
    ['?after=batch_of_nobody', 404, 'batch_not_found'],
    ['/batch_of_nobody', 404, 'batch_not_found'],
  ])('%s is a %i', async (query, status, code) => {
    await using rig = await openRig()
    const response = await rig.gateway.app.request(`/v1/batches${query}`)
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ error: { type: 'invalid_request_error', code } })
  })

  test('of none is an empty page, with all that pages have', async () => {
    await using rig = await openRig()
    expect(await (await rig.gateway.app.request('/batches')).json()).toEqual({
      object: 'list',
      data: [],
      first_id: null,
      last_id: null,
      has_more: false,
    })
  })

  test('are pages of batch objects as the server has them', async () => {
    await using rig = await openRig()
    for (const content of ['a', 'b', 'c']) await ask(rig, chat(content))
    const first = z
      .object({
        data: z.array(z.looseObject({ id: z.string() })),
        last_id: z.string(),
        has_more: z.boolean(),
      })
      .parse(await (await rig.gateway.app.request('/v1/batches?limit=2')).json())
    expect([first.data.length, first.has_more, first.last_id]).toEqual([2, true, first.data[1]?.id])
    const upstream = await (await rig.emulator.app.request(`/v1/batches/${first.last_id}`)).text()
    expect(await (await rig.gateway.app.request(`/v1/batches/${first.last_id}`)).text()).toBe(upstream)
    expect(first.data[1]).toEqual(JSON.parse(upstream))
    const second = await (await rig.gateway.app.request(`/v1/batches?limit=2&after=${first.last_id}`)).json()
    expect(second).toMatchObject({ data: [{ object: 'batch' }], has_more: false })
  })

  test('can be cancelled while they run, and whoever waits for them hears that', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const waiting = ask(rig, chat('a'))
    await until(() => gate.asked === 1)
    const [id = ''] = await batchIds(rig, {})
    const cancelled = await rig.gateway.app.request(`/v1/batches/${id}/cancel`, { method: 'POST' })
    expect(cancelled.status).toBe(200)
    expect(await cancelled.json()).toMatchObject({ id, status: 'cancelling' })
    gate.open()
    expect([200, 499]).toContain((await waiting).status)
  })
})
