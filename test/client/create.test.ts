import { OpenAI, UnprocessableEntityError } from 'openai'
import { afterEach, describe, expect, test, vi } from 'vitest'
import ByDefault, { OpenAIBatching } from '../../src/client/index.ts'
import { RemoteError, UsageError } from '../../src/errors.ts'
import {
  answered,
  chatReply,
  embeddingsReply,
  failure,
  half,
  json,
  pending,
  queued,
  responseReply,
  standIn,
  stuck,
} from './stand-in.ts'

const MODEL = 'gpt-5-mini'
const MESSAGES = [{ role: 'user', content: 'Say hello.' }] as const
const CHAT = { model: MODEL, messages: [...MESSAGES] }
/** Nothing waits for a gateway that will not come back. */
const ONCE = { maxRetries: 0 }

afterEach(() => {
  vi.unstubAllEnvs()
})

describe('where it leads', () => {
  test.each(['', '/', '/v1', '/v1/', '/v1//'])('a URL that ends in "%s"', async (end) => {
    await using server = await standIn(answered(responseReply('Hello.')))
    const client = new OpenAIBatching({ batchServerUrl: `${server.url}${end}`, batchServerApiKey: 'k' })
    await client.responses.create({ model: MODEL, input: 'Say hello.' })
    await client.models.list().catch(() => {})
    expect(server.calls.map(({ path }) => path)).toEqual(['/v1/responses', '/v1/models'])
  })

  test('below a path of a host that has more than the gateway', async () => {
    await using server = await standIn(answered(chatReply('Hello.')))
    const client = new OpenAIBatching({ batchServerUrl: `${server.url}/batching/` })
    await client.chat.completions.create(CHAT)
    expect(server.calls[0]?.path).toBe('/batching/v1/chat/completions')
  })

  test.each([
    ['localhost:9487', 'no http or https address'],
    ['', 'no http or https address'],
    ['ftp://localhost', 'no http or https address'],
    ['http://me:secret@localhost:9487', 'of localhost:9487 holds a user or password'],
  ])('no gateway is at "%s"', (batchServerUrl, why) => {
    expect(() => new OpenAIBatching({ batchServerUrl })).toThrow(why)
    expect(() => new OpenAIBatching({ batchServerUrl })).toThrow(UsageError)
    expect(() => new OpenAIBatching({ batchServerUrl })).not.toThrow('secret')
  })

  test('with its own key, and nothing of what the environment has for OpenAI', async () => {
    for (const name of ['OPENAI_API_KEY', 'OPENAI_ADMIN_KEY', 'OPENAI_ORG_ID', 'OPENAI_PROJECT_ID'])
      vi.stubEnv(name, 'sk-not-for-gateways')
    vi.stubEnv('OPENAI_BASE_URL', 'http://127.0.0.1:1/v1')
    await using server = await standIn(answered(chatReply('Hello.')))
    const { url: batchServerUrl } = server
    await new OpenAIBatching({ batchServerUrl, batchServerApiKey: 'mine' }).chat.completions.create(CHAT)
    await new OpenAIBatching({ batchServerUrl }).chat.completions.create(CHAT)
    await new OpenAIBatching({ batchServerUrl, batchServerApiKey: '' }).chat.completions.create(CHAT)
    expect(server.calls.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer mine',
      'Bearer none',
      'Bearer none',
    ])
    expect(JSON.stringify(server.calls)).not.toContain('sk-not-for-gateways')
  })

  test('with the headers that it is given, and none that the environment has for OpenAI', async () => {
    vi.stubEnv('OPENAI_CUSTOM_HEADERS', 'Authorization: Bearer sk-not-for-gateways\nX-Team: not-for-gateways')
    await using server = await standIn(answered(chatReply('Hello.')))
    const options = {
      batchServerUrl: server.url,
      batchServerApiKey: 'mine',
      defaultHeaders: { 'X-Nightshift-Priority': 'high' },
    }
    const client = new OpenAIBatching(options)
    await client.chat.completions.create(CHAT)
    await client.chat.completions.parse(CHAT)
    await client.models.list()
    await client.withOptions({ maxRetries: 0 }).chat.completions.create(CHAT)
    for (const { headers } of server.calls)
      expect(headers).toMatchObject({ authorization: 'Bearer mine', 'x-nightshift-priority': 'high' })
    expect(JSON.stringify(server.calls)).not.toContain('not-for-gateways')
  })
})

describe('a request without an answer yet', () => {
  test.each([
    ['in mode poll', pending('req_7', '42'), 42_000],
    ['in mode async', queued('req_7'), 5000],
    ['with a time that no client takes', pending('req_7', '86400'), 60_000],
    ['with a time in words', pending('req_7', 'Wed, 21 Oct 2099 07:28:00 GMT'), 5000],
    ['with no pause at all', pending('req_7', '0'), 250],
  ])('%s has not completed', async (_, answer, retryAfterMs) => {
    await using server = await standIn(answer)
    const client = new OpenAIBatching({ batchServerUrl: server.url, ...ONCE })
    const facts = { hasCompleted: false, requestId: 'req_7', retryAfterMs }
    const results = [
      await client.responses.create({ model: MODEL, input: 'Say hello.' }),
      await client.chat.completions.create(CHAT),
      await client.embeddings.create({ model: 'text-embedding-3-small', input: 'hello' }),
    ]
    for (const result of results) expect(JSON.parse(JSON.stringify(result))).toEqual(facts)
    expect(server.calls.map(({ headers }) => headers['x-nightshift-mode'])).toEqual(['poll', 'poll', 'poll'])
  })

  test('is found by the same call, made again', async () => {
    await using server = await standIn(pending('req_7'), answered(chatReply('Hello.'), 'req_7'))
    const create = () => new OpenAIBatching({ batchServerUrl: server.url }).chat.completions.create(CHAT)
    expect((await create()).hasCompleted).toBe(false)
    const second = await create()
    expect(second).toMatchObject({ hasCompleted: true, requestId: 'req_7', output_text: 'Hello.' })
    const [first, again] = server.calls
    expect(again?.body).toBe(first?.body)
    expect(again?.headers['idempotency-key']).toBeUndefined()
  })

  test('has the key and the headers that its caller gave', async () => {
    await using server = await standIn(pending('req_7'))
    const client = new OpenAIBatching({ batchServerUrl: server.url })
    await client.chat.completions.create(CHAT, {
      idempotencyKey: 'sample-3',
      headers: { 'X-Nightshift-Mode': 'async', 'X-Nightshift-Deadline': '3600' },
    })
    await client.responses.create({ model: MODEL, input: 'a' }, { headers: { 'Idempotency-Key': 'own' } })
    expect(server.calls[0]?.headers).toMatchObject({
      'idempotency-key': 'sample-3',
      'x-nightshift-mode': 'async',
      'x-nightshift-deadline': '3600',
    })
    expect(server.calls[1]?.headers['idempotency-key']).toBe('own')
  })
})

describe('an answer', () => {
  test('of a chat is whole, and has its text as a response has it', async () => {
    const reply = { ...chatReply('Hello.'), system_fingerprint: 'fp', field_of_tomorrow: [0] }
    await using server = await standIn(answered(reply, 'req_2'))
    const result = await new OpenAIBatching({ batchServerUrl: server.url }).chat.completions.create(CHAT)
    if (!result.hasCompleted) throw new Error('it has not completed')
    expect(JSON.parse(JSON.stringify(result))).toEqual({
      ...reply,
      hasCompleted: true,
      requestId: 'req_2',
      output_text: 'Hello.',
    })
    expect(result.choices[0]?.message.content).toBe('Hello.')
    expect(result._request_id).toBe('upstream-1')
    expect(structuredClone(result).output_text).toBe('Hello.')
    expect(await result.wait({ timeoutMs: 1 })).toBe(result)
  })

  test('that is a response is whole, and has its text as a chat has it', async () => {
    const reply = responseReply('Hello.')
    await using server = await standIn(answered(reply, 'req_2'))
    const client = new OpenAIBatching({ batchServerUrl: server.url })
    const result = await client.responses.create({ model: MODEL, messages: [...MESSAGES] })
    if (!result.hasCompleted) throw new Error('it has not completed')
    expect(result).toMatchObject({ ...reply, hasCompleted: true, requestId: 'req_2', output_text: 'Hello.' })
    expect(result.choices).toHaveLength(1)
    expect(result.choices[0].message.content).toBe('Hello.')
    expect(JSON.parse(server.calls[0]?.body ?? '')).toEqual({ model: MODEL, input: MESSAGES })
  })

  test('of embeddings has its vectors as numbers, or as they were asked for', async () => {
    const reply = embeddingsReply([1, 0.5], [-2, 0])
    await using server = await standIn(answered(reply))
    const client = new OpenAIBatching({ batchServerUrl: server.url })
    const params = { model: 'text-embedding-3-small', input: ['a', 'b'] }
    const numbers = await client.embeddings.create(params)
    if (!numbers.hasCompleted) throw new Error('it has not completed')
    expect(numbers.data.map(({ embedding }) => [...embedding])).toEqual([
      [1, 0.5],
      [-2, 0],
    ])
    const base64 = await client.embeddings.create({ ...params, encoding_format: 'base64' })
    if (!base64.hasCompleted) throw new Error('it has not completed')
    expect(base64.data.map(({ embedding }) => embedding)).toEqual(
      reply.data.map(({ embedding }) => embedding),
    )
  })

  test('without any text has an empty one', async () => {
    await using server = await standIn(answered({ ...chatReply(''), choices: [] }))
    const result = await new OpenAIBatching({ batchServerUrl: server.url }).chat.completions.create(CHAT)
    expect(result).toMatchObject({ hasCompleted: true, output_text: '', choices: [] })
  })
})

describe('what fails', () => {
  test('fails with its own error, as in the package', async () => {
    await using server = await standIn(
      failure(400, 'context_length_exceeded'),
      failure(422, 'unprocessable_image', { 'x-nightshift-request-id': 'req_1' }),
    )
    const client = new OpenAIBatching({ batchServerUrl: server.url })
    const create = () => client.chat.completions.create(CHAT)
    await expect(create()).rejects.toBeInstanceOf(OpenAI.BadRequestError)
    const error = await create().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(UnprocessableEntityError)
    expect(error).toMatchObject({ code: 'unprocessable_image' })
  })

  test('is tried again by the package when that may help', async () => {
    const headers = { 'retry-after': '0.01', 'x-should-retry': 'true' }
    await using server = await standIn(
      failure(503, 'gateway_stopping', headers),
      answered(chatReply('Hello.')),
    )
    const result = await new OpenAIBatching({ batchServerUrl: server.url }).chat.completions.create(CHAT)
    expect(result.hasCompleted).toBe(true)
    expect(server.calls).toHaveLength(2)
  })

  test.each([
    ['a page', json(200, { page: 'Welcome!' })],
    ['a text', json(200, 'Welcome!')],
    ['nothing', json(200, null)],
    ['half an answer', half],
    ['a queued request without an id', json(202, {})],
  ])('%s is no answer, and says which address gave it', async (_, answer) => {
    await using server = await standIn(answer)
    const client = new OpenAIBatching({ batchServerUrl: server.url, ...ONCE })
    for (const create of [
      () => client.chat.completions.create(CHAT),
      () => client.responses.create({ model: MODEL, input: 'a' }),
      () => client.embeddings.create({ model: MODEL, input: 'a' }),
    ]) {
      const error = await create().catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(RemoteError)
      expect(error).toMatchObject({ code: 'bad_reply', retryable: true })
      expect(error).toHaveProperty('message', expect.stringContaining(server.url))
    }
  })

  test('half way through an answer it ends as in the package: by its caller, or by its time', async () => {
    const abort = new AbortController()
    await using server = await standIn(stuck)
    const client = new OpenAIBatching({
      ...ONCE,
      batchServerUrl: server.url,
      fetch: async (url, init) => {
        const response = await fetch(url, init)
        setImmediate(() => abort.abort())
        return response
      },
    })
    const ended = client.chat.completions.create(CHAT, { signal: abort.signal })
    await expect(ended).rejects.toBeInstanceOf(OpenAI.APIUserAbortError)
    const late = client.chat.completions.create(CHAT, { timeout: 50 })
    await expect(late).rejects.toBeInstanceOf(OpenAI.APIConnectionTimeoutError)
  })
})

describe('as the openai client', () => {
  const events = (...texts: readonly string[]) =>
    [
      ...texts.map((content) => ({ delta: { role: 'assistant', content } })),
      { delta: {}, finish_reason: 'stop' },
    ]
      .map(
        (choice) => `data: ${JSON.stringify({ id: 'chatcmpl-1', choices: [{ index: 0, ...choice }] })}\n\n`,
      )
      .join('')

  test('it is an instance of it, by both names, with all that hangs on the class', () => {
    expect(ByDefault).toBe(OpenAIBatching)
    const client = new OpenAIBatching({ batchServerUrl: 'http://127.0.0.1:9487' })
    expect(client).toBeInstanceOf(OpenAI)
    expect(client.responses).toBeInstanceOf(OpenAI.Responses)
    expect(client.chat.completions).toBeInstanceOf(OpenAI.Chat.Completions)
    expect(client.embeddings).toBeInstanceOf(OpenAI.Embeddings)
    expect(OpenAIBatching.RateLimitError).toBe(OpenAI.RateLimitError)
  })

  test('it streams, held by the gateway', async () => {
    await using server = await standIn((response) => {
      response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .end(`${events('Hel', 'lo.')}data: [DONE]\n\n`)
    })
    const client = new OpenAIBatching({ batchServerUrl: server.url })
    const texts: string[] = []
    for await (const chunk of await client.chat.completions.create({ ...CHAT, stream: true }))
      texts.push(chunk.choices[0]?.delta.content ?? '')
    expect(texts.join('')).toBe('Hello.')
    expect(server.calls[0]?.headers['x-nightshift-mode']).toBeUndefined()
    expect(await client.chat.completions.stream(CHAT).finalContent()).toBe('Hello.')
    const { response } = await client.responses
      .create({ model: MODEL, messages: [...MESSAGES], stream: true })
      .withResponse()
    expect(response.status).toBe(200)
    expect(JSON.parse(server.calls[2]?.body ?? '')).toEqual({ model: MODEL, stream: true, input: MESSAGES })
  })

  test('its helpers get whole answers, held by the gateway', async () => {
    const wait = { 'retry-after': '0.01', 'x-should-retry': 'true' }
    await using server = await standIn(
      failure(422, 'request_pending', wait),
      answered(chatReply('{"joy":1}')),
      answered(responseReply('{"joy":2}')),
    )
    const client = new OpenAIBatching({ batchServerUrl: server.url })
    const format = { name: 'joy', schema: { type: 'object' } }
    const chat = await client.chat.completions.parse({
      ...CHAT,
      response_format: { type: 'json_schema', json_schema: format },
    })
    expect(chat.choices[0]?.message.content).toBe('{"joy":1}')
    const response = await client.responses.parse({ model: MODEL, input: 'a' })
    expect(response.output_text).toBe('{"joy":2}')
    expect(server.calls.map(({ headers }) => headers['x-nightshift-mode'])).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })

  test('it asks for all else as ever', async () => {
    const page = { object: 'list', data: [{ id: 'batch_1', object: 'batch' }], has_more: false }
    await using server = await standIn(answered(page))
    const client = new OpenAIBatching({ batchServerUrl: server.url })
    const ids: string[] = []
    for await (const { id } of client.batches.list()) ids.push(id)
    expect(ids).toEqual(['batch_1'])
    expect(server.calls[0]).toMatchObject({ method: 'GET', path: '/v1/batches' })
  })

  test('it makes others of itself', async () => {
    await using server = await standIn(pending('req_1'))
    const client = new OpenAIBatching({
      batchServerUrl: 'http://127.0.0.1:1',
      batchServerApiKey: 'a',
      maxRetries: 7,
    })
    const other = client.withOptions({ batchServerUrl: server.url, batchServerApiKey: 'b' })
    expect(other).toBeInstanceOf(OpenAIBatching)
    expect(other.maxRetries).toBe(7)
    expect((await other.chat.completions.create(CHAT)).hasCompleted).toBe(false)
    expect(server.calls[0]?.headers.authorization).toBe('Bearer b')
  })
})
