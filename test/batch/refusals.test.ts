import { describe, expect, test } from 'vitest'
import { type RefusalFacts, refusalOf } from '../../src/batch/refusals.ts'

describe('what a server said is about the account, when', () => {
  test.each<[string, RefusalFacts]>([
    ['it asks to slow down', { status: 429 }],
    ['it wants money', { status: 402 }],
    ['the quota is used up', { status: 429, code: 'insufficient_quota' }],
    ['the words say so, whatever the code', { code: 'x', message: 'You exceeded your current quota' }],
    ['a hard limit is reached, with any status', { status: 400, code: 'billing_hard_limit_reached' }],
    ['its queue is full', { code: 'token_limit_exceeded' }],
    ['its queue is full, in words', { code: 'unknown', message: 'Enqueued token limit reached for gpt-5' }],
  ])('%s', (_, facts) => {
    expect(refusalOf(facts)).toBe('account')
  })
})

describe('what a server said is about the key, when', () => {
  test.each<[string, RefusalFacts]>([
    ['it does not know it', { status: 401 }],
    ['it may not be used', { status: 403, message: 'You are not allowed to do this' }],
    ['it may not be used from here', { status: 403, code: 'unsupported_country_region_territory' }],
    ['a code says so', { code: 'invalid_api_key' }],
  ])('%s', (_, facts) => {
    expect(refusalOf(facts)).toBe('key')
  })
})

describe('what a server said is about the request, when', () => {
  test.each<[string, RefusalFacts]>([
    ['it is bad', { status: 400, code: 'invalid_request_error', message: 'messages: required' }],
    ['the server failed', { status: 500 }],
    ['the model may not be used', { status: 403, code: 'model_not_found' }],
    ['the text was flagged', { status: 403, message: 'Your input was flagged' }],
    ['it is larger than a minute allows', { status: 429, message: 'Request too large for gpt-5 on TPM' }],
    ['nothing is known', {}],
  ])('%s', (_, facts) => {
    expect(refusalOf(facts)).toBeUndefined()
  })
})
