import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { failureAnswer, sliceResult } from '../../../src/gateway/answers/result-slice.ts'
import { jsonObjectText } from '../body/json-texts.ts'

const CHAT = '/v1/chat/completions'
const ANSWER =
  '{"id":"c1", "choices":[{"index":0}],"usage":{"prompt_tokens":3,"completion_tokens":4},"n":1.50e1,"caf\\u00e9":0}'

const line = (response: string, error = 'null') =>
  `{"id":"batch_req_1","custom_id":"req_1","response":${response},"error":${error}}`
const answered = (status: number, body: string) =>
  line(`{"status_code":${status},"request_id":"r_1","body":${body}}`)
const messageOf = (body: string | undefined) => JSON.parse(body ?? '').error

describe('the line of an answer', () => {
  test('gives its status, its ids, what it used, and its body as it is written', () => {
    expect(sliceResult(answered(200, ANSWER), CHAT)).toEqual({
      id: 'req_1',
      ending: 'succeeded',
      status: 200,
      body: ANSWER,
      requestId: 'r_1',
      usage: { input: 3, cachedInput: 0, cacheWrite: 0, output: 4, reasoning: 0 },
      failure: undefined,
    })
  })

  test('may hold it as a string of JSON', () => {
    expect(sliceResult(answered(200, JSON.stringify(ANSWER)), CHAT)).toMatchObject({
      status: 200,
      body: ANSWER,
    })
  })

  test('may come without a status, and beside an error', () => {
    const odd = line(`{"body":${ANSWER}}`, '{"code":"odd"}')
    expect(sliceResult(odd, CHAT)).toMatchObject({ ending: 'succeeded', status: 200, body: ANSWER })
  })

  test.each([201, 202, 204, 206])(
    'is plain success to its caller: a status of %i would say another thing of it',
    (status) => {
      expect(sliceResult(answered(status, ANSWER), CHAT)).toMatchObject({ ending: 'succeeded', status: 200 })
    },
  )

  test('counts as JSON.parse reads it when something is there twice', () => {
    const twice = `{"custom_id":"a","response":null,"custom_id":"b","response":{"status_code":200,"body":{},"body":${ANSWER}}}`
    expect(sliceResult(twice, CHAT)).toMatchObject({ id: 'b', body: ANSWER })
  })

  test('gives any body as it is written', () => {
    fc.assert(
      fc.property(jsonObjectText, fc.boolean(), (body, isText) => {
        const slice = sliceResult(answered(200, isText ? JSON.stringify(body) : body), CHAT)
        if (slice?.ending === 'succeeded') expect(slice.body).toBe(isText ? body : body.trim())
        else expect(JSON.parse(body)).toHaveProperty('error')
      }),
    )
  })
})

describe('the line of a failure', () => {
  const ERROR =
    '{"error":{"message":"too hot","type":"invalid_request_error","param":"temperature","code":null,"x":1.0}}'

  test("gives the server's own status and body", () => {
    expect(sliceResult(answered(400, ERROR), CHAT)).toMatchObject({
      ending: 'failed',
      status: 400,
      body: ERROR,
      requestId: 'r_1',
      failure: { retryable: false, countsAsAttempt: true, message: 'too hot' },
    })
  })

  test('says whether it may pass', () => {
    expect(sliceResult(answered(500, ERROR), CHAT)?.failure).toMatchObject({ retryable: true })
    expect(sliceResult(answered(429, ERROR), CHAT)?.failure).toMatchObject({
      retryable: true,
      refusal: 'account',
    })
    expect(sliceResult(answered(401, ERROR), CHAT)?.failure).toMatchObject({
      refusal: 'key',
      countsAsAttempt: false,
    })
  })

  test('keeps an error body of another make', () => {
    expect(sliceResult(answered(422, '{"detail":"no"}'), CHAT)).toMatchObject({
      status: 422,
      body: '{"detail":"no"}',
    })
  })

  test.each([
    ['answered with a page', answered(502, '"<html>bad</html>"'), 502, '<html>bad</html>', 'http_502'],
    ['answered with nothing', answered(500, 'null'), 500, 'the server answered with nothing', 'http_500'],
    [
      'answered with an empty object',
      answered(400, '{}'),
      400,
      'the server answered with nothing',
      'http_400',
    ],
    [
      'good, but without an answer',
      answered(200, 'null'),
      502,
      'the server answered with nothing',
      'empty_reply',
    ],
    ['a redirect', answered(302, '"moved"'), 502, 'moved', 'http_302'],
    [
      'of no status at all',
      line('{"status_code":0,"body":""}'),
      502,
      'the server answered with nothing',
      'empty_reply',
    ],
    [
      'an expiry',
      line('null', '{"code":"batch_expired","message":"too late"}'),
      503,
      'too late',
      'batch_expired',
    ],
    [
      'a cancellation',
      line('null', '{"code":"batch_cancelled","message":"stop"}'),
      503,
      'stop',
      'batch_cancelled',
    ],
    [
      'an error with a status for its code',
      line('null', '{"code":404,"message":"gone"}'),
      404,
      'gone',
      '404',
    ],
    ['an error of unknown kind', line('null', '{"code":"odd","message":"hm"}'), 400, 'hm', 'odd'],
    [
      'an error that may pass',
      line('null', '{"code":"server_error","message":"hm"}'),
      500,
      'hm',
      'server_error',
    ],
    ['a text', line('null', '"broken"'), 502, 'broken', 'bad_reply'],
    ['nothing', line('null'), 502, 'the server answered with nothing', 'empty_reply'],
  ])('%s is told in the form of OpenAI', (_, text, status, message, code) => {
    const slice = sliceResult(text, CHAT)
    expect(slice).toMatchObject({ ending: 'failed', status })
    expect(messageOf(slice?.body)).toMatchObject({ message, code, param: null })
  })

  test('was not tried when its batch ended first', () => {
    const slice = sliceResult(line('null', '{"code":"batch_expired","message":"too late"}'), CHAT)
    expect(slice?.failure).toMatchObject({ retryable: true, countsAsAttempt: false })
  })
})

test('what is no result line is none', () => {
  for (const text of ['', 'x', '[]', '{}', '{"custom_id":5}', '{"custom_id":"a"'])
    expect(sliceResult(text, CHAT)).toBeUndefined()
})

test('whatever a line holds, a failure is told as JSON with a status of its own', () => {
  const odd = fc.jsonValue({ maxDepth: 3 })
  const response = fc.oneof(
    odd,
    fc.record(
      { status_code: fc.oneof(odd, fc.integer({ min: 100, max: 700 })), request_id: odd, body: odd },
      { requiredKeys: [] },
    ),
  )
  fc.assert(
    fc.property(response, odd, (given, error) => {
      const slice = sliceResult(JSON.stringify({ custom_id: 'a', response: given, error }), CHAT)
      expect(typeof JSON.parse(slice?.body ?? '')).toBe('object')
      if (slice?.ending === 'failed') expect(slice.status).toBeGreaterThanOrEqual(400)
      expect(slice?.status).toBeLessThan(600)
    }),
  )
})

test('a failure that was told before is told the same way', () => {
  const failure = { code: 'missing_line', message: 'no line', retryable: true, countsAsAttempt: true }
  const { status, body } = failureAnswer(failure)
  expect(status).toBe(502)
  expect(messageOf(body)).toEqual({
    message: 'no line',
    type: 'server_error',
    param: null,
    code: 'missing_line',
  })
})
