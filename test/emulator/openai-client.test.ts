import { openAsBlob } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { createEmulator, type EmulatorOptions, serveEmulator } from '../../src/emulator/index.ts'
import {
  chatLine,
  chatLines,
  clientOf,
  errorOf,
  INSTANT,
  jsonl,
  readLines,
  submit,
  untilOver,
} from './helpers.ts'

interface Connection extends AsyncDisposable {
  readonly openai: OpenAI
}

type Connect = (options?: EmulatorOptions) => Promise<Connection>

const inProcess: Connect = async (options) => {
  const emulator = createEmulator({ latency: INSTANT, ...options })
  return { openai: clientOf(emulator), [Symbol.asyncDispose]: emulator.close }
}

const overSocket: Connect = async (options) => {
  const emulator = createEmulator({ latency: INSTANT, ...options })
  const server = await serveEmulator(emulator, { port: 0 })
  const openai = new OpenAI({ apiKey: 'x', baseURL: `${server.url}/v1`, maxRetries: 0 })
  const close = () => emulator.close().then(server.close)
  return { openai, [Symbol.asyncDispose]: close }
}

describe.each([
  ['in process', inProcess],
  ['over a socket', overSocket],
])('the openai client, %s', (_, connect) => {
  test('runs a batch from a file on disk to its results', async () => {
    await using connection = await connect()
    const { openai } = connection
    const path = join(await mkdtemp(join(tmpdir(), 'emulator-')), 'input.jsonl')
    await writeFile(path, jsonl(chatLines(250)))
    const blob = await openAsBlob(path)
    const file = await openai.files.create({
      purpose: 'batch',
      file: new File([blob], 'tag-1.jsonl'),
      expires_after: { anchor: 'created_at', seconds: 7200 },
    })
    expect(file).toMatchObject({
      object: 'file',
      filename: 'tag-1.jsonl',
      purpose: 'batch',
      bytes: blob.size,
    })
    expect(file.expires_at).toBe(file.created_at + 7200)

    const created = await openai.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      metadata: { tag: 'tag-1' },
      output_expires_after: { anchor: 'created_at', seconds: 3600 },
    })
    expect(created).toMatchObject({ object: 'batch', status: 'validating', metadata: { tag: 'tag-1' } })
    expect(created.request_counts).toEqual({ total: 0, completed: 0, failed: 0 })
    expect(created.expires_at).toBe(created.created_at + 86_400)

    const batch = await untilOver(openai, created.id)
    expect(batch).toMatchObject({
      status: 'completed',
      model: 'gpt-5-mini',
      error_file_id: null,
      errors: null,
    })
    expect(batch.request_counts).toEqual({ total: 250, completed: 250, failed: 0 })
    const lines = await readLines(openai, batch.output_file_id)
    expect(new Set(lines.map((line) => line.custom_id)).size).toBe(250)
    const output = await openai.files.retrieve(batch.output_file_id ?? '')
    expect(output).toMatchObject({ purpose: 'batch_output', expires_at: output.created_at + 3600 })
  })

  test('pages through batches, newest first', async () => {
    await using connection = await connect()
    const { openai } = connection
    const ids: string[] = []
    for (let i = 0; i < 7; i++) ids.push((await submit(openai, [chatLine(i)])).id)
    const listed: string[] = []
    for await (const batch of openai.batches.list({ limit: 3 })) listed.push(batch.id)
    expect(listed).toEqual(ids.reverse())
    const first = await openai.batches.list({ limit: 3 })
    expect(first.has_more).toBe(true)
    expect(await errorOf(openai.batches.list({ limit: 101 }))).toMatchObject({ status: 400 })
    expect(await errorOf(openai.batches.list({ after: 'batch_no' }))).toMatchObject({ status: 404 })
  })

  test('pages through files, and deletes them', async () => {
    await using connection = await connect()
    const { openai } = connection
    const ids: string[] = []
    for (let i = 0; i < 5; i++) {
      const purpose = i === 2 ? 'user_data' : 'batch'
      ids.push((await openai.files.create({ purpose, file: new File(['{}'], `${i}.jsonl`) })).id)
    }
    const ofPurpose: string[] = []
    const query = { limit: 2, purpose: 'batch', order: 'asc' } as const
    for await (const file of openai.files.list(query)) ofPurpose.push(file.id)
    expect(ofPurpose).toEqual(ids.filter((_id, index) => index !== 2))
    const [id = ''] = ids
    expect(await openai.files.delete(id)).toEqual({ id, object: 'file', deleted: true })
    expect(await errorOf(openai.files.delete(id))).toMatchObject({ status: 404, param: 'id' })
    expect(await errorOf(openai.files.content(id))).toMatchObject({ status: 404 })
  })

  test('answers chat, responses and embeddings directly', async () => {
    await using connection = await connect()
    const { openai } = connection
    const chat = await openai.chat.completions.create({
      model: 'gpt-5-mini',
      messages: [{ role: 'user', content: 'Name some rivers of Scotland' }],
      n: 3,
    })
    const texts = chat.choices.map(({ message }) => message.content)
    expect(new Set(texts).size).toBe(3)
    expect(texts[0]).toContain('rivers')
    expect(chat.usage?.total_tokens).toBe(
      (chat.usage?.prompt_tokens ?? 0) + (chat.usage?.completion_tokens ?? 0),
    )
    expect(chat._request_id).toMatch(/^req_/)

    const response = await openai.responses.create({ model: 'gpt-5', input: 'Name some rivers of Wales' })
    expect(response).toMatchObject({ object: 'response', status: 'completed' })
    expect(response.output_text).toContain('rivers')

    const vectors = await openai.embeddings.create({
      model: 'text-embedding-3-small',
      input: ['a', 'b', 'a'],
      dimensions: 8,
    })
    const [a, b, again] = vectors.data.map(({ embedding }) => embedding)
    expect(a).toHaveLength(8)
    expect(again).toEqual(a)
    expect(b).not.toEqual(a)
    expect(Math.hypot(...(a ?? []))).toBeCloseTo(1, 5)
  })

  test('lists models', async () => {
    await using connection = await connect({ models: ['one', 'org/two'] })
    const { openai } = connection
    expect((await openai.models.list()).data.map(({ id }) => id)).toEqual(['one', 'org/two'])
    expect(await openai.models.retrieve('org/two')).toMatchObject({ id: 'org/two', object: 'model' })
    expect(await errorOf(openai.models.retrieve('three'))).toMatchObject({
      status: 404,
      code: 'model_not_found',
    })
  })

  test('is refused with the wrong key, which is not repeated', async () => {
    await using connection = await connect({ apiKey: 'right' })
    const error = await errorOf(connection.openai.models.list())
    expect(error).toMatchObject({ status: 401, code: 'invalid_api_key', type: 'invalid_request_error' })
    expect(JSON.stringify(error.error)).not.toContain('"x"')
  })
})

test('an aborted call rejects in process, as over a socket', async () => {
  const emulator = createEmulator({ answer: () => new Promise<string>(() => {}) })
  const openai = clientOf(emulator)
  const controller = new AbortController()
  const call = openai.chat.completions.create(
    { model: 'm', messages: [{ role: 'user', content: 'x' }] },
    { signal: controller.signal },
  )
  setImmediate(() => controller.abort())
  await expect(call).rejects.toThrow(OpenAI.APIUserAbortError)
  await emulator.close()
})

test('direct calls that cannot be answered say why', async () => {
  const emulator = createEmulator({ strictModels: true, models: ['known'] })
  const openai = clientOf(emulator)
  const messages = [{ role: 'user' as const, content: 'x' }]
  expect(await errorOf(openai.chat.completions.create({ model: 'other', messages }))).toMatchObject({
    status: 404,
    code: 'model_not_found',
  })
  expect(await errorOf(openai.chat.completions.create({ model: 'known', messages: [] }))).toMatchObject({
    status: 400,
    param: 'messages',
  })
  const streamed = openai.chat.completions.create({ model: 'known', messages, stream: true })
  expect(await errorOf(streamed)).toMatchObject({ status: 400, param: 'stream' })
  expect(await errorOf(openai.post('/nothing', { body: {} }))).toMatchObject({
    status: 404,
    code: 'unknown_url',
  })
  const garbled = await emulator.app.request('/v1/responses', { method: 'POST', body: '{"model"' })
  expect(garbled.status).toBe(400)
  expect(await garbled.json()).toMatchObject({ error: { type: 'invalid_request_error', code: null } })
  expect(garbled.headers.get('x-request-id')).toMatch(/^req_/)
  expect(await (await emulator.app.request('/healthz')).json()).toEqual({ status: 'ok' })
  await emulator.close()
})
