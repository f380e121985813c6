import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { batchLine } from '../../../src/gateway/body/line.ts'
import { type BodyFacts, prepareBody, withServiceTier } from '../../../src/gateway/body/prepare-body.ts'
import { refusedModelKey } from '../../../src/gateway/body/unbatchable.ts'
import { createValuer } from '../../../src/gateway/engine/money/valuer.ts'
import type { Endpoint } from '../../../src/openai/wire.ts'
import { jsonText } from './json-texts.ts'

const CHAT = '/v1/chat/completions'
const facts: BodyFacts = { id: 'req_0123456789' }
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

const prepare = (text: string, endpoint: Endpoint = CHAT, more: Partial<BodyFacts> = {}) =>
  prepareBody(endpoint, bytesOf(text), { ...facts, ...more })

/** Prepares what must be fit. */
function prepared(text: string, endpoint: Endpoint = CHAT, more: Partial<BodyFacts> = {}) {
  const result = prepare(text, endpoint, more)
  if (result.kind === 'refused') throw new Error(`refused: ${result.message}`)
  return result
}

const chat = (more = ''): string =>
  `{"model":"gpt-5-mini","messages":[{"role":"user","content":"Hi"}]${more}}`

describe('a body that is fit', () => {
  test('stays as it was written, but for what a batch cannot have', () => {
    const text =
      '{"temperature":0,"stream":true,"seed":1.50e2,"model":"gpt-5-mini","\\u0061":1,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"caf\\u00e9\\n"}],"a":2,"a":3,"service_tier":"auto","top_p":0.0}'
    expect(prepared(text)).toMatchObject({
      endpoint: CHAT,
      model: 'gpt-5-mini',
      isStreamed: true,
      includeUsage: true,
      bodyText:
        '{"temperature":0,"seed":1.50e2,"model":"gpt-5-mini","\\u0061":1,"messages":[{"role":"user","content":"caf\\u00e9\\n"}],"a":2,"a":3,"top_p":0.0}',
    })
  })

  test('loses a stream however its name is written, and none that is further in', () => {
    const text = chat(',"str\\u0065am":true,"metadata":{"stream":"x","service_tier":1}')
    expect(prepared(text).bodyText).toBe(chat(',"metadata":{"stream":"x","service_tier":1}'))
    expect(prepared(text).isStreamed).toBe(true)
    expect(prepared(chat(',"stream":true,"stream":false')).isStreamed).toBe(false)
    expect(prepared(chat(',"stream":null,"stream_options":null'))).toMatchObject({
      isStreamed: false,
      includeUsage: false,
      bodyText: chat(),
    })
  })

  test('is put on one line', () => {
    const text =
      '{\r\n  "model": "m",\n  "stream": false,\n  "messages": [\n {"role": "user", "content": "a\\nb  c"}]\n}\n'
    const { bodyText } = prepared(text)
    expect(bodyText).not.toMatch(/[\r\n]/)
    expect(JSON.parse(bodyText)).toEqual({ model: 'm', messages: [{ role: 'user', content: 'a\nb  c' }] })
  })

  test('has the model that JSON.parse says when there are two', () => {
    expect(prepared('{"model":"a","messages":[{}],"model":"b"}').model).toBe('b')
  })

  test('keeps whatever else is in it, in any spelling', () => {
    const member = fc
      .tuple(fc.constantFrom('x', 'y', 'nested'), jsonText)
      .map(([name, value]) => `"${name}":${value}`)
    fc.assert(
      fc.property(fc.array(member), fc.constantFrom('', ' ', '\n'), (members, space) => {
        const parts = [...members, '"model":"m"', '"stream":true', '"messages":[{}]']
        const text = `{${space}${parts.join(`${space},${space}`)}${space}}`
        const result = prepare(text)
        if (result.kind === 'refused') return expect(result.message).toMatch(/surrogate/)
        const { stream: _, ...rest } = JSON.parse(text)
        expect(JSON.parse(result.bodyText)).toEqual(rest)
        for (const value of members) expect(result.bodyText).toContain(value.replaceAll(/[\r\n]/g, ' '))
        expect(JSON.parse(batchLine({ ...result, id: facts.id }))).toEqual({
          custom_id: facts.id,
          method: 'POST',
          url: CHAT,
          body: rest,
        })
      }),
    )
  })

  test('knows the bytes of its line', () => {
    const result = prepared(chat(',"user":"wörld 🙂","stream":true'))
    const line = batchLine({ ...result, id: facts.id })
    expect(result.lineBytes).toBe(Buffer.byteLength(`${line}\n`))
  })

  test.each([
    ['/v1/responses', '{"model":"m","input":"Hi"}'],
    ['/v1/responses', '{"model":"m","input":[{"role":"user","content":"Hi"}],"background":false}'],
    ['/v1/responses', '{"model":"m","prompt":{"id":"pmpt_1"}}'],
    ['/v1/responses', '{"model":"m","conversation":"conv_1"}'],
    ['/v1/responses', '{"model":"m","previous_response_id":"resp_1"}'],
    [
      '/v1/responses',
      '{"model":"m","input":"Hi","stream":true,"stream_options":{"include_obfuscation":false}}',
    ],
    ['/v1/embeddings', '{"model":"text-embedding-3-small","input":"Hi"}'],
    ['/v1/embeddings', '{"model":"text-embedding-3-small","input":[1,2,3]}'],
    [CHAT, '{"model":"ft:gpt-4o-mini:acme:realtime-tts:1","messages":[{}]}'],
    [CHAT, '{"model":"my-realtime-model","messages":[{}]}'],
    [CHAT, chat(`,"x":${'{"a":'.repeat(99)}1${'}'.repeat(99)}`)],
  ] as const)('of %s is taken: %s', (endpoint, text) => {
    expect(prepare(text, endpoint).kind).toBe('prepared')
  })

  test('counts its embedding inputs', () => {
    const inputs = (input: string) => prepared(`{"model":"m","input":${input}}`, '/v1/embeddings').inputs
    expect([inputs('"a"'), inputs('["a","b"]'), inputs('[1,2,3]'), inputs('[[1],[2,3]]')]).toEqual([
      1, 2, 1, 2,
    ])
    expect(prepared(chat()).inputs).toBe(0)
  })

  test('is forecast: what is expected and what it takes at most', () => {
    const bounded = prepared(chat(',"max_completion_tokens":100,"service_tier":"priority"')).tokens
    expect(bounded).toMatchObject({ requests: 1, output: 50, mostOutput: 100, unbounded: 0 })
    const bytes = Buffer.byteLength(chat(',"max_completion_tokens":100'))
    expect(bounded.input).toBe(Math.round(bytes / 4))
    expect(bounded.mostInput).toBeGreaterThanOrEqual(bytes)
    expect(bounded.longest).toBe(bounded.mostInput)
    expect(prepared(chat()).tokens).toMatchObject({ output: 1024, mostOutput: 0, unbounded: 1 })
    expect(prepared(chat(), CHAT, { completionRatio: 0.25 }).tokens.output).toBe(512)
    expect(prepared('{"model":"m","input":"x"}', '/v1/embeddings').tokens).toMatchObject({
      output: 0,
      unbounded: 0,
    })
  })

  test.each([
    ',"max_tokens":1e300',
    ',"max_tokens":1e308,"n":1e308',
    ',"max_completion_tokens":9e15,"n":128',
  ])('is forecast in numbers that a book can hold, whatever it allows: %s', (allowed) => {
    const { tokens } = prepared(chat(allowed))
    expect(tokens).toMatchObject({ mostOutput: 100_000_000, output: 50_000_000, unbounded: 0 })
    for (const model of ['gpt-5-mini', 'o1-pro'])
      expect(Number.isSafeInteger(createValuer().mostNanoUsd(model, 'direct', tokens, Date.now()))).toBe(true)
  })
})

describe('the fingerprint', () => {
  const print = (text: string, endpoint: Endpoint = CHAT) => prepared(text, endpoint).fingerprint

  test('passes over white space and what is cut', () => {
    const plain = print(chat())
    expect(plain).toMatch(/^[\w-]{43}$/)
    for (const same of [
      chat(',"stream":true'),
      chat(',"stream":true,"stream_options":{"include_usage":true}'),
      chat(',"service_tier":"flex"'),
      JSON.stringify(JSON.parse(chat()), null, 2),
      JSON.stringify(JSON.parse(chat(',"stream":true,"service_tier":"auto"')), null, 2),
      chat().replaceAll('":', '" :\r\n'),
    ])
      expect(print(same)).toBe(plain)
  })

  test('tells all else apart', () => {
    const texts = [
      chat(),
      chat(',"temperature":1'),
      chat(',"temperature":1.0'),
      chat(',"temperature":0'),
      chat(',"user":""'),
      chat(',"user":" "'),
      chat(',"user":null'),
      chat().replace('Hi', 'H\\u0069'),
      chat().replace('Hi', 'Hi '),
      '{"messages":[{"role":"user","content":"Hi"}],"model":"gpt-5-mini"}',
    ]
    expect(new Set(texts.map((text) => print(text))).size).toBe(texts.length)
    expect(print('{"model":"m","input":"x"}', '/v1/responses')).not.toBe(
      print('{"model":"m","input":"x"}', '/v1/embeddings'),
    )
  })
})

describe('a body that is refused', () => {
  test.each([
    ['', 'invalid_json', null, /it is empty/],
    ['  \n', 'invalid_json', null, /it is empty/],
    ['{"model":', 'invalid_json', null, /not valid JSON/],
    ['model=x', 'invalid_json', null, /not valid JSON/],
    ['\uFEFF{}', 'invalid_json', null, /byte order mark/],
    ['[]', 'invalid_type', null, /object, but it is an array/],
    ['null', 'invalid_type', null, /null/],
    ['"x"', 'invalid_type', null, /a string/],
    ['{}', 'missing_required_parameter', 'model', /model/],
    ['{"model":null}', 'missing_required_parameter', 'model', /model/],
    ['{"model":5}', 'invalid_type', 'model', /a number/],
    ['{"model":""}', 'invalid_value', 'model', /empty/],
    ['{"model":"a\\nb"}', 'invalid_value', 'model', /control/],
    [`{"model":"${'x'.repeat(257)}"}`, 'string_above_max_length', 'model', /257/],
    ['{"__proto__":{"model":"m"},"messages":[{}]}', 'missing_required_parameter', 'model', /model/],
    ['{"model":"m"}', 'missing_required_parameter', 'messages', /messages/],
    ['{"model":"m","messages":null}', 'missing_required_parameter', 'messages', /messages/],
    ['{"model":"m","messages":"Hi"}', 'invalid_type', 'messages', /a string/],
    ['{"model":"m","messages":{}}', 'invalid_type', 'messages', /an object/],
    ['{"model":"m","messages":[]}', 'empty_array', 'messages', /empty/],
    ['{"model":"m","messages":[{},"Hi"]}', 'invalid_type', 'messages[1]', /a string/],
    [chat(',"stream":"yes"'), 'invalid_type', 'stream', /a string/],
    [chat(',"stream":1'), 'invalid_type', 'stream', /a number/],
    [chat(',"stream_options":{"include_usage":true}'), 'invalid_parameter', 'stream_options', /stream/],
    [chat(',"stream":true,"stream_options":[]'), 'invalid_type', 'stream_options', /an array/],
    [
      chat(',"stream":true,"stream_options":{"include_usage":1}'),
      'invalid_type',
      'stream_options.include_usage',
      /number/,
    ],
    [chat(`,"x":${'['.repeat(200)}${']'.repeat(200)}`), 'invalid_json', null, /201 levels/],
    [chat(',"user":"\\ud83d"'), 'invalid_json', null, /surrogate/],
  ])('%s', (text, code, param, message) => {
    const result = prepare(text)
    expect(result).toMatchObject({ kind: 'refused', status: 400, code, param })
    expect(result.kind === 'refused' && result.message).toMatch(message)
  })

  test.each([
    ['/v1/responses', '{"model":"m"}', 'missing_required_parameter', 'input'],
    ['/v1/responses', '{"model":"m","messages":[{}]}', 'missing_required_parameter', 'input'],
    ['/v1/responses', '{"model":"m","input":5}', 'invalid_type', 'input'],
    ['/v1/responses', '{"model":"m","input":["x"]}', 'invalid_type', 'input[0]'],
    ['/v1/responses', '{"model":"m","input":"x","background":true}', 'unsupported_parameter', 'background'],
    ['/v1/responses', '{"model":"m","input":"x","background":"yes"}', 'invalid_type', 'background'],
    ['/v1/embeddings', '{"model":"m"}', 'missing_required_parameter', 'input'],
    ['/v1/embeddings', '{"model":"m","input":""}', 'invalid_value', 'input'],
    ['/v1/embeddings', '{"model":"m","input":[]}', 'empty_array', 'input'],
    ['/v1/embeddings', '{"model":"m","input":{}}', 'invalid_type', 'input'],
    ['/v1/embeddings', '{"model":"m","input":"x","stream":true}', 'unknown_parameter', 'stream'],
    [
      '/v1/embeddings',
      `{"model":"m","input":[${'"x",'.repeat(50_000)}"x"]}`,
      'array_above_max_length',
      'input',
    ],
  ] as const)('of %s: %s', (endpoint, text, code, param) => {
    expect(prepare(text, endpoint)).toMatchObject({ kind: 'refused', status: 400, code, param })
  })

  test('for bytes that are not UTF-8', () => {
    const bytes = Uint8Array.of(...bytesOf('{"model":"'), 0xff, ...bytesOf('"}'))
    expect(prepareBody(CHAT, bytes, facts)).toMatchObject({
      code: 'invalid_json',
      message: expect.stringMatching(/UTF-8/),
    })
  })

  test.each([
    ['gpt-4o-realtime-preview', CHAT],
    ['gpt-realtime-mini', '/v1/responses'],
    ['whisper-1', CHAT],
    ['gpt-4o-mini-transcribe', CHAT],
    ['tts-1-hd', CHAT],
    ['gpt-4o-search-preview-2025-03-11', CHAT],
    ['text-embedding-3-small', CHAT],
    ['gpt-image-1', '/v1/responses'],
  ] as const)('for the model %s, which no batch can have', (model, endpoint) => {
    const text = JSON.stringify({ model, messages: [{}], input: 'x' })
    expect(prepare(text, endpoint)).toMatchObject({
      status: 400,
      code: 'model_not_supported_in_batch',
      param: 'model',
    })
  })

  test('for a model that the server refused before, at that endpoint', () => {
    const refusedModels = new Map([[refusedModelKey(CHAT, 'gpt-5-mini'), 'not today']])
    expect(prepare(chat(), CHAT, { refusedModels })).toMatchObject({
      code: 'model_not_supported_in_batch',
      message: expect.stringContaining('not today'),
    })
    expect(prepare('{"model":"gpt-5-mini","input":"x"}', '/v1/responses', { refusedModels }).kind).toBe(
      'prepared',
    )
  })

  test('when its line is longer than a batch may be, by a byte', () => {
    const { lineBytes } = prepared(chat())
    expect(prepare(chat(), CHAT, { maxLineBytes: lineBytes }).kind).toBe('prepared')
    expect(prepare(chat(), CHAT, { maxLineBytes: lineBytes - 1 })).toMatchObject({
      status: 413,
      code: 'request_too_large',
    })
  })

  test('or taken, but never thrown at, whatever it is', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), jsonText.map(bytesOf)), (bytes) => {
        expect(prepareBody(CHAT, bytes, facts).kind).toBe('refused')
      }),
    )
    const value = fc.jsonValue()
    const names = [
      'model',
      'messages',
      'input',
      'stream',
      'stream_options',
      'service_tier',
      'tools',
      'response_format',
      'background',
    ]
    const body = fc.record(Object.fromEntries(names.map((name) => [name, value])), { requiredKeys: [] })
    fc.assert(
      fc.property(
        body,
        fc.constantFrom('/v1/chat/completions', '/v1/responses', '/v1/embeddings'),
        (odd, endpoint) => {
          const result = prepare(JSON.stringify({ model: 'm', messages: [{}], input: 'x', ...odd }), endpoint)
          expect(['prepared', 'refused']).toContain(result.kind)
        },
      ),
    )
  })
})

test('a tier is set where the body has none', () => {
  expect(withServiceTier(chat(), 'flex')).toBe(chat(',"service_tier":"flex"'))
})
