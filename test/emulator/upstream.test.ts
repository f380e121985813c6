import { describe, expect, test } from 'vitest'
import { createEmulator, httpAnswer } from '../../src/emulator/index.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { chatLine, chatLines, clientOf, INSTANT, readLines, submit, untilOver } from './helpers.ts'

const BASE_URL = 'http://model.local/api/v1/'

describe('an upstream server', () => {
  test('answers batches and direct calls in its own words', async () => {
    const seen: string[] = []
    const model = createEmulator({ answer: ({ body }) => `model says ${JSON.stringify(body.messages)}` })
    const upstream = {
      baseURL: BASE_URL,
      apiKey: 'secret',
      fetch: async (input: string | URL | Request, init?: RequestInit) => {
        seen.push(`${String(input)} ${new Headers(init?.headers).get('authorization')}`)
        return model.fetch(String(input).replace('/api', ''), init)
      },
    }
    const openai = clientOf(createEmulator({ upstream, latency: INSTANT }))
    const batch = await untilOver(openai, (await submit(openai, chatLines(30))).id)
    expect(batch.request_counts).toEqual({ total: 30, completed: 30, failed: 0 })
    const lines = await readLines(openai, batch.output_file_id)
    const last = lines.find((line) => line.custom_id === 'request-29')
    expect(last?.response?.body.choices?.[0]?.message.content).toContain('question 29')
    expect(batch.usage?.input_tokens).toBeGreaterThan(0)
    expect(new Set(seen)).toEqual(new Set([`${BASE_URL}chat/completions Bearer secret`]))
    expect((await openai.models.list()).data.map(({ id }) => id)).toContain('gpt-5')
    await openai.post('/chat/completions', { body: chatLine(1).body })
    expect(seen).toHaveLength(32)
  })

  test('is not asked more than its concurrency allows', async () => {
    let asked = 0
    let most = 0
    const slow = async () => {
      most = Math.max(most, ++asked)
      await new Promise(setImmediate)
      asked -= 1
      return Response.json({ usage: { prompt_tokens: 2, completion_tokens: 3 } })
    }
    const upstream = { baseURL: BASE_URL, concurrency: 4, fetch: slow }
    const openai = clientOf(createEmulator({ upstream, latency: INSTANT }))
    const batch = await untilOver(openai, (await submit(openai, chatLines(120))).id)
    expect(most).toBe(4)
    expect(batch.usage).toMatchObject({ input_tokens: 240, output_tokens: 360, total_tokens: 600 })
  })

  test('is asked again when it is busy, and a line fails when it stays so', async () => {
    const calls = new Map<string, number>()
    const fetch = async (_input: unknown, init?: RequestInit) => {
      const text = String(init?.body)
      const count = (calls.get(text) ?? 0) + 1
      calls.set(text, count)
      if (text.includes('question 0')) throw new TypeError('fetch failed', { cause: new Error('refused') })
      if (text.includes('question 1') && count < 3) return new Response('busy', { status: 503 })
      return Response.json({ ok: true })
    }
    const clock = new VirtualClock()
    const openai = clientOf(
      createEmulator({ clock, upstream: { baseURL: BASE_URL, fetch }, latency: INSTANT }),
    )
    const batch = await untilOver(openai, (await submit(openai, chatLines(3))).id)
    expect(batch.request_counts).toEqual({ total: 3, completed: 2, failed: 1 })
    expect([...calls.values()].toSorted()).toEqual([1, 3, 3])
    const [failed] = await readLines(openai, batch.error_file_id)
    expect(failed?.response).toMatchObject({
      status_code: 502,
      body: { error: { code: 'upstream_unreachable', message: expect.stringContaining('refused') } },
    })
  })

  test('passes its status and retry-after to a direct caller, once', async () => {
    let calls = 0
    const busy = createEmulator({
      upstream: {
        baseURL: BASE_URL,
        fetch: async () => {
          calls += 1
          return new Response('overloaded', { status: 429, headers: { 'retry-after': '7' } })
        },
      },
    })
    const body = JSON.stringify(chatLine(0).body)
    const answer = await busy.app.request('/v1/chat/completions', { method: 'POST', body })
    expect(answer.status).toBe(429)
    expect(answer.headers.get('retry-after')).toBe('7')
    expect(await answer.json()).toMatchObject({ error: { message: 'overloaded' } })
    expect(calls).toBe(1)
  })

  test('keeps all it answered when its batch is cancelled', async () => {
    const gate = Promise.withResolvers<void>()
    const fetch = async (_input: unknown, init?: RequestInit) => {
      if (String(init?.body).includes('question 120')) await gate.promise
      return Response.json({ ok: true })
    }
    const emulator = createEmulator({
      upstream: { baseURL: BASE_URL, fetch, concurrency: 1 },
      latency: INSTANT,
    })
    const openai = clientOf(emulator)
    const { id } = await submit(openai, chatLines(200))
    while ((await openai.batches.retrieve(id)).request_counts?.completed !== 100);
    expect((await openai.batches.cancel(id)).status).toBe('cancelling')
    gate.resolve()
    const batch = await untilOver(openai, id)
    expect(batch.request_counts).toEqual({ total: 200, completed: 121, failed: 0 })
    expect(await readLines(openai, batch.error_file_id)).toHaveLength(79)
  })
})

test('closing does not wait for an answer that never comes', async () => {
  const emulator = createEmulator({ latency: INSTANT, answer: () => new Promise<string>(() => {}) })
  const openai = clientOf(emulator)
  const { id } = await submit(openai, chatLines(5))
  expect((await openai.batches.retrieve(id)).status).toBe('in_progress')
  await emulator.close()
  await emulator.close()
  expect((await emulator.app.request('/v1/batches')).status).toBe(503)
})

test('a status that HTTP does not know goes into the error file as it is', async () => {
  const openai = clientOf(createEmulator({ latency: INSTANT, answer: () => httpAnswer(0, null) }))
  const batch = await untilOver(openai, (await submit(openai, chatLines(1))).id)
  const [line] = await readLines(openai, batch.error_file_id)
  expect(line?.response).toMatchObject({ status_code: 0, body: null })
})
