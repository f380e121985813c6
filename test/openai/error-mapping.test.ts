import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { RemoteError } from '../../src/errors.ts'
import { retryAfterMs, toRemoteError } from '../../src/openai/error-mapping.ts'

const NOW = Date.UTC(2026, 0, 1)
const call = { what: 'GET /batches', secrets: ['sk-secret'], nowMs: NOW }
const apiError = (status: number, error: object | undefined, headers: Record<string, string> = {}) =>
  OpenAI.APIError.generate(status, error && { error }, undefined, new Headers(headers))

describe('an HTTP error', () => {
  test.each([
    [400, false, 'no'],
    [404, false, 'no'],
    [408, true, 'unknown'],
    [409, true, 'unknown'],
    [422, false, 'no'],
    [429, true, 'no'],
    [500, true, 'unknown'],
    [529, true, 'unknown'],
  ])('%d: retryable %s, acted %s', (status, retryable, acted) => {
    expect(toRemoteError(apiError(status, { message: 'm' }), call)).toMatchObject({
      status,
      retryable,
      acted,
    })
  })

  test('keeps code, request and waiting time; the message says what, with what, and why', () => {
    const headers = { 'x-request-id': 'req_1', 'retry-after': '2' }
    const error = toRemoteError(
      apiError(429, { message: 'slow down', type: 'tokens', code: null }, headers),
      call,
    )
    expect(error).toMatchObject({
      code: 'http_error',
      remoteCode: 'tokens',
      requestId: 'req_1',
      retryAfterMs: 2000,
    })
    expect(error.message).toBe('GET /batches failed with HTTP 429, tokens, request req_1: slow down')
  })

  test('the server decides about retries, but an exhausted account can always be waited for', () => {
    expect(toRemoteError(apiError(500, {}, { 'x-should-retry': 'false' }), call).retryable).toBe(false)
    expect(toRemoteError(apiError(400, {}, { 'x-should-retry': 'true' }), call).retryable).toBe(true)
    const broke = apiError(429, { code: 'insufficient_quota' }, { 'x-should-retry': 'false' })
    expect(toRemoteError(broke, call).retryable).toBe(true)
    const hardLimit = apiError(400, { code: 'billing_hard_limit_reached' })
    expect(toRemoteError(hardLimit, call)).toMatchObject({ retryable: true, acted: 'no' })
  })

  test('numbers as codes, missing bodies and long texts', () => {
    expect(toRemoteError(apiError(400, { code: 17, message: 'm' }), call).remoteCode).toBe('17')
    expect(toRemoteError(apiError(502, undefined), call).message).toContain('HTTP 502')
    expect(toRemoteError(apiError(400, { message: 'x'.repeat(9999) }), call).message.length).toBeLessThan(700)
  })

  test('a key that the server repeats is not passed on', () => {
    expect(toRemoteError(apiError(401, { message: 'bad key sk-secret' }), call).message).not.toContain(
      'sk-secret',
    )
  })
})

describe('no answer', () => {
  test('network, timeout, abort', () => {
    const reset = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
    const cause = new TypeError('fetch failed', { cause: reset })
    const network = toRemoteError(
      new OpenAI.APIConnectionError({ message: 'Connection error.', cause }),
      call,
    )
    expect(network).toMatchObject({ code: 'network', retryable: true, acted: 'unknown' })
    expect(network.message).toContain('ECONNRESET')
    expect(toRemoteError(new OpenAI.APIConnectionTimeoutError(), call)).toMatchObject({
      code: 'timeout',
      retryable: true,
    })
    expect(toRemoteError(new OpenAI.APIUserAbortError(), call)).toMatchObject({
      code: 'aborted',
      retryable: false,
    })
  })

  test('whatever breaks after the caller aborted is the abort', () => {
    const error = toRemoteError(new TypeError('terminated'), { ...call, signal: AbortSignal.abort() })
    expect(error.code).toBe('aborted')
  })

  test('a remote error stays the one it is', () => {
    const error = new RemoteError('bad_reply', 'x')
    expect(toRemoteError(error, call)).toBe(error)
  })
})

describe('how long to wait', () => {
  test.each([
    [{ 'retry-after': '3' }, 3000],
    [{ 'retry-after': '0.5' }, 500],
    [{ 'retry-after-ms': '12', 'retry-after': '3' }, 12],
    [{ 'retry-after': new Date(NOW + 5000).toUTCString() }, 5000],
    [{ 'retry-after': new Date(NOW - 5000).toUTCString() }, 0],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after': '-1' }, undefined],
    [{ 'retry-after': '' }, undefined],
    [{}, undefined],
  ])('%j is %s', (headers, ms) => {
    expect(retryAfterMs(new Headers(headers), NOW)).toBe(ms)
  })
})

describe('a lost way', () => {
  const lost = (code: string, syscall: string) =>
    toRemoteError(
      new TypeError('fetch failed', {
        cause: Object.assign(new Error(`${syscall} ${code}`), { code, syscall }),
      }),
      call,
    )

  test.each(['ENETUNREACH', 'ENETDOWN', 'EHOSTUNREACH', 'EHOSTDOWN'])(
    '%s means that nothing was sent only while connecting',
    (code) => {
      expect(lost(code, 'connect')).toMatchObject({ code: 'unreachable', acted: 'no', retryable: true })
      expect(lost(code, 'read')).toMatchObject({ code: 'network', acted: 'unknown', retryable: true })
      expect(lost(code, 'write')).toMatchObject({ code: 'network', acted: 'unknown', retryable: true })
    },
  )
})
