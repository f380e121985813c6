import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chatEvents } from '../../../src/gateway/answers/chat-events.ts'
import { CHAT_ANSWERS, CUSTOM_CALL, CUSTOM_CALLS } from './chat-answers.ts'
import { SDKS } from './sdk-streams.ts'

const events = (answer: object, includeUsage = true): string[] => [
  ...chatEvents(JSON.stringify(answer), { includeUsage }),
]

/** What the data of the events says, without the end mark. */
const dataOf = (frames: readonly string[]): string[] =>
  frames
    .join('')
    .split('\n\n')
    .filter((frame) => frame !== '' && frame !== 'data: [DONE]')
    .map((frame) => frame.slice('data: '.length))

describe.each(SDKS)('the stream helper of openai $version', ({ version, chat, chunks }) => {
  test.each(Object.entries(CHAT_ANSWERS))('puts together %s', async (_, answer) => {
    const final = await chat(events(answer))
    // Clients add `parsed` to what they put together.
    expect(
      JSON.parse(JSON.stringify(final, (name, value) => (name === 'parsed' ? undefined : value))),
    ).toEqual(answer)
  })

  test('gets usage only when it asked for it', async () => {
    const { usage: _, ...rest } = CHAT_ANSWERS.text
    expect(await chat(events(CHAT_ANSWERS.text, false))).toMatchObject(rest)
    expect(await chat(events(CHAT_ANSWERS.text, false))).not.toHaveProperty('usage')
    const all = await chunks(events(CHAT_ANSWERS.text))
    expect(all.at(-1)).toMatchObject({ choices: [], usage: CHAT_ANSWERS.text.usage })
    for (const chunk of all.slice(0, -1)) expect(chunk).toHaveProperty('usage', null)
  })

  test('puts together a call of a custom tool, which older versions refuse', async () => {
    const final = chat(events(CUSTOM_CALL))
    if (version > 6) expect(await final).toMatchObject(CUSTOM_CALL)
    else await expect(final).rejects.toThrow('missing choices[0].tool_calls[0].function.name')
    // Whoever reads the chunks has all of it, in any version.
    const [, call] = await chunks(events(CUSTOM_CALL))
    expect(call).toMatchObject({ choices: [{ delta: { tool_calls: CUSTOM_CALLS } }] })
  })

  test('parses what was asked for as JSON', async () => {
    const answer = {
      ...CHAT_ANSWERS.text,
      choices: [
        {
          ...CHAT_ANSWERS.text.choices[0],
          message: { role: 'assistant', content: '{"a":[1,2]}', refusal: null },
        },
      ],
    }
    const format = { type: 'json_schema', json_schema: { name: 'x', strict: true, schema: {} } }
    expect(await chat(events(answer), { response_format: format })).toMatchObject({
      choices: [{ message: { content: '{"a":[1,2]}' } }],
    })
  })
})

test('an answer keeps the spelling of its numbers', () => {
  const answer =
    '{"id":"c","object":"chat.completion","created":1e9,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"caf\\u00e9","score":1.50},"logprobs":{"content":[{"token":"a","logprob":-0.0}],"refusal":null},"finish_reason":"stop"}],"usage":{"total_tokens":12345678901234567890}}'
  const text = [...chatEvents(answer, { includeUsage: true })].join('')
  for (const part of [
    '"created":1e9',
    '"score":1.50',
    '"logprob":-0.0',
    '12345678901234567890',
    'caf\\u00e9',
  ])
    expect(text).toContain(part)
})

test('a text that a client splits at odd characters is sent with these escaped', () => {
  const [, text] = dataOf(events(CHAT_ANSWERS['odd breaks in a text']))
  expect(text).not.toMatch(/[\u0085\u2028\u2029]/)
  expect(JSON.parse(text ?? '')).toMatchObject({
    choices: [{ delta: { content: 'a\u2028b\u2029c\u0085d\r\n\u0000e\u000bf' } }],
  })
})

test('what clients would add up is said once', () => {
  const said = dataOf(events(CHAT_ANSWERS['fields of other servers']))
  for (const name of ['prompt_filter_results', 'content_filter_results', 'annotations', 'reasoning_content'])
    expect(said.filter((data) => data.includes(name))).toHaveLength(1)
})

test('an answer that is written on several lines is sent on one for each event', () => {
  const pretty = JSON.stringify(CHAT_ANSWERS['several choices'], null, 2).replaceAll('\n', '\r\n')
  const sent = dataOf([...chatEvents(pretty, { includeUsage: true })])
  for (const data of sent) expect(data).not.toMatch(/[\r\n]/)
  expect(sent.map((data) => JSON.parse(data))).toEqual(
    dataOf(events(CHAT_ANSWERS['several choices'])).map((data) => JSON.parse(data)),
  )
})

test('an answer without choices is still a stream', () => {
  const empty = { ...CHAT_ANSWERS.text, choices: [] }
  expect(dataOf(events(empty)).map((data) => JSON.parse(data).choices)).toEqual([[], []])
  expect([...chatEvents('{"odd":1}', { includeUsage: true })]).toEqual([
    'data: {"odd":1}\n\n',
    'data: [DONE]\n\n',
  ])
  expect([...chatEvents('[1]', { includeUsage: true })]).toEqual(['data: [1]\n\n', 'data: [DONE]\n\n'])
})

test('texts of any length add up, and no delta ends within a character', () => {
  const text = fc
    .tuple(fc.string({ unit: 'binary' }), fc.nat(40_000))
    .map(([unit, times]) => unit.repeat(times))
  fc.assert(
    fc.property(text, text, (content, args) => {
      const message = {
        role: 'assistant',
        content,
        tool_calls: [{ id: 'a', function: { name: 'f', arguments: args } }],
      }
      const deltas = dataOf(events({ choices: [{ index: 0, message, finish_reason: 'stop' }] })).map(
        (data) => JSON.parse(data).choices[0].delta,
      )
      const contents = deltas.map((delta) => delta.content ?? '')
      const inputs = deltas.map((delta) => delta.tool_calls?.[0].function.arguments ?? '')
      expect([contents.join(''), inputs.join('')]).toEqual([content, args])
      for (const piece of [...contents, ...inputs]) expect(piece.isWellFormed()).toBe(true)
    }),
    { numRuns: 30 },
  )
})

test('whatever an answer holds, each event is whole', () => {
  const odd = fc.jsonValue({ maxDepth: 3 })
  const message = fc.record(
    { role: odd, content: odd, refusal: odd, tool_calls: odd, function_call: odd, extra: odd },
    { requiredKeys: [] },
  )
  const choice = fc.oneof(
    odd,
    fc.record({ index: odd, message, logprobs: odd, finish_reason: odd, extra: odd }, { requiredKeys: [] }),
  )
  fc.assert(
    fc.property(fc.record({ id: odd, choices: fc.array(choice), usage: odd }), (answer) => {
      for (const data of dataOf(events(answer))) expect(JSON.parse(data)).toHaveProperty('choices')
    }),
  )
})
