import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Engine } from '../../../src/gateway/engine/engine.ts'
import { createFront } from '../../../src/gateway/http/front.ts'
import { Metrics } from '../../../src/gateway/http/metrics/metrics.ts'
import { silentLog } from '../../../src/gateway/log.ts'
import { GroupWriter } from '../../../src/gateway/store/group-writer.ts'
import { openStore } from '../../../src/gateway/store/open-store.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { StoreError } from '../../../src/gateway/store/store-error.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'
import { chat, settingsFor, until } from './rig.ts'

const REPLICA = 'rep_1'
const idle: Engine = {
  arrived: () => undefined,
  flush: async () => 0,
  look: async () => undefined,
  cancel: async () => undefined,
  start: async () => undefined,
  close: async () => undefined,
}

interface PostOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

interface State {
  /** The store hears nothing of what is held no longer. */
  isDeaf: boolean
  beforeAccept: () => Promise<void>
  beforeAnswers: () => void
}

/** The HTTP side over a real store: what that is told is heard. Nothing is sent; `answerAll` does as if. */
async function open(cacheMs = 0) {
  const dataDir = await mkdtemp(join(tmpdir(), 'nightshift-gateway-'))
  const clock = new VirtualClock(Date.now())
  const store = await openStore({ kind: 'sqlite', dataDir, serve: true }, clock)
  const letGo: string[] = []
  const delivered: string[] = []
  const state: State = { isDeaf: false, beforeAccept: async () => undefined, beforeAnswers: () => undefined }
  const reach = (): void => {
    if (state.isDeaf) throw new StoreError('store_unavailable', 'away', { retryable: true })
  }
  const heard: GatewayStore = {
    ...store,
    accept: async (arrivals, limits) => {
      await state.beforeAccept()
      return store.accept(arrivals, limits)
    },
    answers: (ids) => {
      state.beforeAnswers()
      return store.answers(ids)
    },
    letGo: async (ids, replica) => {
      reach()
      letGo.push(...ids)
      await store.letGo(ids, replica)
    },
    delivered: async (ids) => {
      reach()
      delivered.push(...ids)
      await store.delivered(ids)
    },
  }
  await store.heartbeat(REPLICA, 60_000)
  const writer = new GroupWriter({ store: heard, replica: REPLICA, limits: { maxQueued: 1000 } })
  const front = createFront({
    settings: settingsFor(dataDir, { cacheMs }),
    store: heard,
    writer,
    engine: idle,
    advice: { route: () => 'direct', mostNanoUsd: () => undefined },
    metrics: new Metrics(),
    replica: REPLICA,
    clock,
    log: silentLog,
  })
  front.open()
  return {
    state,
    letGo,
    delivered,
    store,
    post: (content: string, { headers = {}, signal }: PostOptions = {}) =>
      front.app.request('/v1/chat/completions', {
        method: 'POST',
        headers,
        body: JSON.stringify(chat(content)),
        ...(signal && { signal }),
      }),
    get: (path: string) => front.app.request(path),
    answerAll: async () => {
      const end = { kind: 'ended', ending: 'succeeded', status: 200, body: '{}', route: 'direct' } as const
      for (const { epoch, request } of await store.takeCalls(100, REPLICA, 60_000))
        await store.settleCall(epoch, { ...end, id: request.id })
    },
    [Symbol.asyncDispose]: async () => {
      front.stop()
      await front.close()
      await writer.idle()
      await store.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

const idOf = (response: Response) => response.headers.get('x-nightshift-request-id') ?? ''
const routeOf = (response: Response) => response.headers.get('x-nightshift-route')
const AT_ONCE = { headers: { prefer: 'wait=0' } }

describe('while the store cannot be told', () => {
  test('who is told to come back is known when it does, as soon as the store is back', async () => {
    await using gateway = await open()
    const { state, post } = gateway
    state.isDeaf = true
    const first = await Promise.all(['a', 'b', 'c'].map((content) => post(content, AT_ONCE)))
    expect(first.map(({ status }) => status)).toEqual([422, 422, 422])
    state.isDeaf = false
    const again = await Promise.all(['a', 'b', 'c'].map((content) => post(content, AT_ONCE)))
    expect(again.map(idOf)).toEqual(first.map(idOf))
  })

  test('that an answer was delivered, that is said later, though the cache has given it again since', async () => {
    await using gateway = await open(60_000)
    const { state, delivered, post, answerAll } = gateway
    const id = idOf(await post('a', AT_ONCE))
    await answerAll()
    state.isDeaf = true
    expect(routeOf(await post('a', { headers: { 'cache-control': 'no-cache' } }))).toBe('direct')
    expect(routeOf(await post('a'))).toBe('cache')
    state.isDeaf = false
    await post('b', AT_ONCE)
    expect(delivered).toEqual([id])
  })
})

test('a call whose caller goes away before it is on record is not put there', async () => {
  await using gateway = await open()
  const { state, store, post } = gateway
  const written = Promise.withResolvers<void>()
  let writing = 0
  state.beforeAccept = () => {
    writing++
    return written.promise
  }
  const first = post('a', AT_ONCE)
  await until(() => writing === 1)
  const leaving = new AbortController()
  const second = post('b', { ...AT_ONCE, signal: leaving.signal })
  // It is read, and waits for the first to be written.
  for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate)
  leaving.abort()
  written.resolve()
  expect([(await first).status, (await second).status]).toEqual([422, 499])
  const { queued, calling } = await store.counts()
  expect(queued + calling).toBe(1)
})

test('an answer whose caller is gone when it would be given is let go of once, and given to the next', async () => {
  await using gateway = await open()
  const { state, letGo, delivered, post, answerAll } = gateway
  const id = idOf(await post('a', AT_ONCE))
  await answerAll()
  const leaving = new AbortController()
  state.beforeAnswers = () => leaving.abort()
  await post('a', { signal: leaving.signal })
  await until(() => letGo.length === 2)
  expect([letGo, delivered]).toEqual([[id, id], []])
  expect(idOf(await post('a'))).toBe(id)
  await until(() => delivered.length > 0)
  expect([letGo, delivered]).toEqual([[id, id], [id]])
})

test('an answer that is fetched again and again is delivered once', async () => {
  await using gateway = await open()
  const { store, delivered, post, get, answerAll } = gateway
  const id = idOf(await post('a', { headers: { 'x-nightshift-mode': 'async' } }))
  await answerAll()
  await get(`/v1/requests/${id}`)
  await until(async () => (await store.request(id, 'default'))?.deliveredAt !== undefined)
  for (let look = 0; look < 3; look++) expect((await get(`/v1/requests/${id}`)).status).toBe(200)
  // What would be told is told by then.
  await post('b', AT_ONCE)
  expect(delivered).toEqual([id])
})
