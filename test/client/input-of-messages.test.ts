import { expect, test } from 'vitest'
import { OpenAIBatching } from '../../src/client/index.ts'
import { inputOfMessages } from '../../src/client/input-of-messages.ts'
import { UsageError } from '../../src/errors.ts'

test('words stay as they are', () => {
  const messages = [
    { role: 'developer' as const, content: 'Be short.' },
    { role: 'system' as const, content: 'Be kind.' },
    { role: 'user' as const, content: '' },
    { role: 'assistant' as const, content: 'What?' },
    { role: 'user' as const, content: 'Hello.' },
  ]
  expect(inputOfMessages(messages)).toEqual(messages)
})

test('pictures and files are given as responses have them', () => {
  const items = inputOfMessages([
    {
      role: 'user',
      content: [
        { type: 'text', text: 'What is this?' },
        { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
        { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'low' } },
        { type: 'file', file: { file_data: 'data:application/pdf;base64,AA==', filename: 'a.pdf' } },
      ],
    },
  ])
  expect(items).toEqual([
    {
      role: 'user',
      content: [
        { type: 'input_text', text: 'What is this?' },
        { type: 'input_image', image_url: 'https://example.com/a.png', detail: 'auto' },
        { type: 'input_image', image_url: 'data:image/png;base64,AA==', detail: 'low' },
        { type: 'input_file', file_data: 'data:application/pdf;base64,AA==', filename: 'a.pdf' },
      ],
    },
  ])
})

test('calls of tools and what they brought become items of their own', () => {
  const call = {
    id: 'call_1',
    type: 'function' as const,
    function: { name: 'weather', arguments: '{"at":"Pau"}' },
  }
  const items = inputOfMessages([
    { role: 'assistant', content: null, tool_calls: [call, { ...call, id: 'call_2' }] },
    { role: 'tool', tool_call_id: 'call_1', content: 'rain' },
    {
      role: 'tool',
      tool_call_id: 'call_2',
      content: [
        { type: 'text', text: 'r' },
        { type: 'text', text: 'ain' },
      ],
    },
    {
      role: 'assistant',
      content: [
        { type: 'text', text: 'Rain' },
        { type: 'text', text: '.' },
      ],
    },
    { role: 'assistant', refusal: 'No.' },
  ])
  expect(items).toEqual([
    { type: 'function_call', call_id: 'call_1', name: 'weather', arguments: '{"at":"Pau"}' },
    { type: 'function_call', call_id: 'call_2', name: 'weather', arguments: '{"at":"Pau"}' },
    { type: 'function_call_output', call_id: 'call_1', output: 'rain' },
    { type: 'function_call_output', call_id: 'call_2', output: 'rain' },
    { role: 'assistant', content: 'Rain.' },
    { role: 'assistant', content: 'No.' },
  ])
})

test('what responses have no form for is refused, with its place', () => {
  const audio = { type: 'input_audio' as const, input_audio: { data: '', format: 'wav' as const } }
  const custom = { id: 'call_1', type: 'custom' as const, custom: { name: 'a', input: '' } }
  expect(() => inputOfMessages([{ role: 'user', content: [audio] }])).toThrow(
    /^messages\[0\]\.content\[0\] .* audio/,
  )
  expect(() => inputOfMessages([{ role: 'assistant', tool_calls: [custom] }])).toThrow(
    /^messages\[0\]\.tool_calls\[0\] /,
  )
  expect(() => inputOfMessages([{ role: 'function', name: 'a', content: '' }])).toThrow(
    /^messages\[0\] .* function/,
  )
})

test('what nobody knows is refused like that, with its name and no more of it', () => {
  const secret = 'x'.repeat(10_000)
  // As programs without types may have it.
  const poet: never[] = JSON.parse(`[{ "role": "poet", "content": "${secret}" }]`)
  const film: never[] = JSON.parse(
    `[{ "role": "user", "content": [{ "type": "video", "video": "${secret}" }] }]`,
  )
  const error = (place: string, what: string) =>
    new UsageError('bad_messages', `${place} cannot be given to responses.create: it is ${what}`)
  expect(() => inputOfMessages(poet)).toThrow(error('messages[0]', 'a message of the role "poet"'))
  expect(() => inputOfMessages(film)).toThrow(error('messages[0].content[0]', 'a part of the type "video"'))
})

test('there is input or there are messages, not both', () => {
  const client = new OpenAIBatching({ batchServerUrl: 'http://127.0.0.1:1' })
  const both = { model: 'm', input: 'a', messages: [{ role: 'user', content: 'a' }] }
  // @ts-expect-error: both
  expect(() => client.responses.create(both)).toThrow(UsageError)
})
