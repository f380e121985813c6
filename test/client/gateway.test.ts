import { BadRequestError } from 'openai'
import { zodResponseFormat } from 'openai/helpers/zod'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { OpenAIBatching } from '../../src/client/index.ts'
import { httpAnswer } from '../../src/emulator/index.ts'
import { AnswerGate, openRig } from '../gateway/http/rig.ts'

/** The client, the gateway, its store and the server that does the work: all real, but for the model. */
const MODEL = 'gpt-4o-mini'
const ask = (content: string) => ({ model: MODEL, messages: [{ role: 'user' as const, content }] })
const saying = (text: string) => ({ emulator: { answer: () => text } })

test('all three ways to ask come back at once, and are waited for in the same way', async () => {
  await using rig = await openRig(saying('Hello.'))
  const client = new OpenAIBatching({ batchServerUrl: await rig.url() })
  const [chat, response, embeddings] = await Promise.all([
    client.chat.completions.create(ask('Say hello.')),
    client.responses.create(ask('Say hello.')),
    client.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'] }),
  ])
  expect([chat, response, embeddings].map(({ hasCompleted }) => hasCompleted)).toEqual([false, false, false])
  const answers = await Promise.all([chat.wait(), response.wait(), embeddings.wait()])
  expect(answers[0]).toMatchObject({ object: 'chat.completion', output_text: 'Hello.' })
  expect(answers[1]).toMatchObject({ object: 'response', output_text: 'Hello.' })
  expect(answers[1].choices[0].message.content).toBe('Hello.')
  expect(answers[2].data.map(({ embedding }) => embedding.length)).toEqual([1536, 1536])
  expect(answers.map(({ requestId }) => requestId)).toEqual(
    [chat, response, embeddings].map(({ requestId }) => requestId),
  )
})

test('who gives up waiting finds the work again, as does another client; it is done once', async () => {
  const gate = new AnswerGate()
  await using rig = await openRig({ emulator: { answer: gate.answer } })
  const batchServerUrl = await rig.url()
  const create = () => new OpenAIBatching({ batchServerUrl }).chat.completions.create(ask('Say hello.'))
  const first = await create()
  await expect(first.wait({ timeoutMs: 0 })).rejects.toMatchObject({ code: 'wait_timeout' })
  const second = await create()
  expect(second.requestId).toBe(first.requestId)
  gate.open()
  const [one, other] = await Promise.all([first.wait(), second.wait()])
  expect(one.output_text).toContain('Say hello.')
  expect(other.output_text).toBe(one.output_text)
  expect((await create()).hasCompleted).toBe(true)
  expect(gate.asked).toBe(1)
})

test('keys of their own make the same words several samples', async () => {
  let answers = 0
  await using rig = await openRig({ emulator: { answer: () => `Sample ${++answers}.` } })
  const client = new OpenAIBatching({ batchServerUrl: await rig.url() })
  const samples = await Promise.all(
    ['a', 'b', 'c'].map(async (idempotencyKey) => {
      const result = await client.chat.completions.create(ask('Say anything.'), { idempotencyKey })
      return (await result.wait()).output_text
    }),
  )
  expect(samples.sort()).toEqual(['Sample 1.', 'Sample 2.', 'Sample 3.'])
})

test('a request that fails ends the wait with its own error, as the server gave it', async () => {
  const error = {
    message: 'Too long.',
    type: 'invalid_request_error',
    param: 'messages',
    code: 'context_length_exceeded',
  }
  await using rig = await openRig({ emulator: { answer: () => httpAnswer(400, { error }) } })
  const client = new OpenAIBatching({ batchServerUrl: await rig.url() })
  const result = await client.chat.completions.create(ask('Say hello.'))
  const reason = await result.wait().catch((thrown: unknown) => thrown)
  expect(reason).toBeInstanceOf(BadRequestError)
  expect(reason).toMatchObject({ status: 400, code: error.code, param: error.param })
})

test('a call that cannot be batched fails at once', async () => {
  await using rig = await openRig()
  const client = new OpenAIBatching({ batchServerUrl: await rig.url() })
  await expect(client.chat.completions.create({ model: MODEL, messages: [] })).rejects.toBeInstanceOf(
    BadRequestError,
  )
})

test('a header of its own chooses another way to wait', async () => {
  await using rig = await openRig(saying('Hello.'))
  const client = new OpenAIBatching({ batchServerUrl: await rig.url() })
  const held = await client.chat.completions.create(ask('Say hello.'), {
    headers: { 'X-Nightshift-Mode': 'sync' },
  })
  expect(held).toMatchObject({ hasCompleted: true, output_text: 'Hello.' })
  const later = await client.responses.create(ask('Say more.'), { headers: { 'X-Nightshift-Mode': 'async' } })
  expect(later.hasCompleted).toBe(false)
  expect(await later.wait()).toMatchObject({ output_text: 'Hello.' })
})

describe('what the package does otherwise', () => {
  test('is done here, too: streams, and answers of a schema, held until they are there', async () => {
    await using rig = await openRig(saying('{"joy":7}'))
    const client = new OpenAIBatching({ batchServerUrl: await rig.url() })
    const stream = await client.chat.completions.create({ ...ask('Say hello.'), stream: true })
    const texts: string[] = []
    for await (const { choices } of stream) texts.push(choices[0]?.delta.content ?? '')
    expect(texts.join('')).toBe('{"joy":7}')
    const format = zodResponseFormat(z.object({ joy: z.number() }), 'joy')
    const parsed = await client.chat.completions.parse({ ...ask('Say hello.'), response_format: format })
    expect(parsed.choices[0]?.message.parsed).toEqual({ joy: 7 })
    const events = await client.responses.stream({ model: MODEL, input: 'Say hello.' }).finalResponse()
    expect(events.output_text).toBe('{"joy":7}')
  })

  test('leads to its batches and models', async () => {
    await using rig = await openRig(saying('Hello.'))
    const client = new OpenAIBatching({ batchServerUrl: await rig.url() })
    await (await client.chat.completions.create(ask('Say hello.'))).wait()
    const ids: string[] = []
    for await (const { id, status } of client.batches.list({ limit: 1 })) ids.push(`${id} ${status}`)
    expect(ids).toHaveLength(1)
    const [id = ''] = ids[0]?.split(' ') ?? []
    expect((await client.batches.retrieve(id)).status).toBe('completed')
    expect((await client.models.list()).data.map((model) => model.id)).toContain(MODEL)
  })
})
