import { expect, test } from 'vitest'
import { openaiError } from '../../../src/gateway/body/openai-error.ts'

test.each([
  [400, undefined, 'invalid_request_error'],
  [401, 'invalid_api_key', 'invalid_request_error'],
  [404, 'unknown_url', 'invalid_request_error'],
  [409, undefined, 'invalid_request_error'],
  [422, undefined, 'invalid_request_error'],
  [429, 'rate_limit_exceeded', 'requests'],
  [429, 'insufficient_quota', 'insufficient_quota'],
  [500, undefined, 'server_error'],
  [503, undefined, 'server_error'],
])('an error of status %i and code %s is of type %s', (status, code, type) => {
  expect(openaiError({ status, code, message: 'm' })).toEqual({
    error: { message: 'm', type, param: null, code: code ?? null },
  })
})
