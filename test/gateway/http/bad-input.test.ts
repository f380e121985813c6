import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask, chat, metric, openRig, type Rig } from './rig.ts'

const message = { role: 'user', content: 'hello' }
const body = (over: object): string => JSON.stringify({ model: 'gpt-5-mini', messages: [message], ...over })

let rig: Rig
beforeAll(async () => {
  rig = await openRig({ settings: { maxBodyBytes: 10_000 } })
})
afterAll(async () => {
  await rig[Symbol.asyncDispose]()
})

/** Each has OpenAI's shape, and leaves nothing behind. */
async function expectRefusal(response: Response, status: number, code: string): Promise<void> {
  const text = await response.text()
  expect([response.status, text]).toEqual([status, expect.stringContaining(`"code":"${code}"`)])
  expect(JSON.parse(text)).toEqual({
    error: {
      message: expect.any(String),
      type: expect.any(String),
      param: expect.toSatisfy(isTextOrNull),
      code,
    },
  })
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(response.headers.get('x-request-id')).toMatch(/^req_/)
  expect(await metric(rig, 'requests{state="queued"}')).toBe(0)
  expect(await metric(rig, 'accepted_total{kind="new"}')).toBe(0)
}

const isTextOrNull = (value: unknown): boolean => value === null || typeof value === 'string'

describe('a body', () => {
  test.each([
    ['that is empty', '', 400, 'invalid_json'],
    ['that is no JSON', '{"model": gpt}', 400, 'invalid_json'],
    ['that breaks off', '{"model":"gpt-5-mini"', 400, 'invalid_json'],
    ['that is a list', '[]', 400, 'invalid_type'],
    ['that is null', 'null', 400, 'invalid_type'],
    ['that is form data', 'model=gpt-5-mini', 400, 'invalid_json'],
    ['without a model', body({ model: undefined }), 400, 'missing_required_parameter'],
    ['whose model is a number', body({ model: 5 }), 400, 'invalid_type'],
    ['whose model is empty', body({ model: '' }), 400, 'invalid_value'],
    ['without messages', body({ messages: undefined }), 400, 'missing_required_parameter'],
    ['whose messages are text', body({ messages: 'hello' }), 400, 'invalid_type'],
    ['whose messages are none', body({ messages: [] }), 400, 'empty_array'],
    ['whose stream is text', body({ stream: 'yes' }), 400, 'invalid_type'],
    [
      'with stream options and no stream',
      body({ stream_options: { include_usage: true } }),
      400,
      'invalid_parameter',
    ],
    ['with stream options of another kind', body({ stream: true, stream_options: [] }), 400, 'invalid_type'],
    [
      'with a model that cannot be batched',
      body({ model: 'whisper-1' }),
      400,
      'model_not_supported_in_batch',
    ],
    ['that is too large', body({ user: 'x'.repeat(10_000) }), 413, 'request_too_large'],
  ])('%s', async (_, text, status, code) => {
    await expectRefusal(await ask(rig, text), status, code)
  })

  test('that is not UTF-8', async () => {
    const bytes = Buffer.from(body({ user: 'schön' }), 'latin1')
    const response = await rig.gateway.app.request('/v1/chat/completions', { method: 'POST', body: bytes })
    await expectRefusal(response, 400, 'invalid_json')
  })

  test('that is compressed', async () => {
    const headers = { 'content-encoding': 'gzip' }
    await expectRefusal(await ask(rig, chat('a'), { headers }), 415, 'unsupported_encoding')
  })

  test('in the background of a response', async () => {
    const response = await ask(
      rig,
      { model: 'gpt-5-mini', input: 'a', background: true },
      { path: '/v1/responses' },
    )
    await expectRefusal(response, 400, 'unsupported_parameter')
  })

  test('that is too large is refused before all of it was sent', async () => {
    const url = await rig.url()
    let sent = 0
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        sent += 1000
        controller.enqueue(new Uint8Array(1000).fill(0x20))
      },
    })
    const call = fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      body: endless,
      duplex: 'half',
    })
    const status = await call.then(
      (response) => response.status,
      () => 413, // Of a call that is cut off in the midst of its sending, some clients hear no answer.
    )
    expect(status).toBe(413)
    expect(sent).toBeLessThan(50_000_000)
  })
})

describe('a header', () => {
  test.each([
    ['x-nightshift-mode', 'batch', 'invalid_header'],
    ['x-nightshift-priority', 'urgent', 'invalid_header'],
    ['x-nightshift-deadline', 'yesterday', 'invalid_header'],
    ['x-nightshift-max-cost', 'free', 'invalid_header'],
    ['idempotency-key', 'k'.repeat(300), 'invalid_header'],
    ['x-nightshift-webhook', 'https://example.com', 'invalid_webhook'],
  ])('%s: %s', async (name, value, code) => {
    await expectRefusal(await ask(rig, chat('a'), { headers: { [name]: value } }), 400, code)
  })

  test('that allows less than the request may cost', async () => {
    const dear = chat('a', { max_completion_tokens: 100_000 })
    const headers = { 'x-nightshift-max-cost': '0.0001' }
    await expectRefusal(await ask(rig, dear, { headers }), 400, 'max_cost_exceeded')
    await expectRefusal(
      await ask(rig, { ...dear, model: 'a-model-of-ours' }, { headers }),
      400,
      'max_cost_exceeded',
    )
  })
})

describe('a URL', () => {
  test.each([
    ['POST', '/v1/files'],
    ['GET', '/v1/files'],
    ['GET', '/v1/files/file-1/content'],
    ['POST', '/v1/uploads'],
    ['GET', '/v1/responses/resp_1'],
    ['POST', '/v1/conversations'],
    ['GET', '/v1/organization/users'],
    ['POST', '/v1/assistants'],
    ['GET', '/v1/chat/completions/chatcmpl_1'],
    ['POST', '/v1/fine_tuning/jobs'],
    ['DELETE', '/v1/models/ft:gpt-4o:me::1/x'],
    ['POST', '/v1/realtime/sessions'],
    ['GET', '/'],
    ['POST', '/v2/chat/completions'],
    ['POST', '/v1/chat/completions/'],
  ])('%s %s is not served', async (method, path) => {
    await expectRefusal(await rig.gateway.app.request(path, { method }), 404, 'unknown_url')
  })

  test.each([
    ['GET', '/v1/chat/completions', 'POST'],
    ['PUT', '/responses', 'POST'],
    ['POST', '/v1/batches', 'GET'],
    ['DELETE', '/v1/models/gpt-4o', 'GET'],
    ['POST', '/v1/requests/req_1', 'GET, DELETE'],
    ['GET', '/admin/flush', 'POST'],
  ])('%s %s has other methods', async (method, path, allow) => {
    const response = await rig.gateway.app.request(path, { method })
    expect(response.headers.get('allow')).toBe(allow)
    await expectRefusal(response, 405, 'method_not_allowed')
  })
})
