import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { NightshiftError, type RemoteError } from '../../src/errors.ts'
import { OpenAIRemoteApi } from '../../src/openai/remote-api.ts'

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

type Answer = (request: Seen, response: ServerResponse, at: number) => void

const KEY = 'sk-test-0123456789'
const open: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const close of open.splice(0)) await close()
})

const NOTHING: Seen = { method: '', url: '', headers: {}, body: '' }

/** Opens the server until the test ends; gives its base URL. */
async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  open.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}/v1`
}

/** A server on the loopback that keeps what it was asked, and an adapter that talks to it. */
async function serve(answer: Answer, timeoutMs = 5000) {
  const seen: Seen[] = []
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = []
    for await (const piece of request) pieces.push(piece)
    const { method = '', url = '', headers } = request
    seen.push({ method, url, headers, body: Buffer.concat(pieces).toString('utf8') })
    answer({ method, url, headers, body: seen.at(-1)?.body ?? '' }, response, seen.length - 1)
  })
  const baseURL = await listen(server)
  return { seen, baseURL, api: new OpenAIRemoteApi({ apiKey: KEY, baseURL, project: 'proj_1', timeoutMs }) }
}

const json =
  (value: unknown, status = 200, headers: Record<string, string> = {}): Answer =>
  (_, response) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value))

const raw =
  (text: string, status = 200, headers: Record<string, string> = {}): Answer =>
  (_, response) =>
    response.writeHead(status, headers).end(text)

/** Ends the connection in the middle of things. */
const cut: Answer = (_, response) => response.socket?.destroy()
const silent: Answer = () => undefined

const serverError = (status: number, headers: Record<string, string> = {}): Answer =>
  json({ error: { message: 'told you', code: 'some_code', type: 'some_type' } }, status, headers)

/** Retried at once, so that nothing waits for the SDK's back-off. */
const AT_ONCE = { 'retry-after-ms': '0' }

const failing = async (work: Promise<unknown>): Promise<RemoteError> => {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(NightshiftError.is(error)).toBe(true)
  return error as RemoteError
}

const batch = {
  id: 'batch_1',
  object: 'batch',
  endpoint: '/v1/chat/completions',
  input_file_id: 'file-1',
  status: 'validating',
  created_at: 1,
  output_file_id: '',
  error_file_id: null,
}
const CREATE = {
  inputFileId: 'file-1',
  endpoint: '/v1/chat/completions',
  metadata: { tag: 't1' },
  outputExpiresAfterSeconds: 3600,
} as const
const CALL = { endpoint: '/v1/chat/completions', bodyText: '{"model":"m"}', timeoutMs: 5000 } as const

describe('creating a batch', () => {
  test('sends what was asked and reads the batch', async () => {
    const { api, seen } = await serve(json(batch))
    expect(await api.createBatch(CREATE)).toMatchObject({ id: 'batch_1', output_file_id: undefined })
    expect(seen).toHaveLength(1)
    expect(seen[0]).toMatchObject({ method: 'POST', url: '/v1/batches' })
    expect(seen[0]?.headers).toMatchObject({ authorization: `Bearer ${KEY}`, 'openai-project': 'proj_1' })
    expect(JSON.parse(seen[0]?.body ?? '')).toEqual({
      input_file_id: 'file-1',
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      metadata: { tag: 't1' },
      output_expires_after: { anchor: 'created_at', seconds: 3600 },
    })
  })

  test.each([400, 408, 409, 429, 500, 503])(
    'sends exactly one request when the answer is %d',
    async (status) => {
      const { api, seen } = await serve(serverError(status, { ...AT_ONCE, 'x-should-retry': 'true' }))
      const error = await failing(api.createBatch(CREATE))
      expect(error).toMatchObject({ code: 'http_error', status, remoteCode: 'some_code' })
      expect(error.acted).toBe(status === 400 || status === 429 ? 'no' : 'unknown')
      expect(seen).toHaveLength(1)
    },
  )

  test('sends exactly one request when the connection is cut, a kept one as well', async () => {
    const { api, seen } = await serve((request, response, at) =>
      (at === 0 ? json(batch) : cut)(request, response, at),
    )
    await api.createBatch(CREATE)
    expect(await failing(api.createBatch(CREATE))).toMatchObject({
      code: 'network',
      retryable: true,
      acted: 'unknown',
    })
    expect(seen).toHaveLength(2)
  })

  test('does not follow a redirect', async () => {
    const { api, seen } = await serve(raw('', 307, { location: '/v1/elsewhere' }))
    expect(await failing(api.createBatch(CREATE))).toMatchObject({ status: 307, acted: 'unknown' })
    expect(seen).toHaveLength(1)
  })

  test('gives up after the timeout, with one request sent', async () => {
    const { api, seen } = await serve(silent, 60)
    expect(await failing(api.createBatch(CREATE))).toMatchObject({ code: 'timeout', retryable: true })
    expect(seen).toHaveLength(1)
  })

  test.each<[string, Answer, boolean]>([
    ['a page', raw('<html>welcome</html>', 200, { 'content-type': 'text/html' }), true],
    ['half a JSON text', raw('{"id":"ba', 200, { 'content-type': 'application/json' }), true],
    ['nothing', raw('', 200, { 'content-type': 'application/json' }), true],
    ['another object', json({ hello: 'world' }), false],
  ])('is doubtful when the answer is %s', async (_, answer, retryable) => {
    const { api } = await serve(answer)
    expect(await failing(api.createBatch(CREATE))).toMatchObject({
      code: 'bad_reply',
      acted: 'unknown',
      retryable,
    })
  })
})

describe('calls that may be repeated', () => {
  test('are, twice', async () => {
    const { api, seen } = await serve((request, response, at) =>
      (at < 2 ? serverError(500, AT_ONCE) : json(batch))(request, response, at),
    )
    expect(await api.retrieveBatch('batch_1')).toMatchObject({ id: 'batch_1' })
    expect(seen.map(({ url }) => url)).toEqual(Array(3).fill('/v1/batches/batch_1'))
  })

  test('fail with what the server said, and never show the key', async () => {
    const error = { message: `Incorrect API key provided: ${KEY}`, code: 'invalid_api_key' }
    const { api } = await serve(json({ error }, 401, { 'x-request-id': 'req_9' }))
    const failure = await failing(api.retrieveBatch('batch_1'))
    expect(failure).toMatchObject({
      status: 401,
      remoteCode: 'invalid_api_key',
      requestId: 'req_9',
      retryable: false,
      acted: 'no',
    })
    expect(failure.message).toBe(
      'GET /batches/batch_1 failed with HTTP 401, invalid_api_key, request req_9: Incorrect API key provided: [key]; check the API key',
    )
    expect(failure.cause).toBeUndefined()
  })

  test('tell how long to wait, and that an account without money may have some later', async () => {
    const error = { message: 'pay first', type: 'insufficient_quota', code: 'insufficient_quota' }
    const { api } = await serve(json({ error }, 429, { 'x-should-retry': 'false', 'retry-after': '7' }))
    expect(await failing(api.cancelBatch('batch_1'))).toMatchObject({ retryAfterMs: 7000, retryable: true })
  })

  test('stop at once when aborted', async () => {
    const stop = new AbortController()
    const { api, seen } = await serve(() => stop.abort())
    expect(await failing(api.retrieveFile('file-1', stop.signal))).toMatchObject({
      code: 'aborted',
      retryable: false,
    })
    expect(seen).toHaveLength(1)
    expect(await failing(api.retrieveFile('file-1', stop.signal))).toMatchObject({ code: 'aborted' })
    expect(seen).toHaveLength(1)
  })

  test('name what cannot be reached', async () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:9'), { code: 'ECONNREFUSED' })
    const api = new OpenAIRemoteApi({
      apiKey: KEY,
      timeoutMs: 1000,
      fetch: () => Promise.reject(new TypeError('fetch failed', { cause: refused })),
    })
    const failure = await failing(api.createBatch(CREATE))
    expect(failure).toMatchObject({ code: 'unreachable', status: undefined, acted: 'no' })
    expect(failure.message).toContain('ECONNREFUSED')
  })
})

describe('listing', () => {
  test('gives the cursor of the next page until there is none', async () => {
    const { api, seen } = await serve((request, response, at) =>
      json({ data: [{ ...batch, id: `batch_${at}` }], has_more: at === 0 })(request, response, at),
    )
    expect(await api.listBatches({ limit: 1 })).toMatchObject({ items: [{ id: 'batch_0' }], next: 'batch_0' })
    const last = await api.listBatches({ limit: 1, after: 'batch_0' })
    expect(last.items).toHaveLength(1)
    expect(last).not.toHaveProperty('next')
    expect(seen.map(({ url }) => url)).toEqual(['/v1/batches?limit=1', '/v1/batches?limit=1&after=batch_0'])
  })

  test('asks for batch files only', async () => {
    const { api, seen } = await serve(
      json({ data: [{ id: 'file-1', filename: 't.jsonl' }], has_more: false }),
    )
    expect(await api.listBatchFiles({ limit: 100 })).toMatchObject({ items: [{ filename: 't.jsonl' }] })
    expect(seen[0]?.url).toBe('/v1/files?limit=100&purpose=batch')
  })

  test.each<[string, Answer]>([
    ['a page', raw('<html></html>')],
    ['an object without a list', json({ object: 'list' })],
  ])('%s is no empty list', async (_, answer) => {
    const { api } = await serve(answer)
    expect(await failing(api.listBatches({ limit: 1 }))).toMatchObject({ code: 'bad_reply' })
  })
})

describe('files', () => {
  const withFile = async <T>(content: string, work: (path: string) => Promise<T>): Promise<T> => {
    const folder = await mkdtemp(join(tmpdir(), 'nightshift-upload-'))
    try {
      await writeFile(join(folder, 'batch.jsonl'), content)
      return await work(join(folder, 'batch.jsonl'))
    } finally {
      await rm(folder, { recursive: true })
    }
  }

  const upload = (api: OpenAIRemoteApi) =>
    withFile('{"a":1}\n', (path) =>
      api.uploadBatchFile({ path, name: 'tag-1.jsonl', expiresAfterSeconds: 7200 }),
    )

  test('an upload carries name, purpose and expiry', async () => {
    const { api, seen } = await serve(json({ id: 'file-1', bytes: 8 }))
    expect(await upload(api)).toMatchObject({ id: 'file-1' })
    const [{ url, body, headers } = NOTHING] = seen
    expect(url).toBe('/v1/files')
    expect(Number(headers['content-length'])).toBe(Buffer.byteLength(body))
    expect(body).toContain('name="file"; filename="tag-1.jsonl"')
    expect(body).toContain('\r\n\r\n{"a":1}\n\r\n')
    expect(body).toContain('name="purpose"\r\n\r\nbatch\r\n')
    expect(body).toContain('name="expires_after[anchor]"\r\n\r\ncreated_at\r\n')
    expect(body).toContain('name="expires_after[seconds]"\r\n\r\n7200\r\n')
  })

  test.each([500, 503, 408, 409, 429])('an upload that is answered %d is sent once', async (status) => {
    const { api, seen } = await serve(serverError(status, AT_ONCE))
    const acted = status === 429 ? 'no' : 'unknown'
    expect(await failing(upload(api))).toMatchObject({ status, acted, retryable: true })
    expect(seen).toHaveLength(1)
  })

  test('an upload never holds the file in memory', async () => {
    const size = 160 * 2 ** 20
    let received = 0
    let peak = 0
    const server = createServer((request, response) => {
      request.on('data', (piece: Buffer) => {
        received += piece.byteLength
        peak = Math.max(peak, process.memoryUsage().arrayBuffers)
      })
      request.on('end', () => json({ id: 'file-1' })(NOTHING, response, 0))
    })
    const api = new OpenAIRemoteApi({ apiKey: KEY, baseURL: await listen(server), timeoutMs: 60_000 })
    await withFile('', async (path) => {
      await truncate(path, size)
      const before = process.memoryUsage().arrayBuffers
      await api.uploadBatchFile({ path, name: 'n.jsonl', expiresAfterSeconds: 3600 })
      expect(received).toBeGreaterThan(size)
      expect(peak - before).toBeLessThan(size * 0.75)
    })
  })

  test('an upload can be aborted at any moment, and nothing throws where nobody catches it', async () => {
    const silent = createServer((request) => request.resume())
    const baseURL = await listen(silent)
    const api = new OpenAIRemoteApi({ apiKey: KEY, baseURL, timeoutMs: 60_000 })
    const uncaught: unknown[] = []
    const hear = (error: unknown) => uncaught.push(error)
    process.on('unhandledRejection', hear)
    try {
      await withFile('x'.repeat(300_000), async (path) => {
        for (let turns = 0; turns < 60; turns += 1) {
          const abort = new AbortController()
          const request = { path, name: 'n.jsonl', expiresAfterSeconds: 3600 }
          const failed = failing(api.uploadBatchFile(request, abort.signal))
          for (let turn = 0; turn < turns; turn += 1) await nextTurn()
          abort.abort()
          await failed
        }
      })
      expect(uncaught).toEqual([])
    } finally {
      process.off('unhandledRejection', hear)
    }
  })

  test('an upload of a file that is gone sends nothing', async () => {
    const { api, seen } = await serve(json({}))
    const gone = api.uploadBatchFile({ path: '/nowhere/b.jsonl', name: 'n.jsonl', expiresAfterSeconds: 3600 })
    expect(await failing(gone)).toMatchObject({ code: 'file_not_readable', name: 'StateError' })
    expect(seen).toHaveLength(0)
  })

  const read = async (content: AsyncIterable<Uint8Array>): Promise<string> => {
    const pieces: Uint8Array[] = []
    for await (const piece of content) pieces.push(piece)
    return Buffer.concat(pieces).toString('utf8')
  }

  test('a download comes as it is, line separators and all', async () => {
    const text = `{"a":"\u2028é"}\n`.repeat(5000)
    const { api, seen } = await serve(raw(text, 200, { 'content-type': 'application/octet-stream' }))
    expect(await read(await api.downloadFile('file-1'))).toBe(text)
    expect(seen[0]?.url).toBe('/v1/files/file-1/content')
  })

  test('a download may be empty, and may be left early', async () => {
    const { api } = await serve((request, response, at) =>
      raw(at === 0 ? '' : 'x'.repeat(1_000_000))(request, response, at),
    )
    expect(await read(await api.downloadFile('file-1'))).toBe('')
    for await (const piece of await api.downloadFile('file-1')) {
      expect(piece.byteLength).toBeGreaterThan(0)
      break
    }
  })

  test.each<[string, Record<string, string>]>([
    ['with a length', { 'content-length': '1000' }],
    ['in chunks', {}],
  ])('a download that is cut short throws: %s', async (_, headers) => {
    const { api } = await serve((__, response) => {
      response.writeHead(200, headers).write('half a line', () => response.socket?.destroy())
    })
    const failure = await failing(api.downloadFile('file-1').then(read))
    expect(failure).toMatchObject({ code: 'network', retryable: true })
  })

  test('a download shorter than promised throws, whoever carried it', async () => {
    const api = new OpenAIRemoteApi({
      apiKey: KEY,
      timeoutMs: 1000,
      fetch: async () => new Response('short', { headers: { 'content-length': '9' } }),
    })
    const failure = await failing(api.downloadFile('file-1').then(read))
    expect(failure.message).toContain('5 of 9 bytes')
  })

  test('a download that stalls times out, one that is aborted stops', async () => {
    const stop = new AbortController()
    const stall: Answer = (_, response) => response.writeHead(200).write('x')
    const slow = await serve(stall, 50)
    expect(await failing(slow.api.downloadFile('file-1').then(read))).toMatchObject({ code: 'timeout' })
    const { api } = await serve(stall)
    const aborted = (async () => {
      for await (const _ of await api.downloadFile('file-1', stop.signal)) stop.abort()
    })()
    expect(await failing(aborted)).toMatchObject({ code: 'aborted' })
  })

  test('a download that does not exist is an error before the first piece', async () => {
    const { api } = await serve(serverError(404))
    expect(await failing(api.downloadFile('file-1'))).toMatchObject({ status: 404, acted: 'no' })
  })

  test('deleting: done, absent before, or not done', async () => {
    const { api } = await serve((request, response, at) => {
      const answers = [
        json({ id: 'file-1', deleted: true }),
        serverError(404),
        json({ id: 'file-1', deleted: false }),
      ]
      answers[at]?.(request, response, at)
    })
    expect(await api.deleteFile('file-1')).toBe('deleted')
    expect(await api.deleteFile('file-1')).toBe('absent')
    expect(await failing(api.deleteFile('file-1'))).toMatchObject({ code: 'bad_reply' })
  })
})

describe('a direct call', () => {
  test('sends the text byte for byte and gives back the raw answer', async () => {
    const bodyText = '{ "model":"m",\n"n":1.0,"x":"é\\u0041 \u2028"}'
    const reply = '{"choices": [ ] , "big": 12345678901234567890}'
    const { api, seen } = await serve(
      raw(reply, 200, { 'x-request-id': 'req_1', 'content-type': 'application/json' }),
    )
    expect(await api.call({ ...CALL, bodyText })).toEqual({
      status: 200,
      requestId: 'req_1',
      retryAfterMs: undefined,
      text: reply,
    })
    expect(seen).toHaveLength(1)
    expect(seen[0]).toMatchObject({ method: 'POST', url: '/v1/chat/completions', body: bodyText })
    expect(seen[0]?.headers).toMatchObject({
      'content-type': 'application/json',
      authorization: `Bearer ${KEY}`,
      'openai-project': 'proj_1',
    })
  })

  test.each([204, 302, 400, 401, 404, 408, 409, 429, 500, 503])(
    'status %d is an answer, asked for once',
    async (status) => {
      const text = status === 204 ? '' : 'raw words'
      const { api, seen } = await serve(
        raw(text, status, { 'x-should-retry': 'true', location: '/v1/other' }),
      )
      expect(await api.call(CALL)).toMatchObject({ status, text })
      expect(seen).toHaveLength(1)
    },
  )

  test('a cut connection is no answer, asked for once: on a new and on a kept connection', async () => {
    const { api, seen } = await serve((request, response, at) =>
      (at === 1 ? raw('{}') : cut)(request, response, at),
    )
    expect(await failing(api.call(CALL))).toMatchObject({
      code: 'network',
      acted: 'unknown',
      retryable: true,
    })
    await api.call(CALL)
    expect(await failing(api.call(CALL))).toMatchObject({ code: 'network' })
    expect(seen).toHaveLength(3)
  })

  test('an answer cut in the middle is no answer', async () => {
    const { api, seen } = await serve((_, response) => {
      response
        .writeHead(200, { 'content-length': '100' })
        .write('{"choices"', () => response.socket?.destroy())
    })
    expect(await failing(api.call(CALL))).toMatchObject({ code: 'network' })
    expect(seen).toHaveLength(1)
  })

  test.each<[string, Answer]>([
    ['no answer at all', silent],
    ['an answer that does not end', (_, response) => response.writeHead(200).write('{')],
  ])('has a time of its own: %s', async (_, answer) => {
    const { api, seen } = await serve(answer)
    expect(await failing(api.call({ ...CALL, timeoutMs: 50 }))).toMatchObject({
      code: 'timeout',
      retryable: true,
    })
    expect(seen).toHaveLength(1)
  })

  test('can be aborted before and while it is on the wire', async () => {
    const stop = new AbortController()
    const { api, seen } = await serve(() => stop.abort())
    expect(await failing(api.call(CALL, stop.signal))).toMatchObject({ code: 'aborted' })
    expect(await failing(api.call(CALL, stop.signal))).toMatchObject({ code: 'aborted' })
    expect(seen).toHaveLength(1)
  })

  test('tells how long to wait', async () => {
    const { api } = await serve(raw('', 429, { 'retry-after-ms': '1500', 'retry-after': '9' }))
    expect(await api.call(CALL)).toMatchObject({ retryAfterMs: 1500 })
  })

  test('works through an injected fetch, which sees every request and nothing else', async () => {
    const urls: string[] = []
    const api = new OpenAIRemoteApi({
      apiKey: KEY,
      baseURL: 'http://emulator.invalid/v1/',
      timeoutMs: 1000,
      fetch: async (input) => {
        urls.push(String(input))
        return Response.json({ id: 'file-1', choices: [] })
      },
    })
    await api.call(CALL)
    await api.retrieveFile('file-1')
    await api.uploadBatchFile({ path: import.meta.filename, name: 'n.jsonl', expiresAfterSeconds: 3600 })
    expect(urls.map((url) => new URL(url).pathname)).toEqual([
      '/v1/chat/completions',
      '/v1/files/file-1',
      '/v1/files',
    ])
  })
})

describe('the account', () => {
  const fingerprint = (options: object) =>
    new OpenAIRemoteApi({ apiKey: KEY, timeoutMs: 1, ...options }).fingerprint

  test('has a fingerprint of 16 hex digits that does not hold the key', () => {
    expect(fingerprint({})).toMatch(/^[0-9a-f]{16}$/)
    expect(fingerprint({ baseURL: 'https://api.openai.com/v1' })).toBe(fingerprint({}))
    expect(fingerprint({ baseURL: 'HTTPS://API.openai.com:443/v1/' })).toBe(fingerprint({}))
  })

  test('is another one with another key, place, organization or project', () => {
    const others = [
      { apiKey: 'sk-2' },
      { baseURL: 'https://x.test/v1' },
      { organization: 'o' },
      { project: 'o' },
    ]
    expect(new Set([{}, ...others].map(fingerprint)).size).toBe(5)
  })

  test.each([
    [{ apiKey: '' }, 'missing_api_key'],
    [{ baseURL: 'api.openai.com' }, 'bad_base_url'],
    [{ baseURL: 'ftp://host/v1' }, 'bad_base_url'],
    [{ baseURL: 'https://user:pass@host/v1' }, 'bad_base_url'],
  ])('%j is a mistake of the caller', (options, code) => {
    expect(() => fingerprint(options)).toThrow(expect.objectContaining({ code, name: 'UsageError' }))
  })
})
