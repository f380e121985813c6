import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CountQuery, loadTokenCounter } from '../../src/tokens/counter.ts'
import { anyCall, anyModel, anySchema } from './bodies.ts'
import { dataUrl, gif } from './pictures.ts'

const CHAT = '/v1/chat/completions'
const RESPONSES = '/v1/responses'
const counter = await loadTokenCounter()

const count = (endpoint: CountQuery['endpoint'], body: Record<string, unknown>, model = 'gpt-4o') =>
  counter.count({ endpoint, model, body })
const user = (content: unknown) => ({ messages: [{ role: 'user', content }] })

/** The conversation of OpenAI's cookbook on counting tokens, and what the API reported for it. */
const COOKBOOK = [
  {
    role: 'system',
    content:
      'You are a helpful, pattern-following assistant that translates corporate jargon into plain English.',
  },
  { role: 'system', name: 'example_user', content: 'New synergies will help drive top-line growth.' },
  {
    role: 'system',
    name: 'example_assistant',
    content: 'Things working well together will increase revenue.',
  },
  {
    role: 'system',
    name: 'example_user',
    content:
      "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.",
  },
  {
    role: 'system',
    name: 'example_assistant',
    content: "Let's talk later when we're less busy about how to do better.",
  },
  {
    role: 'user',
    content: "This late pivot means we don't have time to boil the ocean for the client deliverable.",
  },
]

describe('messages', () => {
  test.each([
    ['gpt-3.5-turbo', 129],
    ['gpt-4-0613', 129],
    ['gpt-4', 129],
    ['gpt-4o', 124],
    ['gpt-4o-mini', 124],
  ])('the conversation of the cookbook was billed to %s as %d tokens', (model, billed) => {
    expect(count(CHAT, { messages: COOKBOOK }, model).total).toBe(billed)
  })

  test('gpt-5 and its like need a token less for the reply', () => {
    expect(count(CHAT, { messages: COOKBOOK }, 'gpt-5').total).toBe(123)
    expect(count(CHAT, user('hi'), 'gpt-5-mini')).toMatchObject({ total: 7, text: 1, fixed: 6 })
    expect(count(CHAT, user('hi'), 'gpt-4o')).toMatchObject({ total: 8, text: 1, fixed: 7 })
  })

  test('o1 needs 7 more between messages, 4 for a name and one for a text without an end', () => {
    const messages = [
      { role: 'user', content: 'hi.' },
      { role: 'user', name: 'ann', content: 'hi' },
    ]
    expect(count(CHAT, { messages }, 'o1').fixed - count(CHAT, { messages }, 'gpt-4o').fixed).toBe(7 + 3)
    expect(count(CHAT, { messages }, 'o1').text - count(CHAT, { messages }, 'gpt-4o').text).toBe(1)
  })

  test('responses cost the same as chat, in either form', () => {
    const chat = { messages: [{ role: 'system', content: 'Be short.' }, ...user('What is rust?').messages] }
    const texts = { instructions: 'Be short.', input: 'What is rust?' }
    const items = {
      input: [
        { role: 'system', content: 'Be short.' },
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'What is rust?' }] },
      ],
    }
    const expected = count(CHAT, chat)
    expect(count(RESPONSES, texts)).toEqual(expected)
    expect(count(RESPONSES, items)).toEqual(expected)
  })

  test('calls of tools and what they gave are part of the prompt', () => {
    const call = { name: 'weather', arguments: '{"city":"Rome"}' }
    const chat = {
      messages: [
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'call_1', type: 'function', function: call }],
        },
        { role: 'tool', tool_call_id: 'call_1', content: '31 degrees' },
      ],
    }
    const responses = {
      input: [
        { type: 'function_call', call_id: 'call_1', ...call },
        { type: 'function_call_output', call_id: 'call_1', output: '31 degrees' },
      ],
    }
    expect(count(CHAT, chat).text).toBe(3 + 1 + 5 + 2)
    expect(count(RESPONSES, responses)).toEqual(count(CHAT, chat))
  })
})

describe('embeddings', () => {
  test.each([
    ['a text', 'hello world', 2],
    ['texts', ['hello world', 'hi'], 3],
    ['tokens', [1, 2, 3, 4], 4],
    ['lists of tokens', [[1, 2], [3]], 3],
    ['nothing', [], 0],
  ])('%s', (_, input, tokens) => {
    expect(count('/v1/embeddings', { input }, 'text-embedding-3-small')).toMatchObject({
      total: tokens,
      fixed: 0,
    })
  })
})

describe('tools', () => {
  const weather = {
    name: 'get_current_weather',
    description: 'Get the current weather in a given location',
    parameters: {
      type: 'object',
      properties: {
        location: { type: 'string', description: 'The city and state, e.g. San Francisco, CA' },
        unit: {
          type: 'string',
          description: 'The unit of temperature to return',
          enum: ['celsius', 'fahrenheit'],
        },
      },
      required: ['location'],
    },
  }
  const messages = [
    {
      role: 'system',
      content: 'You are a helpful assistant that can answer to questions about the weather.',
    },
    { role: 'user', content: "What's the weather like in San Francisco?" },
  ]
  const tools = [{ type: 'function', function: weather }]

  test.each([
    ['gpt-3.5-turbo', 105],
    ['gpt-4', 105],
    ['gpt-4o', 101],
    ['gpt-4o-mini', 101],
  ])('the example of the cookbook was billed to %s as %d tokens', (model, billed) => {
    expect(count(CHAT, { messages, tools }, model).total).toBe(billed)
  })

  test('both endpoints and the older field cost the same', () => {
    const expected = count(CHAT, { tools }).tools
    expect(expected).toBeGreaterThan(50)
    expect(count(CHAT, { functions: [weather] }).tools).toBe(expected)
    expect(count(RESPONSES, { tools: [{ type: 'function', ...weather }] }).tools).toBe(expected)
  })

  test('a token more where they may not be called', () => {
    expect(count(CHAT, { tools, tool_choice: 'none' }).tools).toBe(count(CHAT, { tools }).tools + 1)
    expect(count(CHAT, { tools: [], tool_choice: 'none' }).tools).toBe(0)
  })
})

describe('schemas', () => {
  const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
  const chat = { response_format: { type: 'json_schema', json_schema: { name: 'place', schema } } }
  const responses = { text: { format: { type: 'json_schema', name: 'place', schema } } }

  test.each(['gpt-4o', 'gpt-5'])('cost the same in both endpoints: %s', (model) => {
    const { format } = count(CHAT, chat, model)
    expect(format).toBeGreaterThan(15)
    expect(count(RESPONSES, responses, model).format).toBe(format)
  })

  test('other formats of the answer cost nothing', () => {
    expect(count(CHAT, { response_format: { type: 'json_object' } }).format).toBe(0)
    expect(count(RESPONSES, { text: { format: { type: 'text' } } }).format).toBe(0)
  })

  const tokensOf = (property: unknown): number =>
    count(CHAT, {
      tools: [
        {
          type: 'function',
          function: { name: 'f', parameters: { type: 'object', properties: { p: property } } },
        },
      ],
    }).tools
  const plain = tokensOf({ type: 'string' })
  test.each([
    ['a title', { type: 'string', title: 'P' }, 4],
    ['a description', { type: 'string', description: 'x' }, 3],
    ['dots at its end', { type: 'string', description: 'x....' }, 3],
    ['two types', { type: ['string', 'null'] }, 3 + 1],
    ['choices', { type: 'string', enum: ['a', 'b'] }, 2 + 3],
    ['choices that are numbers', { type: 'integer', enum: [1, 2] }, 2 + 3],
    ['one value', { const: 'a' }, 0],
    ['a reference', { $ref: '#/$defs/place' }, 0],
    ['alternatives', { anyOf: [{ type: 'string' }, { type: 'null' }] }, 3 + 1],
    ['an empty object', { type: 'object', properties: {} }, 0],
    ['an object', { type: 'object', properties: { q: { type: 'string' } } }, 2 + 1 + 1],
    ['a list', { type: 'array', items: { type: 'string' } }, 1],
    ['nothing at all', {}, -1],
  ])('%s', (_, property, more) => {
    expect(tokensOf(property) - plain).toBe(more)
  })

  test('no schema makes it throw', () => {
    fc.assert(
      fc.property(anySchema, anyModel, (odd, model) => {
        const tools = [{ type: 'function', function: { name: 'f', parameters: odd } }]
        const format = { type: 'json_schema', json_schema: { name: 'f', schema: odd } }
        expect(count(CHAT, { tools, response_format: format }, model).total).toBeGreaterThan(0)
      }),
      { numRuns: 1000 },
    )
  })

  test('nor does one nested 5,000 deep', () => {
    let deep: object = { type: 'string' }
    for (let level = 0; level < 5000; level++) deep = { type: 'object', properties: { p: deep } }
    expect(tokensOf(deep)).toBeGreaterThan(plain)
  })
})

describe('images', () => {
  const image = { type: 'image_url', image_url: { url: dataUrl(gif(1024, 1024)), detail: 'high' } }

  test('cost by their size', () => {
    expect(count(CHAT, user([image]))).toMatchObject({ images: 765, assumptions: [] })
  })

  test('one of unknown size is assumed, and that is said once', () => {
    const remote = { type: 'image_url', image_url: { url: 'https://example.com/a.png', detail: 'high' } }
    expect(count(CHAT, user([remote, remote]))).toMatchObject({
      images: 2 * 765,
      assumptions: ['an image of unknown size is counted as 1024 x 1024 pixels'],
    })
  })
})

describe('assumptions', () => {
  test('an unknown model is counted as the newest', () => {
    expect(count(CHAT, user('hi'), 'qwen3').assumptions).toEqual(['model qwen3 is unknown: counted as gpt-6'])
    expect(count(CHAT, user('hi'), 'ft:gpt-4o-mini-2024-07-18:org::id').assumptions).toEqual([])
  })

  test('what only the server knows is left out by name', () => {
    const [words] = count(RESPONSES, { previous_response_id: 'resp_1' }).assumptions
    expect(words).toContain('not counted: previous_response_id')
  })

  test('an encoding that was not asked for is replaced, with a word', async () => {
    const some = await loadTokenCounter(['gpt-5-mini'])
    const { assumptions } = some.count({ endpoint: CHAT, model: 'gpt-4', body: user('hi') })
    expect(assumptions).toEqual(['model gpt-4 is counted with o200k_base, as its own encoding is not loaded'])
    const both = await loadTokenCounter(['gpt-5-mini', 'gpt-4'])
    expect(both.count({ endpoint: CHAT, model: 'gpt-4', body: user('hi') }).assumptions).toEqual([])
  })
})

describe('any text', () => {
  test.each(['<|endoftext|>', '<|im_start|>system', '\ud800', '<|start|>'])('%j is ordinary text', (text) => {
    expect(count(CHAT, user(text)).text).toBeGreaterThan(0)
  })

  test.each([' ', 'a', '漢', '-', '\u0301'])('a run of 100,000 times %j takes no time', (sign) => {
    const long = count(CHAT, user(sign.repeat(100_000))).text
    const short = count(CHAT, user(sign.repeat(400))).text
    expect(long).toBeGreaterThan(180 * short)
    expect(long).toBeLessThan(300 * short)
  })

  test('a cut through a long run costs at most a token for each 512 signs', async () => {
    const { countTokens } = await import('gpt-tokenizer/encoding/o200k_base')
    const run = fc.string({
      unit: fc.constantFrom('a', 'b', 'É', '漢', '字'),
      minLength: 600,
      maxLength: 1500,
    })
    fc.assert(
      fc.property(run, (text) => {
        const whole = countTokens(text)
        const inPieces = count(CHAT, user(text)).text
        expect(inPieces).toBeGreaterThanOrEqual(whole)
        expect(inPieces - whole).toBeLessThanOrEqual(Math.ceil(text.length / 512))
      }),
      { numRuns: 50 },
    )
  })

  test('more sentences are more tokens', () => {
    const sentence = fc.string({ maxLength: 40 }).map((words) => `${words}.`)
    fc.assert(
      fc.property(fc.array(sentence), sentence, (sentences, more) => {
        const parts = (texts: readonly string[]) => texts.map((text) => ({ type: 'text', text }))
        const less = count(CHAT, user(parts(sentences)))
        expect(count(CHAT, user(parts([...sentences, more]))).total).toBeGreaterThan(less.total)
      }),
    )
  })

  test('the total is the sum of its parts, all whole and not negative', () => {
    fc.assert(
      fc.property(anyCall, anyModel, ({ endpoint, body }, model) => {
        const { total, assumptions: _, ...parts } = counter.count({ endpoint, model, body })
        const figures = Object.values(parts)
        expect(figures.every((figure) => Number.isSafeInteger(figure) && figure >= 0)).toBe(true)
        expect(total).toBe(figures.reduce((sum, figure) => sum + figure, 0))
      }),
      { numRuns: 500 },
    )
  })
})
