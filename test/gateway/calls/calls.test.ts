import { describe, expect, test } from 'vitest'
import { moneyOf } from '../../support/gateway-stores.ts'
import { asked } from '../engine/world.ts'
import { CallWorld, httpAnswer, MODEL, MOST, priced, questionIn, valuer } from './call-world.ts'

const HOUR_MS = 3_600_000

describe('a direct call', () => {
  test('gives the server’s own answer, and costs what it used', async () => {
    await using world = await CallWorld.open()
    const request = await world.askAndFinish()
    const answer = await world.world.answer(request.id)
    expect(answer).toMatchObject({ ending: 'succeeded', status: 200, route: 'direct', batchId: undefined })
    expect(answer.requestId).toMatch(/^req_/)
    const { usage } = JSON.parse(answer.body)
    const tokens = { input: usage.prompt_tokens, output: usage.completion_tokens }
    const used = { ...tokens, cachedInput: 0, cacheWrite: 0, reasoning: 0 }
    const cost = valuer.costNanoUsd(MODEL, 'direct', used, world.clock.now())
    expect(cost).toBeGreaterThan(0)
    expect(request.costNanoUsd).toBe(cost)
    expect(await moneyOf(world.store)).toEqual({ spent: cost, reserved: 0 })
    expect(world.sent).toBe(1)
  })

  test('sends the body as it is', async () => {
    const bodies: string[] = []
    await using world = await CallWorld.open({
      fetch: (next) => async (input, init) => {
        bodies.push(String(init?.body))
        return next(input, init)
      },
    })
    const bodyText =
      '{"model": "gpt-5-mini","temperature":0.0,"x":1e2,"messages":[{"role":"user","content":"é"}]}'
    await world.askAndFinish({ bodyText })
    expect(bodies).toEqual([bodyText])
  })

  test('is made while there is a place: no more at once than may be', async () => {
    let [at, most] = [0, 0]
    await using world = await CallWorld.open({
      settings: { callConcurrency: 3 },
      emulator: { latency: { directMs: 20_000 } },
      fetch: (next) => async (input, init) => {
        most = Math.max(most, ++at)
        return next(input, init).finally(() => at--)
      },
    })
    await world.ask(Array.from({ length: 10 }, (_, index) => `q${index}`))
    world.start()
    await world.world.finish()
    expect([most, world.sent]).toEqual([3, 10])
  })

  test('that is the caller’s fault ends with the server’s own status and words', async () => {
    const body = {
      error: { message: 'no such thing', type: 'invalid_request_error', param: 'x', code: 'odd' },
    }
    await using world = await CallWorld.open({ emulator: { answer: () => httpAnswer(422, body) } })
    const request = await world.askAndFinish()
    const answer = await world.world.answer(request.id)
    expect(answer).toMatchObject({ ending: 'failed', status: 422 })
    expect(JSON.parse(answer.body)).toEqual(body)
    expect(world.sent).toBe(1)
    expect(await moneyOf(world.store)).toEqual({ spent: 0, reserved: 0 })
  })

  test('that fails at the server is made again, until its attempts are used up', async () => {
    const fault = { fault: 'http-answer', status: 500, error: { message: 'oops' } } as const
    await using world = await CallWorld.open({
      settings: { maxAttempts: 3 },
      emulator: {
        scenario: {
          faults: [
            { ...fault, contains: 'never' },
            { ...fault, contains: 'third', when: { first: 2 } },
          ],
        },
      },
    })
    world.start()
    const ids = await world.ask(['never', 'third'])
    await world.world.finish()
    expect(await world.world.results(ids)).toEqual(['500 null', 're: third'])
    expect(world.sent).toBe(6)
  })

  test('that the account has no room for waits, as long as the server says, and uses up nothing', async () => {
    const headers = { 'retry-after': '90' }
    const error = { message: 'slow down', code: 'rate_limit_exceeded' }
    const fault = { fault: 'http-answer', status: 429, error, headers, when: { first: 5 } } as const
    await using world = await CallWorld.open({
      settings: { maxAttempts: 1 },
      emulator: { scenario: { faults: [fault] } },
    })
    const began = world.clock.now()
    const request = await world.askAndFinish()
    expect(request).toMatchObject({ ending: 'succeeded', attempts: 0 })
    expect(world.sent).toBe(6)
    expect(world.clock.now() - began).toBeGreaterThanOrEqual(5 * 90_000)
  })

  test('never tells a caller that the gateway’s own key is refused: it waits for a better one', async () => {
    const error = { message: 'Incorrect API key provided: sk-secret', code: 'invalid_api_key' }
    const fault = { fault: 'http-answer', status: 401, error, when: { first: 3 } } as const
    await using world = await CallWorld.open({ emulator: { scenario: { faults: [fault] } } })
    const request = await world.askAndFinish()
    expect(request).toMatchObject({ ending: 'succeeded', attempts: 0 })
    expect(world.world.events('upstream_key_refused')).toHaveLength(3)
  })

  test('whose answer is lost is charged the most it can have cost, and made again', async () => {
    const fault = { fault: 'http-lose', acts: true, when: { first: 1 } } as const
    await using world = await CallWorld.open({ emulator: { scenario: { faults: [fault] } } })
    const request = await world.askAndFinish()
    expect(request).toMatchObject({ ending: 'succeeded', attempts: 1 })
    expect(world.bodies).toHaveLength(2)
    const { costNanoUsd = 0 } = request
    expect(costNanoUsd).toBeGreaterThan(MOST.direct)
    expect(costNanoUsd).toBeLessThan(2 * MOST.direct)
    expect(await moneyOf(world.store)).toEqual({ spent: costNanoUsd, reserved: 0 })
  })

  test('whose answers are always lost ends, and every try is charged', async () => {
    const fault = { fault: 'http-lose', acts: true } as const
    await using world = await CallWorld.open({
      settings: { maxAttempts: 3 },
      emulator: { scenario: { faults: [fault] } },
    })
    const request = await world.askAndFinish()
    const answer = await world.world.answer(request.id)
    expect([answer.status, JSON.parse(answer.body).error.code]).toEqual([502, 'connection_lost'])
    expect(world.sent).toBe(3)
    expect(await moneyOf(world.store)).toEqual({ spent: 3 * MOST.direct, reserved: 0 })
  })

  test('that never left is no try, and costs nothing', async () => {
    let refused = 0
    const unreachable = new TypeError('fetch failed', {
      cause: Object.assign(new Error('no'), { code: 'ECONNREFUSED' }),
    })
    await using world = await CallWorld.open({
      settings: { maxAttempts: 1 },
      fetch: (next) => async (input, init) => {
        if (refused++ < 10) throw unreachable
        return next(input, init)
      },
    })
    const request = await world.askAndFinish()
    expect(request).toMatchObject({ ending: 'succeeded', attempts: 0 })
    expect((await moneyOf(world.store)).spent).toBe(request.costNanoUsd)
    expect(request.costNanoUsd).toBeLessThan(MOST.direct)
  })

  test('that its caller cancels meanwhile is charged, and stays cancelled', async () => {
    await using world = await CallWorld.open({ emulator: { latency: { directMs: 60_000 } } })
    const [id = ''] = await world.ask(['question'])
    world.start()
    while (world.sent === 0) await world.clock.sleep(100)
    expect(await world.store.cancelRequest(id, 'default', { status: 499, body: '{}' })).toBe('sent')
    await world.clock.sleep(2 * 60_000)
    const { spent, reserved } = await moneyOf(world.store)
    expect(reserved).toBe(0)
    expect(spent).toBeGreaterThan(0)
    expect((await world.request(id)).ending).toBe('cancelled')
  })

  test('with a body that is no JSON is an error of the server’s, in OpenAI’s form', async () => {
    const fault = { fault: 'http-answer', status: 200, text: '<html>' } as const
    await using world = await CallWorld.open({
      settings: { maxAttempts: 1 },
      emulator: { scenario: { faults: [fault] } },
    })
    const request = await world.askAndFinish()
    const answer = await world.world.answer(request.id)
    expect([answer.ending, answer.status]).toEqual(['failed', 502])
    expect(JSON.parse(answer.body)).toMatchObject({ error: { type: 'server_error' } })
  })
})

describe('a flex call', () => {
  test('asks for its tier, and costs half', async () => {
    await using world = await CallWorld.open()
    const request = await world.askAndFinish({ route: 'flex' })
    expect(world.bodies).toMatchObject([{ service_tier: 'flex' }])
    expect((await world.world.answer(request.id)).route).toBe('flex')
    const { usage } = JSON.parse((await world.world.answer(request.id)).body)
    const used = {
      input: usage.prompt_tokens,
      output: usage.completion_tokens,
      cachedInput: 0,
      cacheWrite: 0,
      reasoning: 0,
    }
    expect(request.costNanoUsd).toBe(valuer.costNanoUsd(MODEL, 'flex', used, world.clock.now()))
  })

  test('that is answered at the default tier costs the full price, which was set aside', async () => {
    await using world = await CallWorld.open({
      fetch: (next) => async (input, init) => {
        const response = await next(input, init)
        return new Response((await response.text()).replace('"flex"', '"default"'), response)
      },
    })
    await world.store.putTenant({ name: 'default', maxNanoUsd: 2 * MOST.direct, callsPerMinute: undefined })
    await world.store.accept([asked({ text: 'other', arrival: priced({ route: 'flex' }) })], { maxQueued: 9 })
    expect(await moneyOf(world.store)).toEqual({ spent: 0, reserved: MOST.direct })
    const request = await world.askAndFinish({ route: 'flex' })
    const { usage } = JSON.parse((await world.world.answer(request.id)).body)
    const used = {
      input: usage.prompt_tokens,
      output: usage.completion_tokens,
      cachedInput: 0,
      cacheWrite: 0,
      reasoning: 0,
    }
    expect(request.costNanoUsd).toBe(valuer.costNanoUsd(MODEL, 'direct', used, world.clock.now()))
  })

  test('of a model without flex goes directly when its deadline is near, and to a batch otherwise', async () => {
    await using world = await CallWorld.open({ emulator: { flexModels: [] } })
    const deadlineAt = world.clock.now() + 5 * 60_000
    const [near = ''] = await world.ask(['near'], { route: 'flex', deadlineAt })
    const [far = ''] = await world.ask(['far'], {
      route: 'flex',
      deadlineAt: world.clock.now() + 20 * HOUR_MS,
    })
    const [never = ''] = await world.ask(['never'], { route: 'flex' })
    world.start()
    await world.world.finish([near], HOUR_MS)
    expect((await world.world.answer(near)).route).toBe('direct')
    await world.clock.sleep(10_000)
    expect(await world.request(far)).toMatchObject({ state: 'queued', route: 'batch' })
    expect(await world.request(never)).toMatchObject({ state: 'queued', route: 'batch' })
    // One call showed that the model has no flex.
    expect(world.sent).toBeLessThanOrEqual(2 + 2)
  })

  test('without room waits for some, and goes directly at the last moment', async () => {
    await using world = await CallWorld.open({
      emulator: { scenario: { faults: [{ fault: 'reply-flex-refused' }] } },
    })
    const deadlineAt = world.clock.now() + 20 * 60_000
    const request = await world.askAndFinish({ route: 'flex', deadlineAt })
    expect((await world.world.answer(request.id)).route).toBe('direct')
    expect(request.attempts).toBe(0)
    expect(world.sent).toBeGreaterThan(5)
    const leftMs = deadlineAt - (request.finishedAt ?? 0)
    expect(leftMs).toBeGreaterThan(0)
    expect(leftMs).toBeLessThan(5 * 60_000)
  })

  test('without room and without a deadline becomes one of a batch', async () => {
    await using world = await CallWorld.open({
      emulator: { scenario: { faults: [{ fault: 'reply-flex-refused' }] } },
    })
    const [id = ''] = await world.ask(['question'], { route: 'flex' })
    world.start()
    await world.clock.sleep(60_000)
    expect(await world.request(id)).toMatchObject({
      state: 'queued',
      route: 'batch',
      reservedNanoUsd: MOST.batch,
    })
    expect(world.sent).toBe(1)
  })

  test('is never made for embeddings', async () => {
    await using world = await CallWorld.open({
      emulator: { answer: (request) => questionIn(request) && [[0.5]] },
    })
    const deadlineAt = world.clock.now() + 60_000
    const parts = {
      route: 'flex',
      endpoint: '/v1/embeddings',
      model: 'text-embedding-3-small',
      deadlineAt,
    } as const
    await world.ask(['question'], parts)
    world.start()
    await world.world.finish()
    expect(world.bodies[0]).not.toHaveProperty('service_tier')
  })
})

describe('what its caller lets it cost', () => {
  test('sends a request back to the batch that may pass it on its own', async () => {
    await using world = await CallWorld.open()
    const [id = ''] = await world.ask(['question'], { maxNanoUsd: MOST.direct - 1 })
    world.start()
    await world.clock.sleep(60_000)
    expect(await world.request(id)).toMatchObject({ state: 'queued', route: 'batch' })
    expect(world.sent).toBe(0)
  })

  test('ends the tries of one whose answers are lost', async () => {
    const fault = { fault: 'http-lose', acts: true } as const
    await using world = await CallWorld.open({
      settings: { maxAttempts: 9 },
      emulator: { scenario: { faults: [fault] } },
    })
    const maxNanoUsd = Math.floor(2.5 * MOST.direct)
    const request = await world.askAndFinish({ maxNanoUsd })
    expect(request.ending).toBe('failed')
    expect(world.sent).toBe(2)
    expect(request.costNanoUsd).toBeLessThanOrEqual(maxNanoUsd)
  })
})

describe('a model that the server slows down', () => {
  test('does not keep the calls of others waiting', async () => {
    const headers = { 'retry-after': '600' }
    const fault = { fault: 'http-answer', status: 429, headers, model: 'gpt-5', when: { first: 3 } } as const
    await using world = await CallWorld.open({
      settings: { callConcurrency: 2 },
      emulator: { scenario: { faults: [fault] } },
    })
    const slow = await world.ask(['s1', 's2', 's3', 's4', 's5', 's6'], { model: 'gpt-5' })
    const others = await world.ask(['o1', 'o2', 'o3', 'o4'])
    const began = world.clock.now()
    world.start()
    await world.world.finish(others, HOUR_MS)
    expect(world.clock.now() - began).toBeLessThan(60_000)
    expect(await world.store.finishedAmong(slow)).toEqual([])
    await world.world.finish(slow, 3 * HOUR_MS)
    expect(world.clock.now() - began).toBeGreaterThanOrEqual(1_200_000)
    expect((await world.store.requests(slow)).every(({ attempts }) => attempts === 0)).toBe(true)
    // Nothing was sent in vain while it was told to wait.
    expect(world.sent).toBe(10 + 3)
  })
})
