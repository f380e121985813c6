import { describe, expect, test } from 'vitest'
import { createEmulator, type EmulatorOptions, httpAnswer, rawBody } from '../../src/emulator/index.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import {
  chatLine,
  chatLines,
  clientOf,
  errorOf,
  INSTANT,
  readLines,
  submit,
  untilOver,
  upload,
} from './helpers.ts'

const HOUR_MS = 3_600_000

function setUp(options: EmulatorOptions = {}) {
  const clock = new VirtualClock()
  const latency = { ...INSTANT, validateMs: 1000, runMs: 10_000, finalizeMs: 1000, cancelMs: 5000 }
  const emulator = createEmulator({ clock, latency, ...options })
  return { clock, emulator, openai: clientOf(emulator) }
}

const EXECUTED = (line: { response: unknown }): boolean => line.response !== null

describe('the life of a batch follows the clock', () => {
  test('through all states of a completed one, with their times', async () => {
    const { clock, openai } = setUp()
    const { id, created_at: start } = await submit(openai, chatLines(100))
    expect(await openai.batches.retrieve(id)).toMatchObject({ status: 'validating', in_progress_at: null })
    clock.advance(1000)
    expect(await openai.batches.retrieve(id)).toMatchObject({
      status: 'in_progress',
      in_progress_at: start + 1,
      request_counts: { total: 100, completed: 0, failed: 0 },
    })
    clock.advance(2500)
    expect((await openai.batches.retrieve(id)).request_counts).toEqual({
      total: 100,
      completed: 25,
      failed: 0,
    })
    clock.advance(7500)
    const finalizing = await openai.batches.retrieve(id)
    expect(finalizing).toMatchObject({
      status: 'finalizing',
      finalizing_at: start + 11,
      output_file_id: null,
    })
    expect(finalizing.usage).toBeUndefined()
    clock.advance(1000)
    const completed = await openai.batches.retrieve(id)
    expect(completed).toMatchObject({ status: 'completed', completed_at: start + 12, error_file_id: null })
    const { input_tokens: input = 0, output_tokens: output = 0, total_tokens: total } = completed.usage ?? {}
    expect(input).toBeGreaterThan(100)
    expect(total).toBe(input + output)
  })

  test('in one look, however late it comes', async () => {
    const { clock, openai } = setUp()
    const { id, created_at: start } = await submit(openai, chatLines(100))
    clock.advance(30 * HOUR_MS)
    expect(await openai.batches.retrieve(id)).toMatchObject({
      status: 'completed',
      in_progress_at: start + 1,
      completed_at: start + 12,
      expired_at: null,
    })
  })

  test('expires after 24 hours and keeps what was answered by then', async () => {
    const { clock, openai } = setUp({ latency: { ...INSTANT, runMs: 32 * HOUR_MS } })
    const { id, created_at: start } = await submit(openai, chatLines(40))
    clock.advance(25 * HOUR_MS)
    const batch = await openai.batches.retrieve(id)
    expect(batch).toMatchObject({ status: 'expired', expired_at: start + 86_400, completed_at: null })
    expect(batch.request_counts).toEqual({ total: 40, completed: 30, failed: 0 })
    const answered = await readLines(openai, batch.output_file_id)
    const unanswered = await readLines(openai, batch.error_file_id)
    expect(answered).toHaveLength(30)
    expect(unanswered).toHaveLength(10)
    for (const line of unanswered)
      expect(line).toMatchObject({ response: null, error: { code: 'batch_expired' } })
    expect(new Set([...answered, ...unanswered].map((line) => line.custom_id)).size).toBe(40)
  })

  test('is cancelled while running and keeps what was answered', async () => {
    const { clock, openai } = setUp()
    const { id } = await submit(openai, chatLines(200))
    clock.advance(6000)
    expect(await openai.batches.cancel(id)).toMatchObject({ status: 'cancelling', cancelled_at: null })
    expect(await openai.batches.cancel(id)).toMatchObject({ status: 'cancelling' })
    clock.advance(5000)
    const batch = await openai.batches.retrieve(id)
    expect(batch).toMatchObject({ status: 'cancelled', finalizing_at: null })
    expect(batch.request_counts).toEqual({ total: 200, completed: 100, failed: 0 })
    const lines = [
      ...(await readLines(openai, batch.output_file_id)),
      ...(await readLines(openai, batch.error_file_id)),
    ]
    expect(lines.filter(EXECUTED)).toHaveLength(100)
    expect(lines.filter((line) => line.error?.code === 'batch_cancelled')).toHaveLength(100)
    expect(batch.usage?.output_tokens).toBeGreaterThan(0)
  })

  test('is cancelled while validating, with nothing done', async () => {
    const { clock, openai } = setUp()
    const { id } = await submit(openai, chatLines(3))
    await openai.batches.cancel(id)
    clock.advance(5000)
    expect(await openai.batches.retrieve(id)).toMatchObject({
      status: 'cancelled',
      output_file_id: null,
      error_file_id: null,
      request_counts: { total: 0, completed: 0, failed: 0 },
    })
  })

  test('cannot be cancelled once it has ended', async () => {
    const { clock, openai } = setUp()
    const { id } = await submit(openai, chatLines(3))
    clock.advance(HOUR_MS)
    const error = await errorOf(openai.batches.cancel(id))
    expect(error).toMatchObject({ status: 409, type: 'invalid_request_error' })
    expect(error.message).toContain("Cannot cancel a batch with status 'completed'")
    expect(await errorOf(openai.batches.cancel('batch_none'))).toMatchObject({ status: 404 })
  })
})

describe('results', () => {
  test('200s stand in the output file, all else in the error file', async () => {
    const { openai } = setUp({
      latency: INSTANT,
      answer: ({ customId }) =>
        customId === 'request-1'
          ? httpAnswer(429, { error: { message: 'slow down', type: 'requests', param: null, code: 'rate' } })
          : customId === 'request-2'
            ? rawBody({ strange: true })
            : { colour: 'red' },
    })
    const batch = await untilOver(
      openai,
      (await submit(openai, [...chatLines(3), chatLine(3, { messages: 7 })])).id,
    )
    expect(batch.request_counts).toEqual({ total: 4, completed: 2, failed: 2 })
    const good = await readLines(openai, batch.output_file_id)
    const bad = await readLines(openai, batch.error_file_id)
    expect(good.map((line) => line.custom_id)).toEqual(['request-2', 'request-0'])
    expect(good[0]?.response?.body).toEqual({ strange: true })
    expect(good[1]?.response?.body.choices?.[0]?.message.content).toBe('{"colour":"red"}')
    expect(bad[0]).toMatchObject({
      custom_id: 'request-3',
      error: null,
      response: { status_code: 400, body: { error: { code: 'invalid_type' } } },
    })
    expect(bad[1]).toMatchObject({
      custom_id: 'request-1',
      error: null,
      response: { status_code: 429, body: { error: { message: 'slow down' } } },
    })
    expect(bad[1]?.id).toMatch(/^batch_req_/)
  })

  test('a file that would be empty does not exist', async () => {
    const failing = setUp({ latency: INSTANT, answer: () => httpAnswer(500, { error: { message: 'no' } }) })
    const batch = await untilOver(failing.openai, (await submit(failing.openai, chatLines(3))).id)
    expect(batch).toMatchObject({ status: 'completed', output_file_id: null })
    expect(await readLines(failing.openai, batch.error_file_id)).toHaveLength(3)
    const listed = await failing.openai.files.list({ purpose: 'batch_output' })
    expect(listed.data.map(({ id }) => id)).toEqual([batch.error_file_id])
  })

  test('are in an order that is not the order of the input, and the same each time', async () => {
    const { openai } = setUp({ latency: INSTANT })
    const orderOf = async () => {
      const batch = await untilOver(openai, (await submit(openai, chatLines(250))).id)
      return (await readLines(openai, batch.output_file_id)).map((line) => line.custom_id)
    }
    const order = await orderOf()
    expect(order).not.toEqual(chatLines(250).map((line) => line.custom_id))
    expect(await orderOf()).toEqual(order)
  })

  test('an answer function that throws or waits fails or delays its line alone', async () => {
    const { openai } = setUp({
      latency: INSTANT,
      answer: async ({ customId }) => {
        if (customId === 'request-5') throw new Error('a bug in the answer function')
        await new Promise(setImmediate)
        return 'fine'
      },
    })
    const batch = await untilOver(openai, (await submit(openai, chatLines(350))).id)
    expect(batch.request_counts).toEqual({ total: 350, completed: 349, failed: 1 })
    const [line] = await readLines(openai, batch.error_file_id)
    expect(line?.response?.body.error?.message).toContain('a bug in the answer function')
  })

  test('the failure rate strikes the first attempt only, and always the same bodies', async () => {
    const { openai } = setUp({ latency: INSTANT, failureRate: 0.3 })
    const first = await untilOver(openai, (await submit(openai, chatLines(300))).id)
    expect(first.request_counts?.failed).toBeGreaterThan(60)
    expect(first.request_counts?.failed).toBeLessThan(120)
    const failed = (await readLines(openai, first.error_file_id)).map((line) => line.custom_id)
    const second = await untilOver(openai, (await submit(openai, chatLines(300))).id)
    expect(second.request_counts).toEqual({ total: 300, completed: 300, failed: 0 })
    const fresh = setUp({ latency: INSTANT, failureRate: 0.3 }).openai
    const again = await untilOver(fresh, (await submit(fresh, chatLines(300))).id)
    expect((await readLines(fresh, again.error_file_id)).map((line) => line.custom_id)).toEqual(failed)
  })

  test('count how often a body was asked, in batches and directly', async () => {
    const attempts: number[] = []
    const { openai } = setUp({
      latency: INSTANT,
      answer: ({ attempt, via }) => {
        attempts.push(attempt)
        return via
      },
    })
    await untilOver(openai, (await submit(openai, [chatLine(1)])).id)
    const { body } = chatLine(1)
    await openai.post('/chat/completions', { body })
    await openai.post('/chat/completions', { body: { ...body, seed: 1 } })
    await untilOver(openai, (await submit(openai, [chatLine(1)])).id)
    expect(attempts).toEqual([0, 1, 0, 2])
  })
})

test('a batch reads its input to the end even when the file is deleted meanwhile', async () => {
  const { clock, openai } = setUp()
  const file = await upload(openai, chatLines(500))
  const { id } = await openai.batches.create({
    input_file_id: file.id,
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
  })
  await openai.files.delete(file.id)
  expect(await errorOf(openai.files.retrieve(file.id))).toMatchObject({ status: 404 })
  clock.advance(HOUR_MS)
  expect(await openai.batches.retrieve(id)).toMatchObject({
    status: 'completed',
    request_counts: { total: 500, completed: 500, failed: 0 },
  })
})

test('a batch does not start on a file that is gone or was meant for something else', async () => {
  const { openai } = setUp()
  const create = (id: string) =>
    openai.batches.create({ input_file_id: id, endpoint: '/v1/chat/completions', completion_window: '24h' })
  expect(await errorOf(create('file-none'))).toMatchObject({ status: 400, param: 'input_file_id' })
  const other = await openai.files.create({ purpose: 'user_data', file: new File(['{}'], 'x.jsonl') })
  expect(await errorOf(create(other.id))).toMatchObject({ status: 400 })
  expect((await openai.batches.list()).data).toEqual([])
})
