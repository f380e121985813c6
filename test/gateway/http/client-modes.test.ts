import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { type AnyClient, CLIENTS, clientOf } from './clients.ts'
import { AnswerGate, ask, CallLog, chat, held, openRig, requestsIn, until } from './rig.ts'

/** A request of each endpoint, as a client makes it, and as it goes over the wire. */
const KINDS = [
  {
    path: '/chat/completions',
    object: 'chat.completion',
    body: chat('hello'),
    create: (client: AnyClient, headers: Readonly<Record<string, string>>) =>
      client.chat.completions.create(
        { model: 'gpt-5-mini', messages: [{ role: 'user', content: 'hello' }] },
        { headers },
      ),
    isAnswer: { choices: [{ message: { role: 'assistant', content: expect.any(String) } }] },
  },
  {
    path: '/responses',
    object: 'response',
    body: { model: 'gpt-5-mini', input: 'hello' },
    create: (client: AnyClient, headers: Readonly<Record<string, string>>) =>
      client.responses.create({ model: 'gpt-5-mini', input: 'hello' }, { headers }),
    isAnswer: { output_text: expect.any(String) },
  },
  {
    path: '/embeddings',
    object: 'list',
    body: { model: 'text-embedding-3-small', input: 'hello' },
    create: (client: AnyClient, headers: Readonly<Record<string, string>>) =>
      client.embeddings.create({ model: 'text-embedding-3-small', input: 'hello' }, { headers }),
    isAnswer: { data: [{ object: 'embedding', index: 0, embedding: expect.any(Array) }] },
  },
] as const

const mode = (name: string) => ({ 'X-Nightshift-Mode': name })
/** Of a promise of its own: those of the clients are made when they are asked for. */
const failureOf = async (asking: PromiseLike<unknown>): Promise<unknown> => {
  try {
    return await asking
  } catch (error) {
    return error
  }
}

describe.each(CLIENTS)('%s', (name) => {
  describe.each(KINDS)('$path', ({ object, create, isAnswer }) => {
    test('sync: has its answer, as from OpenAI', async () => {
      await using rig = await openRig()
      expect(await create(clientOf(name, await rig.url()), {})).toMatchObject({ object, ...isAnswer })
    })

    test('sync: comes back by itself to what it was told to wait for, and nothing is asked twice', async () => {
      const log = new CallLog()
      await using rig = await openRig({ settings: { maxHoldMs: 1, windowMs: 3_600_000 }, log })
      const client = clientOf(name, await rig.url(), 20)
      const asking = failureOf(create(client, {}))
      await until(() => log.statuses.length === 1)
      await rig.gateway.app.request('/admin/flush', { method: 'POST' })
      expect(await asking).toMatchObject({ object, ...isAnswer })
      expect([log.statuses[0], log.statuses.at(-1)]).toEqual([422, 200])
      expect(await requestsIn(rig)).toBe(1)
    })

    test('async: is told where its answer will be, and finds it there', async () => {
      await using rig = await openRig()
      const client = clientOf(name, await rig.url())
      const accepted: unknown = await create(client, mode('async'))
      expect(accepted).toMatchObject({ object: 'request', status: 'queued', id: expect.any(String) })
      const id = Object.entries(accepted ?? {}).find(([key]) => key === 'id')?.[1]
      let seen: unknown
      await until(async () => {
        seen = await client.get(`/requests/${id}`)
        return JSON.stringify(seen).includes('"completed"')
      })
      expect(seen).toMatchObject({ id, result: { status_code: 200, body: { object } } })
    })

    test('poll: hears of a 422 at once, until the answer is there', async () => {
      await using rig = await openRig()
      const client = clientOf(name, await rig.url())
      const first = await failureOf(create(client, mode('poll')))
      expect(first).toMatchObject({ name: 'Error', status: 422, code: 'request_pending' })
      let last: unknown
      await until(async () => {
        last = await failureOf(create(client, mode('poll')))
        return !(last instanceof Error)
      })
      expect(last).toMatchObject({ object, ...isAnswer })
      expect(await requestsIn(rig)).toBe(1)
    })

    test('cache: has only what is there', async () => {
      await using rig = await openRig()
      const client = clientOf(name, await rig.url())
      expect(await failureOf(create(client, mode('cache')))).toMatchObject({
        status: 404,
        code: 'not_in_cache',
      })
      const answer = await create(client, {})
      expect(await create(client, mode('cache'))).toEqual(answer)
      expect(await requestsIn(rig)).toBe(1)
    })
  })

  test('a stream of /responses has its events, in their order', async () => {
    await using rig = await openRig()
    const client = clientOf(name, await rig.url())
    const types: string[] = []
    const stream = await client.responses.create({ model: 'gpt-5-mini', input: 'hello', stream: true })
    for await (const { type } of stream) types.push(type)
    expect(types.slice(0, 2)).toEqual(['response.created', 'response.in_progress'])
    expect(types).toContain('response.output_text.delta')
    expect(types.at(-1)).toBe('response.completed')
  })
})

describe('curl', () => {
  const run = promisify(execFile)
  const curl = async (...args: readonly string[]) => (await run('curl', ['-sS', '-i', ...args])).stdout
  const inMode = (name: string) => ['-H', `X-Nightshift-Mode: ${name}`]

  test.each(KINDS)('$path in every mode', async ({ path, object, body }) => {
    await using rig = await openRig()
    const url = await rig.url()
    const post = (content: object, ...args: readonly string[]) =>
      curl(`${url}/v1${path}`, '-d', JSON.stringify(content), ...args)
    const isAnswer = new RegExp(`^HTTP/1\\.1 200 OK\r\n.*"object":"${object}"`, 's')
    expect(await post(body, ...inMode('cache'))).toMatch(/^HTTP\/1\.1 404.*"not_in_cache"/s)
    expect(await post(body, '-H', 'Content-Type: application/json')).toMatch(isAnswer)
    expect(await post(body, ...inMode('cache'))).toMatch(isAnswer)
    const accepted = await post({ ...body, user: 'async' }, '-H', 'Prefer: respond-async')
    expect(accepted).toMatch(/^HTTP\/1\.1 202 Accepted\r\n/)
    const location = /^location: (\S+)/im.exec(accepted)?.[1] ?? ''
    await until(async () => (await curl(`${url}${location}`)).includes('"completed"'))
    const polled = { ...body, user: 'poll' }
    expect(await post(polled, ...inMode('poll'))).toMatch(/^HTTP\/1\.1 422.*\r\nretry-after: \d/s)
    let last = ''
    await until(async () => {
      last = await post(polled, ...inMode('poll'))
      return !last.startsWith('HTTP/1.1 422')
    })
    expect(last).toMatch(isAnswer)
  })

  test.each([
    [KINDS[0], 'data: [DONE]\n\n'],
    [KINDS[1], 'event: response.completed\n'],
  ])('$path in a stream', async ({ path, body }, end) => {
    await using rig = await openRig()
    const text = await curl(
      '-N',
      `${await rig.url()}/v1${path}`,
      '-d',
      JSON.stringify({ ...body, stream: true }),
    )
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\r\ncontent-type: text\/event-stream/s)
    expect(text).toContain(end)
  })

  test('that is interrupted lets go of its request', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const url = await rig.url()
    const calling = new AbortController()
    const call = run('curl', ['-sS', `${url}/v1/chat/completions`, '-d', JSON.stringify(chat('a'))], {
      signal: calling.signal,
    })
    await until(async () => (await held(rig)) === 1)
    calling.abort()
    await call.catch(() => undefined)
    await until(async () => (await held(rig)) === 0)
    const again = ask(rig, chat('a'))
    await until(async () => (await held(rig)) === 1)
    gate.open()
    expect((await again).status).toBe(200)
    expect([gate.asked, await requestsIn(rig)]).toEqual([1, 1])
  })
})
