import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { classifyLine, missingLine, parseResultLine, withWorkingKey } from '../../src/batch/line-outcome.ts'
import { ENDPOINTS, type Endpoint, type WireResultLine } from '../../src/openai/wire.ts'

const endpoints = fc.constantFrom(...ENDPOINTS)
const odd = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constantFrom(null, '', 0, 200, '429', {}, []))
const errors = fc.oneof(
  odd,
  fc.record({ code: odd, type: odd, message: odd, detail: odd }, { requiredKeys: [] }),
)
const bodies = fc.oneof(
  odd,
  fc.record({ choices: odd, output: odd, data: odd, error: errors, usage: odd }, { requiredKeys: [] }),
)
const responses = fc.oneof(
  odd,
  fc.record({
    status_code: odd,
    request_id: odd,
    body: fc.oneof(
      bodies,
      bodies.map((one) => JSON.stringify(one)),
    ),
  }),
)
const lines = fc.oneof(
  odd,
  fc.record(
    { custom_id: fc.constant('r1-0'), response: responses, error: errors },
    { requiredKeys: ['custom_id'] },
  ),
)

/** What a line of text comes to; undefined when it is no result line. */
function outcomeOf(text: string, endpoint: Endpoint = ENDPOINTS[0]) {
  const line = parseResultLine(text)
  return line && classifyLine(line, endpoint)
}

describe('any line', () => {
  test('comes to an answer or a failure with a code, a message and a decision, or is no result line', () => {
    fc.assert(
      fc.property(lines, endpoints, (value, endpoint) => {
        const line = parseResultLine(JSON.stringify(value))
        if (!line) return
        const outcome = classifyLine(line, endpoint)
        expect(outcome.kind).toMatch(/^(reply|failure)$/)
        if (outcome.kind === 'reply') return
        const { code, message, retryable, countsAsAttempt } = outcome.failure
        expect(code.length).toBeGreaterThan(0)
        expect(message.length).toBeLessThanOrEqual(2000)
        expect([typeof retryable, typeof countsAsAttempt]).toEqual(['boolean', 'boolean'])
      }),
      { numRuns: 3000 },
    )
  })

  test('that is any text at all never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' })), (text) => outcomeOf(text) !== null),
    )
  })

  test('that is an object with a custom id is a result line, and nothing else is', () => {
    fc.assert(
      fc.property(lines, (value) => {
        const isLine =
          typeof value === 'object' &&
          value !== null &&
          'custom_id' in value &&
          typeof value.custom_id === 'string'
        expect(parseResultLine(JSON.stringify(value)) !== undefined).toBe(isLine && !Array.isArray(value))
      }),
    )
  })

  test('cut short at any point is no result line', () => {
    const text = JSON.stringify({ custom_id: 'r1-0', response: { status_code: 200, body: { choices: [] } } })
    for (let length = 0; length < text.length; length++)
      expect(parseResultLine(text.slice(0, length))).toBeUndefined()
    expect(parseResultLine(text)).toBeDefined()
  })

  test.each(['error', 'response', 'body'])(
    'nested deeper than a stack has room keeps its failure (%s)',
    (where) => {
      const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`
      const text = {
        error: `{"custom_id":"r1-0","error":{"code":"odd","message":${deep}}}`,
        response: `{"custom_id":"r1-0","response":{"status_code":500,"body":{"error":${deep}}}}`,
        body: `{"custom_id":"r1-0","response":{"status_code":500,"body":${deep}}}`,
      }[where]
      expect(outcomeOf(text ?? '')).toMatchObject({
        kind: 'failure',
        failure: { retryable: where !== 'error' },
      })
    },
  )

  test('keeps of a code no more than a ledger line should hold', () => {
    const error = { code: 'x'.repeat(1e6), message: 'y'.repeat(1e6) }
    const outcome = outcomeOf(JSON.stringify({ custom_id: 'r1-0', error }))
    expect(JSON.stringify(outcome).length).toBeLessThan(3000)
  })
})

const ANSWERS = {
  '/v1/chat/completions': { choices: [] },
  '/v1/responses': { output: [] },
  '/v1/embeddings': { data: [] },
} as const

describe('what was answered and paid for', () => {
  test.each(ENDPOINTS)('is an answer of %s, even beside an error', (endpoint) => {
    fc.assert(
      fc.property(errors, fc.constantFrom(200, 201, 299, '200', null, 0), (error, status) => {
        const body = { ...ANSWERS[endpoint], error }
        const line = JSON.stringify({ custom_id: 'r1-0', response: { status_code: status, body }, error })
        expect(outcomeOf(line, endpoint)).toEqual({ kind: 'reply', body: JSON.parse(JSON.stringify(body)) })
      }),
    )
  })

  test('is one also when the body came as text', () => {
    const body = JSON.stringify({ choices: [{ message: { content: 'hi' } }] })
    const line = JSON.stringify({ custom_id: 'r1-0', response: { status_code: 200, body } })
    expect(outcomeOf(line)).toEqual({ kind: 'reply', body: { choices: [{ message: { content: 'hi' } }] } })
  })

  test('is none under a status of a refusal', () => {
    const refusals = fc.integer({ min: 300, max: 599 })
    fc.assert(
      fc.property(refusals, (status) => {
        const response = { status_code: status, body: { choices: [] } }
        const outcome = outcomeOf(JSON.stringify({ custom_id: 'r1-0', response }))
        expect(outcome).toMatchObject({ kind: 'failure', failure: { status, code: `http_${status}` } })
      }),
    )
  })
})

const failed = (response: WireResultLine['response'], error: unknown = null) =>
  classifyLine({ custom_id: 'r1-0', response, error }, '/v1/chat/completions')

describe('a failure', () => {
  test.each([
    [400, false],
    [404, false],
    [408, true],
    [409, true],
    [422, false],
    [500, true],
    [501, false],
    [503, true],
    [505, false],
  ])('with status %d is worth another try: %s', (status, retryable) => {
    const body = { error: { code: 'some_code', message: 'why' } }
    expect(failed({ status_code: status, body })).toEqual({
      kind: 'failure',
      failure: { code: 'some_code', message: 'why', status, retryable, countsAsAttempt: true },
    })
  })

  test.each([
    [401, 'key'],
    [402, 'account'],
    [403, 'key'],
    [429, 'account'],
  ])('with status %d is about the %s: it is tried again and uses up no attempt', (status, refusal) => {
    const body = { error: { code: 'some_code', message: 'why' } }
    const failure = {
      code: 'some_code',
      message: 'why',
      status,
      retryable: true,
      countsAsAttempt: false,
      refusal,
    }
    const outcome = failed({ status_code: status, body })
    expect(outcome).toEqual({ kind: 'failure', failure })
    if (refusal !== 'key') return
    expect(withWorkingKey(outcome)).toMatchObject({ failure: { retryable: false, countsAsAttempt: true } })
  })

  test.each(['batch_expired', 'batch_cancelled'])('%s is tried again and uses up no attempt', (code) => {
    expect(failed(null, { code, message: 'not tried' })).toEqual({
      kind: 'failure',
      failure: { code, message: 'not tried', retryable: true, countsAsAttempt: false },
    })
  })

  test('with an unknown code and no status is final', () => {
    expect(failed(null, { code: 'never_heard_of', message: 'x' })).toMatchObject({
      failure: { code: 'never_heard_of', retryable: false, countsAsAttempt: true },
    })
  })

  test('with nothing in it is worth another try', () => {
    const nothing = { code: 'empty_reply', retryable: true, countsAsAttempt: true }
    expect(failed(null)).toMatchObject({ failure: nothing })
    expect(failed({ status_code: null, body: {} }, {})).toMatchObject({ failure: nothing })
  })

  test('takes its text from body, error or both', () => {
    const error = { type: 'invalid_request_error', message: 'from error' }
    expect(failed({ status_code: 400, body: null }, error)).toMatchObject({
      failure: { code: 'invalid_request_error', message: 'from error' },
    })
    expect(failed({ status_code: 400, body: { detail: 'from vLLM' } }, null)).toMatchObject({
      failure: { code: 'http_400', message: 'from vLLM' },
    })
    expect(failed({ status_code: 400, body: { error: 'plain' } }, error)).toMatchObject({
      failure: { code: 'invalid_request_error', message: 'plain' },
    })
  })

  test('of a request without a line in a finished batch is tried again as an attempt', () => {
    expect(missingLine()).toMatchObject({
      kind: 'failure',
      failure: { code: 'missing_line', retryable: true, countsAsAttempt: true },
    })
  })
})
