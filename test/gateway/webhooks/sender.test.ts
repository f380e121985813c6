import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { StoreTime } from '../../../src/gateway/engine/store-time.ts'
import { WebhookSender } from '../../../src/gateway/engine/webhooks.ts'
import type { WebhookMessage, WebhookPost } from '../../../src/gateway/engine/webhooks-post.ts'
import type { WebhookEnd } from '../../../src/gateway/engine/webhooks-retry.ts'
import { createWholeEngine } from '../../../src/gateway/engine/whole-engine.ts'
import type { GatewayStore } from '../../../src/gateway/store/store.ts'
import { Secret } from '../../../src/util/secret.ts'
import { arrivalOf, endOf } from '../../support/gateway-stores.ts'
import { World } from '../engine/world.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const URL_OF_CALLER = 'https://example.com/hook?token=secret-in-url'

interface Sent extends WebhookMessage {
  readonly at: number
}

/** A world in which webhooks go out, to a receiver that answers what it is told to. */
async function open(answer: (sent: Sent, nth: number) => WebhookEnd | Promise<WebhookEnd> = () => ok) {
  const world = await World.open()
  const sent: Sent[] = []
  const senders = new Set<WebhookSender>()
  const post: WebhookPost = async (message) => {
    const one = { ...message, at: world.clock.now() }
    sent.push(one)
    return answer(one, sent.length)
  }
  const start = (
    {
      secret,
      wrap = (store) => store,
    }: {
      secret?: Secret | undefined
      wrap?: (store: GatewayStore) => GatewayStore
    } = { secret: new Secret('whsec_c2VjcmV0') },
  ) => {
    const { clock, log } = world
    const store = wrap(world.store)
    const sender = new WebhookSender({
      store,
      time: new StoreTime(store, clock),
      clock,
      log,
      secret,
      post,
    })
    senders.add(sender)
    sender.start()
    return sender
  }
  /** Puts requests on record that end at once, each with a webhook. */
  const end = async (count = 1, webhook = URL_OF_CALLER) => {
    const arrivals = Array.from({ length: count }, () => arrivalOf({ webhook, route: 'direct' }))
    await world.store.accept(arrivals, { maxQueued: 1e6 })
    for (const { request, epoch } of await world.store.takeCalls(count, 'rep_x', MINUTE_MS))
      await world.store.settleCall(epoch, endOf(request.id, { route: 'direct' }))
    return arrivals.map(({ id }) => id)
  }
  const untilSent = async (count: number) => {
    for (let rounds = 0; sent.length < count && rounds < 10_000; rounds++) await world.clock.sleep(1_000)
    await world.clock.sleep(1_000)
  }
  const left = async () => (await world.store.dueWebhooks(100, 0)).length
  return {
    world,
    sent,
    start,
    end,
    untilSent,
    left,
    [Symbol.asyncDispose]: async () => {
      for (const sender of senders) await sender.close()
      await world[Symbol.asyncDispose]()
    },
  }
}

const ok: WebhookEnd = { kind: 'answered', status: 200 }
const idOf = ({ headers }: Sent) => headers['webhook-id']

describe('a webhook', () => {
  test('goes out as soon as its request has ended, once', async () => {
    await using hooks = await open()
    hooks.start()
    const [id] = await hooks.end()
    await hooks.untilSent(1)
    await hooks.world.clock.sleep(2 * HOUR_MS)
    expect(hooks.sent).toMatchObject([{ url: URL_OF_CALLER, headers: { 'webhook-id': `evt_${id}` } }])
    expect(JSON.parse(hooks.sent[0]?.body ?? '')).toMatchObject({
      data: { id, answer: { id: `answer to ${id}` } },
    })
    expect(await hooks.left()).toBe(0)
  })

  test('is sent again until it is received, with growing pauses and under the same id', async () => {
    await using hooks = await open((_, nth) => (nth < 4 ? { kind: 'answered', status: 500 } : ok))
    hooks.start()
    await hooks.end()
    await hooks.untilSent(4)
    const pauses = hooks.sent.slice(1).map(({ at }, index) => at - (hooks.sent[index]?.at ?? 0))
    for (const [index, least] of [5_000, 5 * MINUTE_MS, 30 * MINUTE_MS].entries()) {
      expect(pauses[index]).toBeGreaterThanOrEqual(least)
      expect(pauses[index]).toBeLessThan(least + 35_000)
    }
    expect(new Set(hooks.sent.map(idOf)).size).toBe(1)
    expect(new Set(hooks.sent.map(({ headers }) => headers['webhook-signature'])).size).toBe(4)
    await hooks.world.clock.sleep(3 * HOUR_MS)
    expect(hooks.sent).toHaveLength(4)
  })

  test('is given up after the last try, and when its receiver is gone', async () => {
    const gone = new Set<string | undefined>()
    await using hooks = await open((sent) => {
      if (gone.size === 0) gone.add(idOf(sent))
      return gone.has(idOf(sent))
        ? { kind: 'answered', status: 410 }
        : { kind: 'unanswered', reason: 'ECONNREFUSED' }
    })
    hooks.start()
    await hooks.end(2)
    for (let hours = 0; hours < 40; hours++) await hooks.world.clock.sleep(HOUR_MS)
    expect(hooks.sent.filter((one) => gone.has(idOf(one)))).toHaveLength(1)
    expect(hooks.sent.filter((one) => !gone.has(idOf(one)))).toHaveLength(8)
    expect(await hooks.left()).toBe(0)
    expect(hooks.world.events('webhook_given_up')).toHaveLength(2)
  })

  test('is never named with what may be secret in it', async () => {
    await using hooks = await open((_, nth) => (nth === 1 ? { kind: 'unanswered', reason: 'no' } : ok))
    hooks.start()
    await hooks.end()
    await hooks.untilSent(2)
    expect(hooks.world.events('webhook_again')).toMatchObject([{ host: 'example.com' }])
    expect(JSON.stringify(hooks.world.logs)).not.toContain('secret-in-url')
  })

  test('is sent again by another process when the one that sent it dies before it could say so', async () => {
    await using hooks = await open()
    const dead = () => Promise.reject(new Error('it is dead'))
    hooks.start({ secret: new Secret('s'), wrap: (store) => ({ ...store, webhookTried: dead }) })
    await hooks.end()
    await hooks.untilSent(1)
    hooks.start()
    await hooks.untilSent(2)
    expect(new Set(hooks.sent.map(idOf)).size).toBe(1)
    expect(await hooks.left()).toBe(0)
  })

  test('is sent by one of several processes', async () => {
    await using hooks = await open()
    for (let replica = 0; replica < 3; replica++) hooks.start()
    const ids = await hooks.end(100)
    await hooks.untilSent(100)
    await hooks.world.clock.sleep(MINUTE_MS)
    expect(hooks.sent).toHaveLength(100)
    expect(new Set(hooks.sent.map(idOf)).size).toBe(ids.length)
  })

  test('waits for no receiver but its own', async () => {
    const { promise, resolve } = Promise.withResolvers<WebhookEnd>()
    await using hooks = await open((_, nth) => (nth === 1 ? promise : ok))
    hooks.start()
    await hooks.end(40)
    await hooks.untilSent(40)
    expect(hooks.sent).toHaveLength(40)
    resolve(ok)
  })

  test('waits for no receiver that hangs with all it is to be told', async () => {
    const late = { kind: 'unanswered', reason: 'no answer within 15000 ms' } as const
    const hangs = async ({ url }: Sent) => {
      if (!url.includes('hangs')) return ok
      await hooks.world.clock.sleep(15_000)
      return late
    }
    await using hooks = await open(hangs)
    await hooks.end(1_000, 'https://hangs.example/hook')
    hooks.start()
    await hooks.untilSent(32)
    await hooks.end(1)
    await hooks.world.clock.sleep(60_000)
    expect(hooks.sent.filter(({ url }) => url === URL_OF_CALLER)).toHaveLength(1)
    // Whoever takes the first places has them until they are known to hang; then it is one now and then.
    expect(hooks.sent.length).toBeLessThan(40)
  })

  test('that is on its way when the gateway is closed is sent by the next one', async () => {
    const { promise, resolve } = Promise.withResolvers<WebhookEnd>()
    await using hooks = await open((_, nth) => (nth === 1 ? promise : ok))
    const first = hooks.start()
    await hooks.end()
    await hooks.untilSent(1)
    const closed = first.close()
    resolve({ kind: 'unanswered', reason: 'the gateway was stopped' })
    await closed
    hooks.start()
    await hooks.untilSent(2)
    expect(new Set(hooks.sent.map(idOf)).size).toBe(1)
  })

  test('is given up, and said to be, when the gateway has no secret any more', async () => {
    await using hooks = await open()
    await hooks.end()
    hooks.start({ secret: undefined })
    await hooks.world.clock.sleep(2 * MINUTE_MS)
    expect(hooks.sent).toEqual([])
    expect(hooks.world.events('webhook_given_up')).toHaveLength(1)
    expect(await hooks.left()).toBe(0)
  })
})

test('a whole gateway tells of what a batch answered, and of what a call did', async () => {
  const bodies: string[] = []
  const webhookSecret = new Secret('whsec_c2VjcmV0')
  await using world = await World.open({ settings: { webhookSecret } })
  const { store, settings, clock, log } = world
  const engine = createWholeEngine({
    ...{
      store,
      api: world.api(),
      settings,
      clock,
      log,
      replica: 'rep_1',
      spoolDir: join(world.dir, 'spool'),
    },
    post: async ({ body }) => {
      bodies.push(body)
      return ok
    },
  })
  await engine.start()
  const webhook = URL_OF_CALLER
  const ids = await world.ask(
    engine,
    { text: 'a', arrival: { webhook } },
    { text: 'b', arrival: { webhook, route: 'direct' } },
  )
  await world.finish(ids)
  await clock.sleep(5_000)
  const told = bodies.map((body) => JSON.parse(body).data)
  expect(new Map(told.map(({ id, route, status }) => [id, [route, status]]))).toEqual(
    new Map(ids.map((id, index) => [id, [index === 0 ? 'batch' : 'direct', 200]])),
  )
  await engine.close()
})
