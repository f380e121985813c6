import type { Endpoint } from '../../src/tokens/measure.ts'
import { dataUrl, png } from '../tokens/pictures.ts'

/** One row of the table: a prompt, in the form of its endpoint, without model and maximum of output tokens. */
export interface Payload {
  readonly name: string
  readonly endpoint: Endpoint
  readonly body: Readonly<Record<string, unknown>>
}

const CHAT = '/v1/chat/completions'
const RESPONSES = '/v1/responses'

const chat = (name: string, content: unknown, rest: object = {}): Payload => ({
  name,
  endpoint: CHAT,
  body: { messages: [{ role: 'user', content }], ...rest },
})
const responses = (name: string, input: unknown, rest: object = {}): Payload => ({
  name,
  endpoint: RESPONSES,
  body: { input, ...rest },
})

const QUESTION = 'Which city is meant by "the eternal city"?'
const PROSE = 'It was a bright cold day in April, and the clocks were striking thirteen. '.repeat(20)
const JAPANESE = '吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。'.repeat(10)
const CODE = 'for (let i = 0; i < 10; i++) {\n  console.log("line", i)\n}\n'.repeat(10)

const PLACE = {
  type: 'object',
  properties: {
    city: { type: 'string', description: 'The name of the city.' },
    kind: { type: 'string', enum: ['capital', 'town', 'village'] },
    people: { type: ['integer', 'null'], description: 'How many live there' },
    sights: {
      type: 'array',
      items: {
        type: 'object',
        properties: { name: { type: 'string' }, year: { anyOf: [{ type: 'integer' }, { type: 'null' }] } },
        required: ['name', 'year'],
        additionalProperties: false,
      },
    },
  },
  required: ['city', 'kind', 'people', 'sights'],
  additionalProperties: false,
}
const FORMAT = { name: 'place', strict: true, schema: PLACE }
const TOOL = { name: 'find_place', description: 'Finds a place on the map.', parameters: PLACE }
const SECOND_TOOL = { name: 'now', description: 'The time.', parameters: { type: 'object', properties: {} } }

const CALLS = [
  { role: 'user', content: QUESTION },
  {
    role: 'assistant',
    content: null,
    tool_calls: [
      { id: 'call_1', type: 'function', function: { name: 'find_place', arguments: '{"city":"Rome"}' } },
    ],
  },
  { role: 'tool', tool_call_id: 'call_1', content: '{"people":2750000}' },
]

export const TEXTS: readonly Payload[] = [
  chat('one word', 'hi'),
  chat('question', QUESTION),
  chat('prose', PROSE),
  chat('japanese', JAPANESE),
  chat('code', CODE),
  chat('special tokens', 'What does <|endoftext|> mean?'),
  chat('two texts', [
    { type: 'text', text: 'Answer in one word.' },
    { type: 'text', text: QUESTION },
  ]),
  {
    name: 'conversation',
    endpoint: CHAT,
    body: {
      messages: [
        { role: 'system', content: 'Be short.' },
        { role: 'user', name: 'ann', content: QUESTION },
        { role: 'assistant', content: 'Rome.' },
        { role: 'user', content: 'And the windy one?' },
      ],
    },
  },
  chat('schema', QUESTION, { response_format: { type: 'json_schema', json_schema: FORMAT } }),
  chat('tool', QUESTION, { tools: [{ type: 'function', function: TOOL }] }),
  chat('two tools', QUESTION, {
    tools: [TOOL, SECOND_TOOL].map((tool) => ({ type: 'function', function: tool })),
  }),
  {
    name: 'call of a tool',
    endpoint: CHAT,
    body: { messages: CALLS, tools: [{ type: 'function', function: TOOL }] },
  },
  responses('responses: question', QUESTION),
  responses('responses: instructions', QUESTION, { instructions: 'Be short.' }),
  responses('responses: schema', QUESTION, { text: { format: { type: 'json_schema', ...FORMAT } } }),
  responses('responses: tool', QUESTION, { tools: [{ type: 'function', ...TOOL }] }),
]

const SIZES = [
  [64, 64],
  [512, 512],
  [1024, 1024],
  [1800, 1200],
  [2050, 513],
  [3000, 2000],
] as const

/** Black pictures of several sizes and details. */
export const IMAGES: readonly Payload[] = SIZES.flatMap(([width, height]) =>
  (['low', 'high', 'auto'] as const).map((detail) =>
    chat(`${width} x ${height}, ${detail}`, [
      { type: 'text', text: 'What is this?' },
      { type: 'image_url', image_url: { url: dataUrl(png(width, height)), detail } },
    ]),
  ),
)
