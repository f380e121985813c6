import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { webhookBody } from '../../../src/gateway/engine/webhooks-message.ts'
import { webhookHeaders } from '../../../src/gateway/engine/webhooks-signature.ts'

const answer = {
  id: 'req_1',
  ending: 'succeeded',
  status: 200,
  body: '{"id": "chatcmpl-1", "x": 1e2,"b":0.0}',
  requestId: 'req_upstream',
  route: 'batch',
  batchId: 'batch_1',
  finishedAt: 1_700_000_000_999,
} as const

/** What a receiver with the `openai` package makes of it. */
const received = (secret: string, body: string, headers: Readonly<Record<string, string>>) =>
  new OpenAI({ apiKey: 'none', webhookSecret: secret }).webhooks.unwrap(body, headers)

const now = () => Math.floor(Date.now() / 1000)

describe('the signature', () => {
  test.each([
    [
      'as Standard Webhooks writes secrets',
      `whsec_${Buffer.from('0123456789abcdef0123456789abcdef').toString('base64')}`,
    ],
    ['as any text', 'a secret of our own: ünicode'],
  ])('is one that libraries check, with a secret %s', async (_, secret) => {
    const body = webhookBody(answer)
    const headers = webhookHeaders(secret, { id: 'evt_req_1', timestamp: now(), body })
    await expect(received(secret, body, headers)).resolves.toMatchObject({
      id: 'evt_req_1',
      data: { id: 'req_1' },
    })
    await expect(received(secret, body.replace('200', '201'), headers)).rejects.toThrow('signature')
    await expect(received('another secret', body, headers)).rejects.toThrow('signature')
    const other = webhookHeaders(secret, { id: 'evt_req_2', timestamp: now(), body })
    await expect(
      received(secret, body, { ...headers, 'webhook-id': other['webhook-id'] ?? '' }),
    ).rejects.toThrow()
  })

  test('is that of the example in the specification', () => {
    const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
    const body = '{"test": 2432232314}'
    const headers = webhookHeaders(secret, {
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestamp: 1614265330,
      body,
    })
    expect(headers).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    })
  })
})

describe('what it says', () => {
  test('is which request ended how, with the answer as the server wrote it', () => {
    const text = webhookBody(answer)
    expect(text).toContain(`"answer":${answer.body}`)
    expect(JSON.parse(text)).toEqual({
      id: 'evt_req_1',
      object: 'event',
      type: 'request.succeeded',
      created_at: 1_700_000_000,
      data: {
        id: 'req_1',
        ending: 'succeeded',
        status: 200,
        url: '/v1/requests/req_1',
        route: 'batch',
        batch_id: 'batch_1',
        upstream_request_id: 'req_upstream',
        answer_bytes: 38,
        answer: { id: 'chatcmpl-1', x: 100, b: 0 },
      },
    })
  })

  test('is where the answer is to be had, when that is large', () => {
    const body = JSON.stringify({ text: 'x'.repeat(300_000) })
    const event = JSON.parse(
      webhookBody({ ...answer, body, ending: 'failed', status: 500, batchId: undefined }),
    )
    expect(event.type).toBe('request.failed')
    expect(event.data).toMatchObject({ answer: null, answer_bytes: body.length, status: 500, batch_id: null })
  })
})
