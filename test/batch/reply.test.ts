import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { classifyLine, missingLine, parseResultLine } from '../../src/batch/line-outcome.ts'
import { readReply } from '../../src/batch/reply.ts'
import { zeroUsage } from '../../src/tokens/usage.ts'

const CHAT = '/v1/chat/completions'
const choice = (content: string | null, extra: object = {}, index = 0) => ({
  index,
  finish_reason: 'stop',
  message: { role: 'assistant', content, refusal: null },
  ...extra,
})
const chat = (...choices: object[]) => ({
  object: 'chat.completion',
  model: 'gpt-5-mini-2025-08-07',
  choices,
})

/** Parsed and classified, as a collector does it. */
function outcome(line: object, endpoint: Parameters<typeof classifyLine>[1] = CHAT) {
  const parsed = parseResultLine(JSON.stringify({ custom_id: 'r1', ...line }))
  if (!parsed) throw new Error('the line was not read')
  return classifyLine(parsed, endpoint)
}
const answered = (status_code: unknown, body: unknown) => ({
  response: { status_code, request_id: 'q', body },
  error: null,
})

describe('a chat reply', () => {
  test('text, choices in order, model and usage', () => {
    const body = {
      ...chat(choice('b', {}, 1), choice('a')),
      usage: { prompt_tokens: 3, completion_tokens: 4 },
    }
    expect(readReply(CHAT, body, { n: 2 })).toEqual({
      kind: 'reply',
      text: 'a',
      choices: [
        { index: 0, text: 'a', finishReason: 'stop', toolCalls: [] },
        { index: 1, text: 'b', finishReason: 'stop', toolCalls: [] },
      ],
      toolCalls: [],
      usage: { ...zeroUsage, input: 3, output: 4 },
      model: 'gpt-5-mini-2025-08-07',
      warnings: [],
    })
  })

  test('tool calls', () => {
    const tool_calls = [
      { id: 'c1', type: 'function', function: { name: 'look', arguments: '{"at":1}' } },
      { id: 'c2', type: 'custom', custom: { name: 'x', input: 'y' } },
    ]
    const body = chat(choice(null, { finish_reason: 'tool_calls', message: { content: null, tool_calls } }))
    expect(readReply(CHAT, body)).toMatchObject({
      text: '',
      toolCalls: [{ id: 'c1', name: 'look', arguments: '{"at":1}' }],
      usage: undefined,
    })
  })

  test('warns of refusals, cuts, filters and a wrong number of choices', () => {
    const body = chat(
      choice(null, { message: { content: null, refusal: 'I cannot' } }),
      choice('x', { finish_reason: 'length' }, 1),
      choice('y', { finish_reason: 'content_filter' }, 2),
    )
    const reply = readReply(CHAT, body, { n: 2 })
    expect(reply).toMatchObject({ choices: [{ refusal: 'I cannot' }, {}, {}] })
    expect(reply.kind === 'reply' && reply.warnings.map(({ code }) => code)).toEqual([
      'refusal',
      'length',
      'content_filter',
      'choice_count',
    ])
    expect(readReply(CHAT, chat(choice('x')), {})).toMatchObject({ warnings: [] })
  })

  test.each([[{}], [null], ['text'], [chat()], [{ choices: [{ message: { content: 5 } }] }]])(
    'is none: %j',
    (body) => {
      expect(readReply(CHAT, body)).toMatchObject({
        kind: 'problem',
        failure: { code: 'bad_reply', retryable: true },
      })
    },
  )

  test('a body of another shape keeps its usage: it was paid for', () => {
    const body = { output: 'x', usage: { prompt_tokens: 3 } }
    expect(readReply(CHAT, body)).toMatchObject({ kind: 'problem', usage: { input: 3 } })
  })
})

describe('a responses reply', () => {
  const message = (...content: object[]) => ({ type: 'message', id: 'm', role: 'assistant', content })
  const text = (words: string) => ({ type: 'output_text', text: words, annotations: [] })

  test('joins the text of messages, passes reasoning by, collects function calls', () => {
    const body = {
      object: 'response',
      status: 'completed',
      error: null,
      model: 'gpt-5',
      output: [
        { type: 'reasoning', id: 'rs', summary: [] },
        message(text('Hello, '), text('world')),
        { type: 'function_call', id: 'f', call_id: 'call', name: 'look', arguments: '{}' },
        message(text('!')),
      ],
      usage: { input_tokens: 1, output_tokens: 2, output_tokens_details: { reasoning_tokens: 1 } },
    }
    expect(readReply('/v1/responses', body)).toMatchObject({
      text: 'Hello, world!',
      toolCalls: [{ id: 'call', name: 'look', arguments: '{}' }],
      choices: [{ finishReason: 'tool_calls' }],
      usage: { input: 1, output: 2, reasoning: 1 },
      warnings: [],
    })
  })

  test.each([
    ['max_output_tokens', 'length'],
    ['content_filter', 'content_filter'],
  ])('incomplete by %s is %s', (reason, word) => {
    const body = { status: 'incomplete', incomplete_details: { reason }, output: [message(text('Hel'))] }
    expect(readReply('/v1/responses', body)).toMatchObject({
      text: 'Hel',
      choices: [{ finishReason: word }],
      warnings: [{ code: word }],
    })
  })

  test('a refusal', () => {
    const body = { status: 'completed', output: [message({ type: 'refusal', refusal: 'No.' })] }
    expect(readReply('/v1/responses', body)).toMatchObject({
      text: '',
      choices: [{ refusal: 'No.' }],
      warnings: [{ code: 'refusal' }],
    })
  })

  test.each([
    ['failed', { code: 'server_error', message: 'oops' }, 'server_error', true],
    ['failed', { code: 'invalid_prompt', message: 'bad' }, 'invalid_prompt', false],
    ['failed', null, 'response_failed', true],
    ['in_progress', null, 'response_in_progress', true],
  ])('status %s with %j is a problem', (status, error, code, retryable) => {
    const body = { status, error, output: [], usage: { input_tokens: 5, output_tokens: 0 } }
    expect(readReply('/v1/responses', body)).toMatchObject({
      kind: 'problem',
      failure: { code, retryable },
      usage: { input: 5 },
    })
  })
})

describe('an embeddings reply', () => {
  const list = (...data: object[]) => ({
    object: 'list',
    model: 'e',
    data,
    usage: { prompt_tokens: 2, total_tokens: 2 },
  })

  test('vectors in the order of the inputs', () => {
    const body = list({ index: 1, embedding: [3, 4] }, { index: 0, embedding: [1, 2] })
    expect(readReply('/v1/embeddings', body, { input: ['a', 'b'] })).toMatchObject({
      embeddings: [
        [1, 2],
        [3, 4],
      ],
      usage: { input: 2, output: 0 },
      warnings: [],
    })
    expect(readReply('/v1/embeddings', body, { input: [1, 2, 3] })).toMatchObject({
      warnings: [{ code: 'choice_count' }],
    })
  })

  test('base64 holds little-endian floats', () => {
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true })), (vector) => {
        const bytes = Buffer.alloc(vector.length * 4)
        vector.forEach((value, at) => {
          bytes.writeFloatLE(value, at * 4)
        })
        const reply = readReply('/v1/embeddings', list({ index: 0, embedding: bytes.toString('base64') }))
        expect(reply.kind === 'reply' && reply.embeddings?.[0]).toEqual(vector)
      }),
    )
  })

  test.each(['AAAA', '!!!!!!!!', 'AAAAAAA=='])('%j is no vector', (embedding) => {
    expect(readReply('/v1/embeddings', list({ index: 0, embedding }))).toMatchObject({ kind: 'problem' })
  })
})

describe('a result line', () => {
  test('with an answer', () => {
    const body = chat(choice('a'))
    const reply = { kind: 'reply', body, requestId: 'q' }
    expect(outcome(answered(200, body))).toEqual(reply)
    expect(outcome(answered('200', JSON.stringify(body)))).toEqual(reply)
    expect(outcome({ ...answered(null, body), error: { code: 'odd' } })).toEqual(reply)
    expect(outcome(answered(200, { object: 'odd' }))).toMatchObject({ kind: 'reply' })
  })

  test.each([
    [
      'error in the body',
      answered(400, { error: { code: 'bad', message: 'no' } }),
      { code: 'bad', message: 'no', status: 400, retryable: false },
    ],
    [
      'error beside it',
      { response: { status_code: 500, body: null }, error: { code: 'server_error', message: 'x' } },
      { code: 'server_error', status: 500, retryable: true },
    ],
    [
      'both',
      { ...answered(429, { error: { message: 'slow down' } }), error: { code: 'rate' } },
      { code: 'rate', message: 'slow down', retryable: true },
    ],
    [
      'type but no code',
      answered(400, { error: { type: 'invalid_request_error', code: null, message: 'm' } }),
      { code: 'invalid_request_error' },
    ],
    [
      'error in place of an answer',
      answered(200, { error: { code: 429, message: 'm' } }),
      { code: '429', retryable: true },
    ],
    [
      'error as text',
      answered(404, { error: 'model not found' }),
      { code: 'http_404', message: 'model not found', retryable: false },
    ],
    [
      'a body that is the error',
      answered(400, { object: 'error', code: 400, message: 'm' }),
      { code: '400', message: 'm' },
    ],
    [
      'a page of some proxy',
      answered(502, '<html>bad gateway</html>'),
      { code: 'http_502', message: '<html>bad gateway</html>', retryable: true },
    ],
    ['a page with status 200', answered(200, '<html>'), { code: 'bad_reply', retryable: true }],
    [
      'expired',
      { response: null, error: { code: 'batch_expired', message: 'too late' } },
      { code: 'batch_expired', retryable: true, countsAsAttempt: false },
    ],
    [
      'cancelled',
      { response: null, error: { code: 'batch_cancelled', message: 'x' } },
      { retryable: true, countsAsAttempt: false },
    ],
    [
      'an unknown code',
      { response: null, error: { code: 'new_thing', extra: 1 } },
      {
        code: 'new_thing',
        message: '{"code":"new_thing","extra":1}',
        retryable: false,
        countsAsAttempt: true,
      },
    ],
    [
      'status 0 and no body',
      answered(0, null),
      { code: 'empty_reply', retryable: true, countsAsAttempt: true },
    ],
    ['nothing at all', {}, { code: 'empty_reply', retryable: true }],
    ['an empty body', answered(200, ''), { code: 'empty_reply', retryable: true, status: 200 }],
    ['a refusal without words', answered(405, null), { code: 'http_405', retryable: false }],
    [
      'a refused key',
      answered(401, { error: { message: 'Incorrect API key', code: 'invalid_api_key' } }),
      { code: 'invalid_api_key', refusal: 'key', retryable: true, countsAsAttempt: false },
    ],
    [
      'an account without money',
      answered(429, { error: { message: 'pay', code: 'insufficient_quota' } }),
      { code: 'insufficient_quota', refusal: 'account', retryable: true, countsAsAttempt: false },
    ],
  ])('failed: %s', (_, line, failure) => {
    expect(outcome(line)).toMatchObject({ kind: 'failure', failure })
  })

  test.each([408, 409, 429, 500, 502, 503, 504])('HTTP %d may pass', (status) => {
    expect(outcome(answered(status, {}))).toMatchObject({ failure: { retryable: true, status } })
  })

  test('keeps 2,000 characters of what the server said', () => {
    const result = outcome(answered(400, { error: { code: 'c', message: 'x'.repeat(5000) } }))
    expect(result.kind === 'failure' && result.failure.message.length).toBe(2000)
  })

  test('that is missing counts as an attempt', () => {
    expect(missingLine()).toMatchObject({
      failure: { code: 'missing_line', retryable: true, countsAsAttempt: true },
    })
  })

  test.each(['', '{', 'null', '[]', '{"custom_id":7}', '{"response":{}}'])('%j is no result line', (text) => {
    expect(parseResultLine(text)).toBeUndefined()
  })

  test('never throws, and a failure always has a code and a message', () => {
    const lines = fc.record({
      custom_id: fc.constant('r1'),
      response: fc.oneof(fc.jsonValue(), fc.record({ status_code: fc.jsonValue(), body: fc.jsonValue() })),
      error: fc.jsonValue(),
    })
    fc.assert(
      fc.property(lines, fc.constantFrom(CHAT, '/v1/responses', '/v1/embeddings'), (line, endpoint) => {
        const result = outcome(line, endpoint)
        if (result.kind === 'reply') readReply(endpoint, result.body)
        else expect(result.failure.code && result.failure.message).toBeTruthy()
      }),
    )
  })
})
