import fc from 'fast-check'
import { describe, expect, expectTypeOf, test } from 'vitest'
import type { Endpoint as WireEndpoint } from '../../src/openai/wire.ts'
import { loadTokenCounter } from '../../src/tokens/counter.ts'
import { imageTokens, mostImageTokens } from '../../src/tokens/images.ts'
import { ASSUMED_IMAGE_SIZE, type Endpoint, measureBody } from '../../src/tokens/measure.ts'
import { anyCall, anyModel, bodyBytesOf } from './bodies.ts'
import { dataUrl, gif } from './pictures.ts'

const CHAT = '/v1/chat/completions'
const RESPONSES = '/v1/responses'
const counter = await loadTokenCounter()

const measure = (endpoint: Endpoint, body: Record<string, unknown>, model = 'gpt-4o') =>
  measureBody(endpoint, body, { model, bodyBytes: bodyBytesOf(body) })
const user = (content: unknown) => ({ messages: [{ role: 'user', content }] })
const picture = dataUrl(gif(1024, 1024), 'image/gif')

test('its endpoints are those of the wire', () => {
  expectTypeOf<Endpoint>().toEqualTypeOf<WireEndpoint>()
})

describe('text and images', () => {
  test('a text is all of the body', () => {
    const body = user('hello')
    expect(measure(CHAT, body)).toMatchObject({
      textBytes: bodyBytesOf(body),
      imageTokens: 0,
      assumedImages: 0,
    })
  })

  test.each([
    ['chat', CHAT, user([{ type: 'image_url', image_url: { url: picture, detail: 'high' } }])],
    ['chat, url alone', CHAT, user([{ type: 'image_url', image_url: picture, detail: 'high' }])],
    [
      'responses',
      RESPONSES,
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: picture, detail: 'high' }] }] },
    ],
    [
      'output of a tool',
      RESPONSES,
      {
        input: [
          {
            type: 'function_call_output',
            call_id: 'a',
            output: [{ type: 'input_image', image_url: picture, detail: 'high' }],
          },
        ],
      },
    ],
  ] as const)('a data URL counts by its own size and not as text: %s', (_, endpoint, body) => {
    expect(measure(endpoint, body)).toMatchObject({
      textBytes: bodyBytesOf(body) - picture.length,
      imageTokens: 765,
      assumedImages: 0,
      unbounded: undefined,
    })
  })

  test('a remote image has the size that the port knows, and in the ceiling the most of any size', () => {
    const url = 'https://example.com/a.png'
    const body = user([{ type: 'image_url', image_url: { url, detail: 'high' } }])
    const facts = { model: 'gpt-4o', bodyBytes: bodyBytesOf(body) }
    const known = measureBody(CHAT, body, { ...facts, sizeOf: () => ({ width: 512, height: 512 }) })
    const assumed = measureBody(CHAT, body, facts)
    expect(known).toMatchObject({ imageTokens: 255, assumedImages: 0 })
    expect(assumed.imageTokens).toBe(imageTokens('gpt-4o', 'high', ASSUMED_IMAGE_SIZE))
    expect(assumed.assumedImages).toBe(1)
    expect(known.mostInputTokens).toBe(assumed.mostInputTokens)
    expect(known.mostInputTokens).toBeGreaterThan(mostImageTokens('gpt-4o', 'high'))
  })

  test('an uploaded image has an assumed size', () => {
    const body = { input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'file-1' }] }] }
    expect(measure(RESPONSES, body)).toMatchObject({ assumedImages: 1, unbounded: undefined })
  })
})

describe('the maximum of output tokens', () => {
  test.each([
    [CHAT, { max_completion_tokens: 100, max_tokens: 7 }, 100],
    [CHAT, { max_completion_tokens: null, max_tokens: 7 }, 7],
    [CHAT, { max_completion_tokens: 100, n: 3 }, 300],
    [CHAT, { max_completion_tokens: 100, n: null }, 100],
    [CHAT, { n: 3 }, undefined],
    [CHAT, { max_completion_tokens: '100' }, undefined],
    [CHAT, { max_completion_tokens: -1 }, undefined],
    [CHAT, { max_output_tokens: 100 }, undefined],
    [RESPONSES, { max_output_tokens: 100, n: 3 }, 100],
    [RESPONSES, { max_tokens: 100 }, undefined],
    ['/v1/embeddings', {}, 0],
  ] as const)('%s %j: %s', (endpoint, body, most) => {
    expect(measure(endpoint, body).maxOutputTokens).toBe(most)
  })
})

describe('what has no bound', () => {
  const part = (type: string) => user([{ type: 'text', text: 'see:' }, { type }])
  const item = (type: string) => ({ input: [{ type }] })
  test.each([
    [CHAT, part('file'), 'messages[0].content[1] is of type "file"'],
    [CHAT, part('input_audio'), 'messages[0].content[1] is of type "input_audio"'],
    [CHAT, { messages: [{ role: 'assistant', audio: { id: 'a' } }] }, 'messages[0].audio'],
    [CHAT, { modalities: ['text', 'audio'] }, 'modalities'],
    [CHAT, { web_search_options: {} }, 'web_search_options'],
    [CHAT, { prediction: { type: 'content', content: 'x' } }, 'prediction'],
    [CHAT, { service_tier: 'priority' }, 'service_tier is "priority"'],
    [RESPONSES, { input: [{ role: 'user', content: [{ type: 'input_file' }] }] }, 'input[0].content[0]'],
    [RESPONSES, item('item_reference'), 'input[0] is of type "item_reference"'],
    [RESPONSES, item('reasoning'), 'input[0] is of type "reasoning"'],
    [RESPONSES, { previous_response_id: 'resp_1' }, 'previous_response_id'],
    [RESPONSES, { conversation: 'conv_1' }, 'conversation'],
    [RESPONSES, { prompt: { id: 'pmpt_1' } }, 'prompt is set'],
    [RESPONSES, { service_tier: 'scale' }, 'service_tier'],
    ...[
      'web_search',
      'file_search',
      'code_interpreter',
      'computer_use_preview',
      'mcp',
      'image_generation',
    ].map(
      (type) =>
        [
          RESPONSES,
          { tools: [{ type: 'function', name: 'f' }, { type }] },
          `tools[1] is of type "${type}"`,
        ] as const,
    ),
  ] as const)('%s %j', (endpoint, body, words) => {
    expect(measure(endpoint, body).unbounded).toContain(words)
  })

  test.each(['gpt-4o-search-preview', 'o3-deep-research', 'gpt-4o-audio-preview'])('model %s', (model) => {
    expect(measure(CHAT, user('hi'), model).unbounded).toContain(model)
  })

  test.each([
    [CHAT, { service_tier: 'flex', web_search_options: null, modalities: ['text'], prediction: null }],
    [CHAT, { service_tier: null, tools: [{ type: 'function', function: { name: 'f' } }] }],
    [RESPONSES, { service_tier: 'auto', previous_response_id: null, tools: [{ type: 'custom', name: 'f' }] }],
    [RESPONSES, { text: { format: { type: 'text' }, verbosity: 'low' }, input: 'hi' }],
  ] as const)('all that is here has one: %s %j', (endpoint, body) => {
    expect(measure(endpoint, body).unbounded).toBeUndefined()
  })
})

describe('for any body', () => {
  test('no exact count is above the ceiling, which a hard cap rests on', () => {
    fc.assert(
      fc.property(anyCall, anyModel, ({ endpoint, body }, model) => {
        const measured = measureBody(endpoint, body, { model, bodyBytes: bodyBytesOf(body) })
        const { total } = counter.count({ endpoint, model, body })
        expect(measured.mostInputTokens).toBeGreaterThanOrEqual(total)
      }),
      { numRuns: 1500 },
    )
  })

  test.each([
    [
      'numbers in a list of choices, which are written with a bar between them',
      { enum: Array.from('1'.repeat(300), Number) },
    ],
    ['many types', { type: 'object', properties: { a: { type: Array.from({ length: 300 }, () => '') } } }],
    ['many short names', Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`${at}`, 0]))],
  ])('nor for %s', (_, one) => {
    const schema = { type: 'object', properties: { ...one, list: one } }
    const body = { tools: [{ type: 'function', function: { name: 'f', parameters: schema } }] }
    const { total } = counter.count({ endpoint: CHAT, model: 'gpt-4o', body })
    expect(total).toBeGreaterThan(600)
    expect(measure(CHAT, body).mostInputTokens).toBeGreaterThanOrEqual(total)
  })

  test('nor for a thousand messages that are all frame', () => {
    const body = { messages: Array.from({ length: 1000 }, () => ({})) }
    const { total } = counter.count({ endpoint: CHAT, model: 'o1', body })
    expect(total).toBeGreaterThan(bodyBytesOf(body))
    expect(measure(CHAT, body, 'o1').mostInputTokens).toBeGreaterThanOrEqual(total)
  })

  test('the port may say anything about remote images', () => {
    const someSize = fc.record({ width: fc.nat(20_000), height: fc.nat(20_000) })
    fc.assert(
      fc.property(
        anyCall,
        anyModel,
        fc.option(someSize, { nil: undefined }),
        ({ endpoint, body }, model, size) => {
          const sizeOf = () => size
          const measured = measureBody(endpoint, body, { model, bodyBytes: bodyBytesOf(body), sizeOf })
          const counted = counter.count({ endpoint, model, body, sizeOf })
          expect(measured.imageTokens).toBe(counted.images)
          expect(measured.mostInputTokens).toBeGreaterThanOrEqual(counted.total)
        },
      ),
      { numRuns: 500 },
    )
  })

  test('all figures are whole and not negative', () => {
    fc.assert(
      fc.property(anyCall, anyModel, ({ endpoint, body }, model) => {
        const { unbounded: _, maxOutputTokens = 0, ...rest } = measure(endpoint, body, model)
        for (const figure of [maxOutputTokens, ...Object.values(rest)])
          expect(Number.isSafeInteger(figure) && figure >= 0).toBe(true)
      }),
    )
  })

  test('the more text, the more bytes and the higher the ceiling', () => {
    fc.assert(
      fc.property(fc.string(), fc.string({ minLength: 1 }), (text, more) => {
        const [less, most] = [measure(CHAT, user(text)), measure(CHAT, user(text + more))]
        expect(most.textBytes).toBeGreaterThan(less.textBytes)
        expect(most.mostInputTokens).toBeGreaterThan(less.mostInputTokens)
      }),
    )
  })
})
