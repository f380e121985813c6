import fc from 'fast-check'
import { dataUrl, gif } from './pictures.ts'

/** Request bodies of all shapes, the odd ones included. */

const word = fc.oneof(
  fc.string({ maxLength: 30 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    '<|endoftext|>',
    '<|im_start|>',
    '\ud800',
    '漢字かな交じり文',
    '....',
    '   ',
    '🎉🎉',
    'The cat sat.',
  ),
)
const text = fc.array(word, { maxLength: 6 }).map((words) => words.join(' '))
const anything = fc.jsonValue({ maxDepth: 3 })

const scalarSchema = fc.oneof(
  fc.constantFrom(
    {},
    { type: 'string' },
    { type: ['string', 'null'] },
    { type: 'object' },
    { type: 'array' },
  ),
  fc.array(fc.integer({ max: 9 }), { maxLength: 30 }).map((values) => ({ enum: values })),
  fc.array(anything, { maxLength: 4 }).map((values) => ({ type: 'string', enum: values })),
  anything.map((value) => ({ const: value })),
  word.map((name) => ({ $ref: `#/$defs/${name}` })),
)
const { schema } = fc.letrec<{ schema: unknown; properties: unknown }>((tie) => ({
  schema: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    scalarSchema,
    anything,
    fc.record(
      {
        type: fc.constantFrom('object', 'array', 'string', ['object', 'null'], 7),
        title: fc.oneof(word, anything),
        description: fc.oneof(text, anything),
        properties: tie('properties'),
        $defs: tie('properties'),
        items: tie('schema'),
        anyOf: fc.array(tie('schema'), { maxLength: 3 }),
        required: fc.array(word, { maxLength: 2 }),
        additionalProperties: fc.boolean(),
      },
      { requiredKeys: [] },
    ),
  ),
  properties: fc.dictionary(word, tie('schema'), { maxKeys: 4 }),
}))
export const anySchema = schema

const named = fc.record(
  { name: word, description: text, parameters: schema, strict: fc.boolean() },
  { requiredKeys: [] },
)
const chatTool = fc.oneof(
  named.map((tool) => ({ type: 'function', function: tool })),
  named.map((tool) => ({ type: 'custom', custom: tool })),
  anything,
)
const responsesTool = fc.oneof(
  named.map((tool) => ({ type: 'function', ...tool })),
  fc.constant({ type: 'custom', name: 'sql', format: { type: 'grammar', definition: 'start: "a"' } }),
  anything,
)

const url = fc.oneof(
  fc.tuple(fc.nat(5000), fc.nat(5000)).map(([width, height]) => dataUrl(gif(width, height), 'image/gif')),
  fc.constantFrom('https://example.com/a.png', 'data:,', 'nonsense', ''),
)
const detail = fc.constantFrom('low', 'high', 'auto', 'original')
const chatPart = fc.oneof(
  text.map((value) => ({ type: 'text', text: value })),
  fc.tuple(url, detail).map(([one, how]) => ({ type: 'image_url', image_url: { url: one, detail: how } })),
  url.map((one) => ({ type: 'image_url', image_url: one })),
  anything,
)
const responsesPart = fc.oneof(
  text.map((value) => ({ type: 'input_text', text: value })),
  fc.tuple(url, detail).map(([one, how]) => ({ type: 'input_image', image_url: one, detail: how })),
  fc.constant({ type: 'input_image', file_id: 'file-1' }),
  anything,
)
const callOf = fc.record({ name: word, arguments: text, input: text }, { requiredKeys: [] })
const contentOf = (part: fc.Arbitrary<unknown>) =>
  fc.oneof(text, fc.array(part, { maxLength: 4 }), fc.constant(null), anything)

const role = fc.constantFrom('system', 'user', 'assistant', 'tool', 'developer')
const message = fc.oneof(
  fc.record(
    {
      role,
      name: word,
      content: contentOf(chatPart),
      refusal: text,
      tool_calls: fc.array(callOf.map((call) => ({ id: 'call_1', type: 'function', function: call }))),
    },
    { requiredKeys: [] },
  ),
  anything,
)
const item = fc.oneof(
  fc.record({ role, content: contentOf(responsesPart) }, { requiredKeys: [] }),
  callOf.map((call) => ({ type: 'function_call', ...call })),
  contentOf(responsesPart).map((output) => ({ type: 'function_call_output', call_id: 'call_1', output })),
  anything,
)

const format = fc.oneof(
  fc.record({ name: word, description: text, schema, strict: fc.boolean() }, { requiredKeys: [] }),
  anything,
)
const chatBody = fc.record(
  {
    messages: fc.oneof(fc.array(message, { maxLength: 6 }), anything),
    tools: fc.array(chatTool, { maxLength: 3 }),
    functions: fc.array(fc.oneof(named, anything), { maxLength: 2 }),
    tool_choice: fc.constantFrom('none', 'auto'),
    response_format: fc.oneof(
      format.map((one) => ({ type: 'json_schema', json_schema: one })),
      fc.constant({ type: 'json_object' }),
      anything,
    ),
  },
  { requiredKeys: [] },
)
const responsesBody = fc.record(
  {
    instructions: fc.oneof(text, anything),
    input: fc.oneof(text, fc.array(item, { maxLength: 6 }), anything),
    tools: fc.array(responsesTool, { maxLength: 3 }),
    text: fc.oneof(
      format.map((one) => ({ format: { type: 'json_schema', ...Object(one) } })),
      anything,
    ),
  },
  { requiredKeys: [] },
)
const tokens = fc.array(fc.nat(200_000), { maxLength: 20 })
const embeddingBody = fc.record({ input: fc.oneof(text, fc.array(text), tokens, fc.array(tokens), anything) })

/** An endpoint and a body for it. */
export const anyCall = fc.oneof(
  fc.record({ endpoint: fc.constant('/v1/chat/completions' as const), body: chatBody }),
  fc.record({ endpoint: fc.constant('/v1/responses' as const), body: responsesBody }),
  fc.record({ endpoint: fc.constant('/v1/embeddings' as const), body: embeddingBody }),
)

export const anyModel = fc.constantFrom(
  ...['gpt-4', 'gpt-3.5-turbo', 'gpt-4-turbo', 'gpt-4o', 'gpt-4o-mini', 'gpt-4.1-nano', 'o1', 'o3', 'gpt-5'],
  ...['gpt-5-mini', 'gpt-5.5', 'gpt-6-luna', 'text-embedding-3-small', 'qwen3'],
)

export const bodyBytesOf = (body: object): number => Buffer.byteLength(JSON.stringify(body))
