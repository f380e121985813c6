import type { BatchCreateParams } from 'openai/resources/batches'
import { describe, expect, test } from 'vitest'
import { createEmulator, type EmulatorOptions } from '../../src/emulator/index.ts'
import { chatLine, chatLines, clientOf, errorOf, INSTANT, submit, untilOver, upload } from './helpers.ts'

const setUp = (options: EmulatorOptions = {}) => clientOf(createEmulator({ latency: INSTANT, ...options }))

async function failureOf(lines: readonly unknown[], options: EmulatorOptions = {}) {
  const openai = setUp(options)
  const batch = await untilOver(openai, (await submit(openai, lines)).id)
  expect(batch.status).toBe('failed')
  expect(batch.failed_at).toBeTypeOf('number')
  return batch.errors?.data ?? []
}

const without = (name: string): object => {
  const entries = Object.entries(chatLine(9)).filter(([key]) => key !== name)
  return Object.fromEntries(entries)
}

describe('a batch fails on a line', () => {
  test.each([
    ['that is not JSON', '{"custom_id": "a', 'invalid_json_line', null],
    ['that is no object', '[1]', 'invalid_json_line', null],
    ['that begins with a byte order mark', `\uFEFF${JSON.stringify(chatLine(9))}`, 'invalid_json_line', null],
    ['with an id used before', chatLine(0), 'duplicate_custom_id', 'custom_id'],
    ['with another model', chatLine(9, { model: 'gpt-4o' }), 'mismatched_model', 'body.model'],
    ['with another URL', { ...chatLine(9), url: '/v1/responses' }, 'invalid_url', 'url'],
    ['with another method', { ...chatLine(9), method: 'GET' }, 'invalid_method', 'method'],
    ['without an id', without('custom_id'), 'missing_required_parameter', 'custom_id'],
    ['without a body', without('body'), 'missing_required_parameter', 'body'],
    ['without a model', chatLine(9, { model: undefined }), 'missing_required_parameter', 'body.model'],
    ['that wants to be streamed', chatLine(9, { stream: true }), 'invalid_request', 'body.stream'],
  ])('%s', async (_, line, code, param) => {
    const errors = await failureOf([chatLine(0), '', line, chatLine(1)])
    expect(errors).toMatchObject([{ code, line: 3, param }])
  })
})

test('each bad line is named, up to a hundred', async () => {
  const errors = await failureOf([...chatLines(3), 'bad', chatLine(4), 'bad'])
  expect(errors.map(({ line }) => line)).toEqual([4, 6])
  expect(await failureOf(Array<string>(500).fill('bad'))).toHaveLength(100)
})

test('the URL error says what the real one says', async () => {
  const [error] = await failureOf([{ ...chatLine(0), url: '/chat/completions' }])
  expect(error?.message).toContain('does not prefix-match the batch endpoint')
})

test('an empty file, too many lines, and too many embedding inputs are refused', async () => {
  expect(await failureOf(['', ''])).toMatchObject([{ code: 'empty_file', line: null }])
  expect(await failureOf(chatLines(4), { limits: { maxRequests: 3 } })).toMatchObject([
    { code: 'too_many_tasks' },
  ])
  const openai = setUp({ limits: { maxEmbeddingInputs: 5 } })
  const line = (id: string, input: unknown) => ({
    custom_id: id,
    method: 'POST',
    url: '/v1/embeddings',
    body: { model: 'text-embedding-3-small', input },
  })
  const run = async (lines: readonly unknown[]) => {
    const file = await upload(openai, lines)
    const params = { input_file_id: file.id, endpoint: '/v1/embeddings', completion_window: '24h' } as const
    return untilOver(openai, (await openai.batches.create(params)).id)
  }
  expect(await run([line('a', ['x', 'y', 'z']), line('b', [[1, 2, 3], [4]])])).toMatchObject({
    status: 'completed',
  })
  expect(await run([line('a', ['x', 'y', 'z']), line('b', ['x', 'y', 'z'])])).toMatchObject({
    status: 'failed',
  })
})

test('an unknown model is refused when models are strict', async () => {
  const errors = await failureOf([chatLine(0)], { models: ['other'], strictModels: true })
  expect(errors).toMatchObject([{ code: 'model_not_found', param: 'body.model' }])
})

test('the enqueued-token limit counts unfinished batches of one model', async () => {
  const openai = setUp({ limits: { enqueuedTokens: 100 }, latency: { ...INSTANT, runMs: 3_600_000 } })
  const lines = (model: string) => [
    chatLine(0, { model, messages: [{ role: 'user', content: 'x'.repeat(240) }] }),
  ]
  const settled = async (model: string) => {
    const { id } = await submit(openai, lines(model))
    return openai.batches.retrieve(id)
  }
  const first = await settled('gpt-5')
  expect(first.status).toBe('in_progress')
  const second = await settled('gpt-5')
  expect(second.status).toBe('failed')
  expect(second.errors?.data?.[0]).toMatchObject({
    code: 'token_limit_exceeded',
    message:
      'Enqueued token limit reached for gpt-5 in organization org-emulator. Limit: 100 enqueued tokens. ' +
      'Please try again once some in_progress batches have been completed.',
  })
  expect((await settled('gpt-5-mini')).status).toBe('in_progress')
  await openai.batches.cancel(first.id)
  expect((await untilOver(openai, first.id)).status).toBe('cancelled')
  expect((await settled('gpt-5')).status).toBe('in_progress')
})

describe('a batch is not created', () => {
  const good = { endpoint: '/v1/chat/completions', completion_window: '24h' } as const
  test.each<[string, object, string]>([
    ['for an endpoint that has no batches', { endpoint: '/v1/audio/speech' }, 'endpoint'],
    ['for another window', { completion_window: '1h' }, 'completion_window'],
    ['without a window', { completion_window: undefined }, 'completion_window'],
    ['with 17 pairs of metadata', { metadata: pairs(17, 'v') }, 'metadata'],
    ['with a long value', { metadata: pairs(1, 'v'.repeat(513)) }, 'metadata'],
    ['with a value that is no text', { metadata: { a: 1 } }, 'metadata'],
    ['with a long key', { metadata: { ['k'.repeat(65)]: 'v' } }, 'metadata'],
    [
      'with an expiry of a minute',
      { output_expires_after: { anchor: 'created_at', seconds: 60 } },
      'output_expires_after.seconds',
    ],
  ])('%s', async (_, change, param) => {
    const openai = setUp()
    const file = await upload(openai, chatLines(1))
    const params: BatchCreateParams = { input_file_id: file.id, ...good, ...change }
    expect(await errorOf(openai.batches.create(params))).toMatchObject({ status: 400, param })
  })
})

function pairs(count: number, value: string): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`key${index}`, value]))
}
