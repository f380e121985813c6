import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { AnswerGate, ask, chat, held, openRig, type Rig, requestsIn, until } from './rig.ts'

const BODIES = {
  '/v1/chat/completions': chat('hello'),
  '/v1/responses': { model: 'gpt-5-mini', input: 'hello' },
  '/v1/embeddings': { model: 'text-embedding-3-small', input: ['hello', 'world'] },
} as const
const ENDPOINTS = Object.entries(BODIES)
const PATHS = ENDPOINTS.flatMap(([path, body]) => [
  [path, body] as const,
  [path.slice('/v1'.length), body] as const,
])
const OBJECTS: Readonly<Record<string, string>> = {
  '/v1/chat/completions': 'chat.completion',
  '/v1/responses': 'response',
  '/v1/embeddings': 'list',
}
const objectOf = (path: string) => OBJECTS[path.startsWith('/v1') ? path : `/v1${path}`]

const mode = (name: string) => ({ 'x-nightshift-mode': name })
const idOf = (response: Response) => response.headers.get('x-nightshift-request-id') ?? ''

describe.each(PATHS)('POST %s', (path, body) => {
  test('is held until its answer is there', async () => {
    await using rig = await openRig()
    const response = await ask(rig, body, { path })
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ object: objectOf(path) })
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/json',
      'x-request-id': expect.stringMatching(/^req_/),
      'x-nightshift-request-id': expect.stringMatching(/^req_/),
      'x-nightshift-route': 'batch',
      'x-nightshift-batch-id': expect.stringMatching(/^batch_/),
    })
  })

  test('async: 202 at once, and its result where Location says', async () => {
    await using rig = await openRig()
    const response = await ask(rig, body, { path, headers: mode('async') })
    expect(response.status).toBe(202)
    const location = response.headers.get('location') ?? ''
    expect(await response.json()).toEqual({
      id: idOf(response),
      object: 'request',
      status: 'queued',
      location,
    })
    expect(location).toBe(`${path.startsWith('/v1') ? '/v1' : ''}/requests/${idOf(response)}`)
    const result = await untilDone(rig, location)
    expect(result).toMatchObject({
      id: idOf(response),
      object: 'request',
      status: 'completed',
      endpoint: path.startsWith('/v1') ? path : `/v1${path}`,
      mode: 'async',
      route: 'batch',
      batch_id: expect.stringMatching(/^batch_/),
      cost_usd: expect.any(Number),
      result: { status_code: 200, request_id: expect.any(String), body: { object: objectOf(path) } },
    })
    const again = await ask(rig, body, { path, headers: mode('async') })
    expect(again.status).toBe(200)
    expect(await again.json()).toEqual(result.result?.body)
  })

  test('poll: 422 at once until it is done, and the answer for whoever asks again', async () => {
    await using rig = await openRig()
    const first = await ask(rig, body, { path, headers: mode('poll') })
    expect(first.status).toBe(422)
    expect(Number(first.headers.get('retry-after'))).toBeLessThanOrEqual(60)
    expect(await first.json()).toMatchObject({
      error: { type: 'invalid_request_error', code: 'request_pending' },
    })
    let last = first
    await until(async () => {
      last = await ask(rig, body, { path, headers: mode('poll') })
      return last.status !== 422
    })
    expect(last.status).toBe(200)
    expect(idOf(last)).toBe(idOf(first))
    const answer = await last.json()
    const again = await ask(rig, body, { path, headers: mode('poll') })
    expect(await again.json()).toEqual(answer)
    expect(await requestsIn(rig)).toBe(1)
  })

  test('cache: 404 for what is not stored, and nothing is begun', async () => {
    await using rig = await openRig()
    const absent = await ask(rig, body, { path, headers: mode('cache') })
    expect(absent.status).toBe(404)
    expect(await absent.json()).toMatchObject({ error: { code: 'not_in_cache' } })
    expect(await requestsIn(rig)).toBe(0)
    const answer = await (await ask(rig, body, { path })).json()
    const cached = await ask(rig, body, { path, headers: mode('cache') })
    expect(await cached.json()).toEqual(answer)
    expect(cached.headers.get('x-nightshift-route')).toBe('cache')
  })
})

const streams = [
  ['/v1/chat/completions', chat('hello', { stream: true }), 'data: [DONE]\n\n'],
  ['/v1/responses', { model: 'gpt-5-mini', input: 'hello', stream: true }, 'event: response.completed\n'],
] as const

describe.each(streams)('a stream of %s', (path, body, end) => {
  test('begins with its events when the answer is there soon', async () => {
    await using rig = await openRig()
    const response = await ask(rig, body, { path })
    expect(response.status).toBe(200)
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      'x-nightshift-route': 'batch',
    })
    const text = await response.text()
    expect(text).not.toContain(': waiting')
    expect(text).toContain(end)
  })

  test('says that it lives until the answer is there', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ settings: { heartbeatMs: 250 }, emulator: { answer: gate.answer } })
    const response = await ask(rig, body, { path })
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    for (let done = false; !done; ) {
      const read = await reader?.read()
      done = read?.done ?? true
      text += read?.value ?? ''
      if (text.split(': waiting').length > 3) gate.open()
    }
    expect(text.startsWith(': waiting\n\n: waiting\n\n: waiting\n\n')).toBe(true)
    expect(text).toContain('answer to')
    expect(text).toContain(end)
  })

  test('keeps the status of an error that is there soon', async () => {
    await using rig = await openRig({ settings: { maxAttempts: 1 }, emulator: { failureRate: 1 } })
    const response = await ask(rig, body, { path })
    expect(response.status).toBe(500)
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(response.headers.get('x-should-retry')).toBe('false')
    expect(await response.json()).toMatchObject({ error: { type: 'server_error' } })
  })

  test('that is only to be looked for is given as events, too', async () => {
    await using rig = await openRig()
    await (await ask(rig, body, { path })).text()
    const cached = await ask(rig, body, { path, headers: mode('cache') })
    expect(await cached.text()).toContain(end)
  })
})

test('an error comes with its own status, to its own caller', async () => {
  await using rig = await openRig({
    emulator: {
      answer: ({ body }) => {
        if (JSON.stringify(body).includes('bad')) throw new Error('no')
        return 'fine'
      },
    },
    settings: { maxAttempts: 1 },
  })
  const [good, bad] = await Promise.all([ask(rig, chat('good')), ask(rig, chat('bad'))])
  expect([good?.status, bad?.status]).toEqual([200, 500])
})

describe('a server whose mode is', () => {
  test('poll answers 422, and holds the call of whoever asks for that', async () => {
    await using rig = await openRig({ settings: { mode: 'poll' } })
    expect((await ask(rig, chat('a'))).status).toBe(422)
    expect((await ask(rig, chat('b'), { headers: mode('sync') })).status).toBe(200)
  })
})

describe('Prefer', () => {
  test('wait=0 is told at once to come back, and comes back to the same request', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const first = await ask(rig, chat('a'), { headers: { prefer: 'wait=0' } })
    expect(first.status).toBe(422)
    expect(first.headers.get('x-should-retry')).toBe('true')
    expect(first.headers.get('preference-applied')).toBe('wait=0')
    gate.open()
    const second = await ask(rig, chat('a'))
    expect([second.status, idOf(second)]).toEqual([200, idOf(first)])
  })

  test('respond-async, wait=N gives the answer if it is there in time', async () => {
    await using rig = await openRig()
    const response = await ask(rig, chat('a'), { headers: { prefer: 'respond-async, wait=20' } })
    expect([response.status, response.headers.get('preference-applied')]).toEqual([
      200,
      'respond-async, wait=20',
    ])
  })

  test('respond-async, wait=N gives 202 if it is not', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const response = await ask(rig, chat('a'), { headers: { prefer: 'respond-async, wait=0' } })
    expect(response.status).toBe(202)
    expect(response.headers.get('location')).toBe(`/v1/requests/${idOf(response)}`)
    gate.open()
  })
})

test('a held call ends before its client gives up, and is free for whoever asks again', async () => {
  const gate = new AnswerGate()
  await using rig = await openRig({ emulator: { answer: gate.answer } })
  const headers = { 'x-stainless-read-timeout': '0.3' }
  const first = await ask(rig, chat('a'), { headers })
  expect(first.status).toBe(422)
  expect(await held(rig)).toBe(0)
  const second = ask(rig, chat('a'))
  await until(async () => (await held(rig)) === 1)
  gate.open()
  expect(idOf(await second)).toBe(idOf(first))
})

const requestSchema = z.looseObject({
  status: z.string(),
  result: z.looseObject({ body: z.unknown() }).nullable(),
})

async function untilDone({ gateway }: Rig, location: string) {
  let request = requestSchema.parse({ status: '', result: null })
  await until(async () => {
    request = requestSchema.parse(await (await gateway.app.request(location)).json())
    return !['queued', 'in_progress'].includes(request.status)
  })
  return request
}
