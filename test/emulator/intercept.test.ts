import OpenAI from 'openai'
import { expect, test } from 'vitest'
import { createEmulator, type Intercept, serveEmulator } from '../../src/emulator/index.ts'
import { UsageError } from '../../src/errors.ts'
import { chatLine, chatLines, clientOf, errorOf, INSTANT, submit, upload } from './helpers.ts'

const ping = { model: 'm', messages: [{ role: 'user' as const, content: 'x' }] }

test('an interceptor answers in its own words', async () => {
  const intercept: Intercept = async (request, next) =>
    request.url.endsWith('/models') ? Response.json({ error: { message: 'busy' } }, { status: 503 }) : next()
  const openai = clientOf(createEmulator({ intercept }))
  expect(await errorOf(openai.models.list())).toMatchObject({ status: 503 })
  expect((await openai.chat.completions.create(ping)).object).toBe('chat.completion')
})

test('a reply that is dropped was acted on all the same', async () => {
  let drop = true
  const intercept: Intercept = async (request, next) => {
    const response = await next()
    if (drop && request.method === 'POST' && request.url.endsWith('/batches')) throw new TypeError('cut')
    return response
  }
  const openai = clientOf(createEmulator({ intercept, latency: INSTANT }))
  await expect(submit(openai, chatLines(2))).rejects.toThrow(OpenAI.APIConnectionError)
  expect((await openai.batches.list()).data).toHaveLength(1)
  drop = false
  await submit(openai, chatLines(2))
  expect((await openai.batches.list()).data).toHaveLength(2)
})

test('over a socket, a throw breaks the connection', async () => {
  const intercept: Intercept = async (request, next) => {
    if (request.method === 'POST') throw new Error('cut')
    return next()
  }
  const emulator = createEmulator({ intercept })
  const server = await serveEmulator(emulator, { port: 0 })
  const openai = new OpenAI({ apiKey: 'x', baseURL: `${server.url}/v1`, maxRetries: 0 })
  await expect(openai.chat.completions.create(ping)).rejects.toThrow(OpenAI.APIConnectionError)
  await expect(upload(openai, [chatLine(0)])).rejects.toThrow(OpenAI.APIConnectionError)
  expect((await openai.models.list()).data).not.toHaveLength(0)
  await server.close()
  await emulator.close()
})

test('a download can be cut short', async () => {
  const intercept: Intercept = async (request, next) => {
    const response = await next()
    if (!request.url.endsWith('/content') || response.body === null) return response
    const cut = new TransformStream<Uint8Array, Uint8Array>({
      transform: (_chunk, controller) => controller.error(new TypeError('terminated')),
    })
    return new Response(response.body.pipeThrough(cut), response)
  }
  const openai = clientOf(createEmulator({ intercept }))
  const file = await upload(openai, chatLines(10))
  const answer = await openai.files.content(file.id)
  await expect(answer.text()).rejects.toThrow('terminated')
})

test('impossible options and addresses are usage errors', async () => {
  expect(() => createEmulator({ failureRate: 2 })).toThrow(UsageError)
  expect(() => createEmulator({ latency: { runMs: -1 } })).toThrow('latency.runMs is -1')
  const emulator = createEmulator()
  const server = await serveEmulator(emulator, { port: 0 })
  await expect(serveEmulator(emulator, { port: server.port })).rejects.toThrow(UsageError)
  await server.close()
})
