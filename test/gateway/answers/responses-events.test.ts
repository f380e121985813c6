import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { responsesEvents } from '../../../src/gateway/answers/responses-events.ts'
import { RESPONSE_ANSWERS, UNFINISHED_ANSWERS } from './response-answers.ts'
import { SDKS } from './sdk-streams.ts'

const events = (answer: object): string[] => [...responsesEvents(JSON.stringify(answer))]

/** Type and data of each event. */
const read = (frames: readonly string[]) =>
  frames.map((frame) => {
    const [, type, data] = /^event: (.*)\ndata: (.*)\n\n$/.exec(frame) ?? []
    return { type, data: JSON.parse(data ?? '') }
  })

/** What of a response is not known at first. */
const AT_FIRST = { status: 'in_progress', usage: null, error: null, incomplete_details: null }

describe.each(SDKS)('the stream helper of openai $version', (sdk) => {
  test.each(Object.entries(RESPONSE_ANSWERS))('puts together %s', async (_, answer) => {
    const {
      output_parsed: _parsed,
      output_text: _text,
      ...final
    } = Object.fromEntries(Object.entries(await sdk.response(events(answer))))
    expect(
      JSON.parse(
        JSON.stringify(final, (name, value) =>
          name === 'parsed' || name === 'parsed_arguments' ? undefined : value,
        ),
      ),
    ).toEqual(answer)
  })

  test.each(Object.entries(UNFINISHED_ANSWERS))('puts together what is %s', async (_, answer) => {
    const final = await sdk.response(events(answer))
    // Version 4 takes no notice of what the last event of these says: it has what came before.
    if (sdk.version > 4) expect(final).toMatchObject(answer)
    else expect(final).toMatchObject({ ...AT_FIRST, output: answer.output.map(() => expect.any(Object)) })
  })

  test('sees what is unfinished', async () => {
    expect(await sdk.response(events(UNFINISHED_ANSWERS.incomplete))).toMatchObject({
      output: [{ content: [{ text: 'Hello, wo' }] }],
    })
    expect((await sdk.events(events(UNFINISHED_ANSWERS.failed))).at(-1)).toMatchObject({
      type: 'response.failed',
      response: UNFINISHED_ANSWERS.failed,
    })
  })
})

test.each(Object.entries(RESPONSE_ANSWERS))(
  'the events of %s are numbered, and the deltas add up',
  (_, answer) => {
    const all = read(events(answer))
    expect(all.map(({ data }) => data.sequence_number)).toEqual(all.map((_, index) => index))
    for (const { type, data } of all) expect(data.type).toBe(type)
    for (const { type, data } of all.filter((event) => event.type?.endsWith('_text.done'))) {
      const pieces = all.filter(
        (event) =>
          event.type === type?.replace(/done$/, 'delta') &&
          event.data.item_id === data.item_id &&
          event.data.content_index === data.content_index &&
          event.data.summary_index === data.summary_index,
      )
      expect(pieces.map((event) => event.data.delta).join('')).toBe(data.text)
    }
  },
)

test('a message is added, written and done', () => {
  const types = read(events(RESPONSE_ANSWERS['reasoning, then a text'])).map(({ type }) => type)
  expect(types).toEqual([
    'response.created',
    'response.in_progress',
    'response.output_item.added',
    'response.reasoning_summary_part.added',
    'response.reasoning_summary_text.delta',
    'response.reasoning_summary_text.done',
    'response.reasoning_summary_part.done',
    'response.reasoning_summary_part.added',
    'response.reasoning_summary_text.delta',
    'response.reasoning_summary_text.done',
    'response.reasoning_summary_part.done',
    'response.output_item.done',
    'response.output_item.added',
    'response.content_part.added',
    'response.output_text.delta',
    'response.output_text.done',
    'response.content_part.done',
    'response.output_item.done',
    'response.completed',
  ])
})

test('at first a response has no output, no usage and no end', () => {
  const [created] = read(events(RESPONSE_ANSWERS.text))
  expect(created?.data.response).toEqual({
    ...RESPONSE_ANSWERS.text,
    status: 'in_progress',
    output: [],
    usage: null,
    completed_at: null,
  })
})

test.each([
  ['none', { id: 'r', status: 'failed', error: { code: 'server_error', message: 'It broke.' } }],
  ['null', { id: 'r', status: 'failed', output: null }],
])('a response whose output is %s begins and ends like any other', (_, answer) => {
  const types = read(events(answer)).map(({ type }) => type)
  expect(types).toEqual(['response.created', 'response.in_progress', 'response.failed'])
})

test('the logprobs of a long text come with its first piece', () => {
  const logprobs = [{ token: 'a', bytes: [97], logprob: -1, top_logprobs: [] }]
  const part = { type: 'output_text', text: 'a'.repeat(150_000), annotations: [], logprobs }
  const answer = { id: 'r', status: 'completed', output: [{ id: 'm', type: 'message', content: [part] }] }
  const deltas = read(events(answer)).filter(({ type }) => type === 'response.output_text.delta')
  expect(deltas.map(({ data }) => data.logprobs)).toEqual([logprobs, [], []])
})

test('an answer keeps the spelling of its numbers', () => {
  const answer =
    '{"id":"r","status":"completed","temperature":1.0,"output":[{"id":"i","type":"odd","n":12345678901234567890}]}'
  const frames = [...responsesEvents(answer)]
  expect(frames.at(-1)).toContain(answer)
  expect(frames.at(-2)).toContain('"n":12345678901234567890')
})

test('whatever an answer holds, each event is whole', () => {
  const odd = fc.jsonValue({ maxDepth: 3 })
  const type = fc.constantFrom(
    'message',
    'reasoning',
    'function_call',
    'mcp_call',
    'code_interpreter_call',
    'odd',
  )
  const item = fc.oneof(
    odd,
    fc.record(
      { type, id: odd, status: odd, content: odd, summary: odd, arguments: odd, code: odd },
      { requiredKeys: [] },
    ),
  )
  fc.assert(
    fc.property(fc.oneof(odd, fc.record({ id: odd, status: odd, output: fc.array(item) })), (answer) => {
      const all = read([...responsesEvents(JSON.stringify(answer))])
      expect(all.at(-1)?.data.response).toEqual(JSON.parse(JSON.stringify(answer)))
    }),
  )
})
