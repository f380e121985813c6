import { describe, expect, test } from 'vitest'
import { encodeJpeg } from '../../demos/support/jpeg.ts'
import { CELL } from '../../demos/support/mosaic.ts'
import { encodePng } from '../../demos/support/png.ts'
import { createEmulator, type EmulatorOptions } from '../../src/emulator/index.ts'
import { promptTokens } from '../../src/emulator/prompt.ts'
import { chatLine, clientOf, errorOf, INSTANT, readLines, submit, untilOver } from './helpers.ts'

const mosaic = (width: number, height = width) => ({
  columns: width / CELL,
  rows: height / CELL,
  cells: Array<number>((width / CELL) * (height / CELL)).fill(0x3050d0),
})
const dataUrl = (bytes: Buffer, type = 'image/png') => `data:${type};base64,${bytes.toString('base64')}`
const png = (width: number, height?: number) => dataUrl(encodePng(mosaic(width, height)))
const jpeg = (width: number, height?: number) => dataUrl(encodeJpeg(mosaic(width, height)), 'image/jpeg')

const chatPart = (url: unknown, detail?: string) => ({ type: 'image_url', image_url: { url, detail } })
const chatBody = (...parts: readonly unknown[]) => ({
  model: 'gpt-4o',
  messages: [{ role: 'user', content: parts }],
})
const inputPart = (image_url: unknown, detail?: string) => ({ type: 'input_image', image_url, detail })
const inputBody = (...parts: readonly unknown[]) => ({
  model: 'gpt-4o',
  input: [{ role: 'user', content: parts }],
})
const chatTokens = (...parts: readonly unknown[]) => promptTokens('/v1/chat/completions', chatBody(...parts))
const inputTokens = (...parts: readonly unknown[]) => promptTokens('/v1/responses', inputBody(...parts))

describe('a picture counts by its size and detail', () => {
  // gpt-4o: 85, and in high detail 170 more for each tile of 512 pixels, the shorter side being 768 at most.
  test.each([
    ['a small one', png(512), 'high', 85 + 170],
    ['a JPEG', jpeg(512), 'high', 85 + 170],
    ['a wide one', png(1024, 512), 'high', 85 + 2 * 170],
    ['a large one, made smaller', png(2048, 1536), 'high', 85 + 4 * 170],
    ['a large one in low detail', png(2048, 1536), 'low', 85],
    ['one that is somewhere else, taken for 1024 by 1024', 'https://example.com/a.png', 'high', 85 + 4 * 170],
  ])('%s', (_, url, detail, tokens) => {
    expect(chatTokens(chatPart(url, detail))).toBe(tokens)
    expect(inputTokens(inputPart(url, detail))).toBe(tokens)
  })

  test('wherever it stands, and beside text', () => {
    const url = png(512)
    const text = { type: 'text', text: 'x'.repeat(40) }
    expect(chatTokens(text, chatPart(url, 'low'), chatPart(url, 'high'))).toBe(10 + 85 + 255)
    expect(chatTokens({ type: 'image_url', image_url: url })).toBe(chatTokens(chatPart(url)))
    const output = [{ type: 'function_call_output', call_id: 'c', output: [inputPart(url, 'high')] }]
    expect(promptTokens('/v1/responses', { model: 'gpt-4o', input: output })).toBe(255)
    const uploaded = { type: 'input_image', file_id: 'file-1', detail: 'high' }
    expect(inputTokens(uploaded)).toBe(85 + 4 * 170)
  })

  test('and not by its bytes', () => {
    const bytes = encodePng(mosaic(512))
    const heavy = dataUrl(Buffer.concat([bytes, Buffer.alloc(3_000_000, 1)]))
    expect(chatTokens(chatPart(heavy, 'high'))).toBe(chatTokens(chatPart(dataUrl(bytes), 'high')))
  })

  test('in the usage of an answer', async () => {
    const openai = clientOf(createEmulator({ latency: INSTANT }))
    const low = await openai.post('/chat/completions', { body: chatBody(chatPart(png(512), 'low')) })
    expect(low).toMatchObject({ usage: { prompt_tokens: 85 } })
    const high = await openai.post('/responses', { body: inputBody(inputPart(png(512), 'high')) })
    expect(high).toMatchObject({ usage: { input_tokens: 255 } })
  })

  test('in the enqueued-token limit', async () => {
    const limits = { enqueuedTokens: 255 }
    const statusOf = async (...parts: readonly unknown[]) => {
      const openai = clientOf(createEmulator({ latency: INSTANT, limits }))
      return untilOver(openai, (await submit(openai, [chatLine(0, chatBody(...parts))])).id)
    }
    expect(await statusOf(chatPart(png(512), 'high'))).toMatchObject({ status: 'completed' })
    expect(await statusOf(chatPart(png(512), 'high'), chatPart(png(512), 'low'))).toMatchObject({
      status: 'failed',
      errors: { data: [{ code: 'token_limit_exceeded' }] },
    })
  })
})

const base64 = (text: string) => Buffer.from(text).toString('base64')
const expected = (got: string) =>
  expect.stringContaining(
    `Expected a base64-encoded data URL with an image MIME type (e.g. 'data:image/png;base64,aW1nIGJ5dGVzIGhlcmU='), but got ${got}`,
  )

describe('a picture is refused', () => {
  const refusal = async (path: string, body: object, options: EmulatorOptions = {}) => {
    const openai = clientOf(createEmulator({ latency: INSTANT, ...options }))
    const { status, error } = await errorOf(openai.post(path, { body }))
    expect(status).toBe(400)
    expect(error).toMatchObject({ type: 'invalid_request_error' })
    return error
  }

  test.each([
    ['that is a path', 'cats/tom.png', "a value without the 'data:' prefix."],
    [
      'that is a document',
      `data:application/pdf;base64,${base64('%PDF-1.7')}`,
      "unsupported MIME type 'application/pdf'.",
    ],
    ['that does not say base64', 'data:image/png,%89PNG', "a value without the ';base64' separator."],
    ['without data', 'data:image/png;base64,', 'empty base64-encoded bytes.'],
    [
      'with a character that is not of base64',
      `${png(8)}`.replace(/.{4}$/, 'a-b_'),
      'an invalid base64-encoded value.',
    ],
    ['with its end cut off', png(8).slice(0, -3), 'an invalid base64-encoded value.'],
  ])('%s', async (_, url, got) => {
    const chat = 'messages[0].content[0].image_url.url'
    expect(await refusal('/chat/completions', chatBody(chatPart(url)))).toMatchObject({
      message: expect.stringContaining(`Invalid image URL: '${chat}'.`),
      param: chat,
      code: 'invalid_value',
    })
    const error = await refusal('/responses', inputBody({ type: 'input_text', text: 'a' }, inputPart(url)))
    expect(error).toMatchObject({
      message: expected(got),
      param: 'input[0].content[1].image_url',
      code: 'invalid_value',
    })
  })

  test.each([
    [
      'of another format',
      dataUrl(Buffer.from('BM, a bitmap of long ago'), 'image/bmp'),
      'invalid_image_format',
    ],
    [
      'that only says it is one',
      dataUrl(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>')),
      'invalid_image_format',
    ],
    ['that ends before it says its size', dataUrl(encodePng(mosaic(8)).subarray(0, 12)), 'image_parse_error'],
  ])('%s', async (_, url, code) => {
    const error = await refusal('/chat/completions', chatBody(chatPart(url)))
    expect(error).toMatchObject({
      message: expect.stringContaining('You uploaded an unsupported image.'),
      param: null,
      code,
    })
    expect(await refusal('/responses', inputBody(inputPart(url)))).toMatchObject({
      message: expect.stringContaining('does not represent a valid image'),
      param: 'input',
      code: 'invalid_value',
    })
  })

  test.each([
    [
      'as a string in chat',
      chatBody({ type: 'image_url', image_url: png(8) }),
      'messages[0].content[0].image_url',
      'invalid_type',
    ],
    [
      'that is missing',
      chatBody({ type: 'image_url' }),
      'messages[0].content[0].image_url.url',
      'missing_required_parameter',
    ],
    [
      'in another detail',
      chatBody(chatPart(png(8), 'LOW')),
      'messages[0].content[0].image_url.detail',
      'invalid_value',
    ],
    ['that nothing can fetch', chatBody(chatPart('https://')), null, 'invalid_image_url'],
    [
      'that the user did not show',
      { model: 'gpt-4o', messages: [{ role: 'system', content: [chatPart(png(8))] }] },
      'messages[0]',
      'invalid_value',
    ],
  ])('%s', async (_, body, param, code) => {
    expect(await refusal('/chat/completions', body)).toMatchObject({ param, code })
  })

  test('as an object in responses', async () => {
    const error = await refusal('/responses', inputBody(inputPart({ url: png(8) })))
    expect(error).toMatchObject({ param: 'input[0].content[0].image_url', code: 'invalid_type' })
  })

  test('beyond what one request may hold', async () => {
    const url = png(8)
    const three = chatBody(chatPart(url), chatPart(url), chatPart(url))
    const limitsOf = (limits: EmulatorOptions['limits']) => ({ ...(limits && { limits }) })
    expect(await refusal('/chat/completions', three, limitsOf({ maxImages: 2 }))).toMatchObject({
      code: 'too_many_images',
      message: 'Too many images in request: 3. Max is 2.',
    })
    const bytes = 3 * url.length
    expect(await refusal('/chat/completions', three, limitsOf({ maxImageBytes: bytes - 1 }))).toMatchObject({
      code: 'image_file_too_large',
    })
    const openai = clientOf(
      createEmulator({ latency: INSTANT, limits: { maxImages: 3, maxImageBytes: bytes } }),
    )
    expect(await openai.post('/chat/completions', { body: three })).toMatchObject({
      object: 'chat.completion',
    })
  })

  test('in a batch, as the failure of its own request', async () => {
    const openai = clientOf(createEmulator({ latency: INSTANT }))
    const urls = [png(512), 'data:image/png;base64,????', jpeg(512)]
    const lines = urls.map((url, index) => chatLine(index, chatBody(chatPart(url))))
    const batch = await untilOver(openai, (await submit(openai, lines)).id)
    expect(batch).toMatchObject({
      status: 'completed',
      request_counts: { total: 3, completed: 2, failed: 1 },
    })
    const answered = await readLines(openai, batch.output_file_id)
    expect(answered.map(({ custom_id }) => custom_id).sort()).toEqual(['request-0', 'request-2'])
    expect(await readLines(openai, batch.error_file_id)).toMatchObject([
      { custom_id: 'request-1', response: { status_code: 400, body: { error: { code: 'invalid_value' } } } },
    ])
  })
})

test('whether a picture is good is left to an upstream', async () => {
  const asked: string[] = []
  const upstream = {
    baseURL: 'http://upstream.test/v1',
    fetch: async (...sent: Parameters<typeof fetch>) => {
      asked.push(await new Request(...sent).text())
      return Response.json({ object: 'chat.completion', choices: [] })
    },
  }
  const openai = clientOf(createEmulator({ latency: INSTANT, upstream }))
  await openai.post('/chat/completions', { body: chatBody({ type: 'image_url', image_url: 'tom.png' }) })
  expect(asked.join()).toContain('tom.png')
})

test('simulated answers follow the picture', async () => {
  const openai = clientOf(createEmulator({ latency: INSTANT }))
  const schema = {
    type: 'object',
    properties: { seen: { type: 'integer', minimum: 0, maximum: 1e9 } },
    required: ['seen'],
  }
  const response_format = { type: 'json_schema', json_schema: { name: 'sight', strict: true, schema } }
  const answers = [8, 16, 24, 32].map(async (width) => {
    const body = { ...chatBody({ type: 'text', text: 'How many?' }, chatPart(png(width))), response_format }
    return JSON.stringify((await openai.post('/chat/completions', { body })) ?? null).match(/seen[^}]*/)?.[0]
  })
  expect(new Set(await Promise.all(answers)).size).toBe(4)
})
