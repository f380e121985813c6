import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { headersToSend } from '../../../src/gateway/http/routes/upstream-headers.ts'
import { Secret } from '../../../src/util/secret.ts'
import { CallLog, openRig, type RigOptions, UPSTREAM_KEY, until } from './rig.ts'

interface Seen {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

/** A server of one's own in OpenAI's stead, and a gateway before it, both with real sockets. */
async function open(answer: RequestListener, options: RigOptions = {}) {
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    const pieces: Buffer[] = []
    request.on('data', (piece) => pieces.push(piece))
    request.on('end', () => {
      const { method, url, headers } = request
      seen.push({ method, url, headers, body: Buffer.concat(pieces) })
      answer(request, response)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const upstream = {
    apiKey: new Secret(UPSTREAM_KEY),
    baseUrl: `http://127.0.0.1:${port}/v1/`,
    organization: 'org-1',
    project: 'proj-1',
    fetch: undefined,
  }
  const rig = await openRig({ ...options, settings: { upstream, ...options.settings }, ownFetch: true })
  return {
    ...rig,
    seen,
    server,
    address: await rig.url(),
    [Symbol.asyncDispose]: async () => {
      await rig[Symbol.asyncDispose]()
      server.closeAllConnections()
      server.close()
    },
  }
}

const json =
  (body: unknown, status = 200): RequestListener =>
  (_, response) => {
    response.writeHead(status, {
      'content-type': 'application/json',
      'x-request-id': 'req_upstream',
      'openai-organization': 'org-1',
      'set-cookie': 'session=secret',
    })
    response.end(JSON.stringify(body))
  }

describe('a call that is passed on', () => {
  test('has the key of the gateway and none of its caller, and goes where the settings say', async () => {
    await using rig = await open(json({ object: 'list', data: [] }))
    const response = await fetch(`${rig.address}/v1/models?x=1`, {
      headers: {
        authorization: 'Bearer callers-key',
        'api-key': 'callers-key',
        'x-api-key': 'callers-key',
        cookie: 'callers=cookie',
        'openai-organization': 'callers-org',
        'openai-project': 'callers-project',
        'x-forwarded-host': 'evil.example',
        'openai-beta': 'assistants=v2',
      },
    })
    expect(await response.json()).toEqual({ object: 'list', data: [] })
    const [seen] = rig.seen
    expect([seen?.method, seen?.url]).toEqual(['GET', '/v1/models?x=1'])
    expect(seen?.headers).toMatchObject({
      authorization: `Bearer ${UPSTREAM_KEY}`,
      'openai-organization': 'org-1',
      'openai-project': 'proj-1',
      'openai-beta': 'assistants=v2',
    })
    expect(JSON.stringify(seen?.headers)).not.toMatch(/callers|evil/)
    expect(Object.fromEntries(response.headers)).toMatchObject({ 'x-request-id': 'req_upstream' })
    expect([...response.headers.keys()]).not.toContain('openai-organization')
    expect([...response.headers.keys()]).not.toContain('set-cookie')
  })

  test.each([
    ['GET', '/v1/models'],
    ['GET', '/models/gpt-4o'],
    ['GET', '/v1/models/meta%2Fllama-3'],
    ['POST', '/v1/completions'],
    ['POST', '/moderations'],
    ['POST', '/v1/images/generations'],
    ['POST', '/v1/images/edits'],
    ['POST', '/v1/images/variations'],
    ['POST', '/v1/audio/speech'],
    ['POST', '/v1/audio/transcriptions'],
    ['POST', '/v1/audio/translations'],
    ['POST', '/v1/responses/input_tokens'],
  ])('%s %s, with and without /v1', async (method, path) => {
    await using rig = await open(json({ ok: true }, 201))
    const body = method === 'POST' ? Buffer.from([0, 1, 2, 255]) : undefined
    const response = await fetch(`${rig.address}${path}`, {
      method,
      ...(body && { body, headers: { 'content-type': 'multipart/form-data; boundary=x' } }),
    })
    expect([response.status, await response.json()]).toEqual([201, { ok: true }])
    const [seen] = rig.seen
    expect([seen?.method, seen?.url]).toEqual([method, path.startsWith('/v1') ? path : `/v1${path}`])
    if (body)
      expect([seen?.body, seen?.headers['content-type']]).toEqual([body, 'multipart/form-data; boundary=x'])
  })

  test.each([
    '/v1/models/..%2Ffiles',
    '/v1/models/%2E%2E%2Ffiles',
    '/v1/models/..%5Cfiles',
    '/v1/models/a%2F..%2F..%2Ffiles',
  ])('%s does not lead to other places of the server', async (path) => {
    await using rig = await open(json({}))
    expect((await rig.gateway.app.request(path)).status).toBe(404)
    expect(rig.seen).toEqual([])
  })

  test('is streamed both ways, as it comes', async () => {
    let finish: (() => void) | undefined
    await using rig = await open((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: {"choices":[{"text":"first"}]}\n\n')
      finish = () => response.end('data: {"choices":[{"text":"last"}]}\n\ndata: [DONE]\n\n')
    })
    const client = new OpenAI({ apiKey: 'any', baseURL: `${rig.address}/v1` })
    const stream = await client.completions.create({
      model: 'gpt-3.5-turbo-instruct',
      prompt: 'a',
      stream: true,
    })
    const texts: (string | undefined)[] = []
    for await (const { choices } of stream) {
      texts.push(choices[0]?.text)
      finish?.()
    }
    expect(texts).toEqual(['first', 'last'])
    expect(JSON.parse(rig.seen[0]?.body.toString() ?? '')).toMatchObject({ stream: true })
  })

  test('keeps the status of an error; but what is wrong with the key of the gateway is not told', async () => {
    const status = { is: 429 }
    await using rig = await open((request, response) =>
      json({ error: { message: `bad key ${UPSTREAM_KEY}` } }, status.is)(request, response),
    )
    const models = () => rig.gateway.app.request('/v1/models')
    expect((await models()).status).toBe(429)
    status.is = 401
    const refused = await models()
    expect(refused.status).toBe(502)
    expect(await refused.text()).not.toContain(UPSTREAM_KEY)
    status.is = 302
    expect((await models()).status).toBe(502)
  })

  test('to a server that is not there is a 502 by which clients come back', async () => {
    await using rig = await open(json({}))
    rig.server.closeAllConnections()
    rig.server.close()
    const response = await rig.gateway.app.request('/v1/models')
    expect([response.status, response.headers.get('x-should-retry')]).toEqual([502, 'true'])
    expect(await response.json()).toMatchObject({
      error: { type: 'server_error', code: 'upstream_unreachable' },
    })
  })

  test('that is compressed is refused, as the server would not be told so', async () => {
    await using rig = await open(json({}))
    const response = await rig.gateway.app.request('/v1/moderations', {
      method: 'POST',
      body: 'x',
      headers: { 'content-encoding': 'gzip' },
    })
    expect([response.status, rig.seen]).toEqual([415, []])
  })

  test('has its Idempotency-Key apart from those of other tenants', () => {
    const upstream = {
      apiKey: new Secret('k'),
      baseUrl: undefined,
      organization: undefined,
      project: undefined,
      fetch: undefined,
    }
    const keyOf = (tenant: string, key?: string) =>
      headersToSend((name) => (name === 'idempotency-key' ? key : undefined), tenant, upstream)[
        'idempotency-key'
      ]
    expect(keyOf('alice', 'k-1')).toBe(keyOf('alice', 'k-1'))
    expect(
      new Set([keyOf('alice', 'k-1'), keyOf('bob', 'k-1'), keyOf('alice', 'k-2'), 'k-1', 'k-2']).size,
    ).toBe(5)
    expect(keyOf('alice')).toBeUndefined()
  })

  test('whose answer breaks off breaks off for the caller, too', async () => {
    await using rig = await open((_, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.write('{"data":[')
      setImmediate(() => response.destroy())
    })
    const reading = fetch(`${rig.address}/v1/models`).then((response) => response.text())
    await expect(reading).rejects.toThrow()
  })

  test('that its caller gives up is given up at the server', async () => {
    let gone = false
    const log = new CallLog()
    await using rig = await open(
      (request, response) => {
        response.on('close', () => {
          gone = !response.writableEnded
        })
        request.resume()
      },
      { log },
    )
    const giving = new AbortController()
    const call = fetch(`${rig.address}/v1/models`, { signal: giving.signal })
    await until(() => rig.seen.length === 1)
    giving.abort()
    await expect(call).rejects.toThrow()
    await until(() => gone)
    await until(() => log.statuses.length > 0)
    expect([log.statuses, log.warned]).toEqual([[499], []])
  })

  test.each([
    ['its length', undefined],
    ['its pieces', 'chunked'],
  ])('with more than may be sent is refused by %s', async (_, encoding) => {
    await using rig = await open(json({}), { settings: { maxBodyBytes: 1000 } })
    const text = 'x'.repeat(5000)
    const body = encoding === undefined ? text : new Blob([text]).stream()
    const response = await rig.gateway.app.request('/v1/moderations', {
      method: 'POST',
      body,
      duplex: 'half',
    })
    expect(response.status).toBe(413)
    expect(await response.json()).toMatchObject({ error: { code: 'request_too_large' } })
  })
})
