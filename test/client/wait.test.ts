import { OpenAI } from 'openai'
import { describe, expect, test } from 'vitest'
import { OpenAIBatching, type OpenAIBatchingOptions, type Poll } from '../../src/client/index.ts'
import { NightshiftError, UsageError } from '../../src/errors.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import {
  type Answer,
  answered,
  chatReply,
  cut,
  failure,
  half,
  pending,
  responseReply,
  silence,
  standIn,
} from './stand-in.ts'

const CHAT = { model: 'gpt-5-mini', messages: [{ role: 'user' as const, content: 'Say hello.' }] }
const HELLO = answered(chatReply('Hello.'))
/** A passing failure, with the pause that the package itself would keep. */
const busy = failure(429, 'queue_full', { 'retry-after': '30', 'x-should-retry': 'true' })

/** A request that is on its way at a gateway that gives these answers afterwards, in time that passes at once. */
async function onItsWay(answers: readonly Answer[], options: Partial<OpenAIBatchingOptions> = {}) {
  const server = await standIn(pending('req_7', '3'), ...answers)
  const clock = new VirtualClock()
  const client = new OpenAIBatching({ batchServerUrl: server.url, clock, ...options })
  const result = await client.chat.completions.create(CHAT, { maxRetries: 0, idempotencyKey: 'one' })
  if (result.hasCompleted) throw new Error('it has completed')
  const startedAt = clock.now()
  return {
    result,
    server,
    clock,
    /** Since the wait could begin. */
    waitedMs: () => clock.now() - startedAt,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

test('a wait asks as often as the gateway wants it, and says so, until the answer is there', async () => {
  await using way = await onItsWay([pending('req_7', '4'), pending('req_7', '60'), HELLO])
  const polls: Poll[] = []
  const answer = await way.result.wait({ onPoll: (poll) => polls.push(poll) })
  expect(answer).toMatchObject({ hasCompleted: true, output_text: 'Hello.' })
  expect(way.waitedMs()).toBe(3000 + 4000 + 60_000)
  expect(polls).toEqual([
    { requestId: 'req_7', polls: 1, waitedMs: 3000, retryAfterMs: 4000, error: undefined },
    { requestId: 'req_7', polls: 2, waitedMs: 7000, retryAfterMs: 60_000, error: undefined },
  ])
})

test('each look is the same call, whatever became of the body that was given', async () => {
  await using server = await standIn(pending('req_7'), pending('req_7'), answered(responseReply('Hello.')))
  const client = new OpenAIBatching({ batchServerUrl: server.url, clock: new VirtualClock() })
  const messages = [{ role: 'user' as const, content: 'Say hello.' }]
  const body = { model: 'gpt-5-mini', messages, temperature: 0 }
  const result = await client.responses.create(body, { idempotencyKey: 'one' })
  messages.push({ role: 'user', content: 'Say more.' })
  body.temperature = 2
  expect((await result.wait()).output_text).toBe('Hello.')
  const [first, ...others] = server.calls.map(({ body, headers }) => [
    body,
    headers['idempotency-key'],
    headers['x-nightshift-mode'],
  ])
  expect(others).toEqual([first, first])
  expect(first).toEqual([
    '{"model":"gpt-5-mini","temperature":0,"input":[{"role":"user","content":"Say hello."}]}',
    'one',
    'poll',
  ])
})

describe('a wait ends', () => {
  test('at its time, with a last look', async () => {
    await using way = await onItsWay([pending('req_7', '4'), pending('req_7', '60')])
    const error = await way.result.wait({ timeoutMs: 10_000 }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(NightshiftError)
    expect(error).toMatchObject({ code: 'wait_timeout', retryable: true })
    expect(error).toHaveProperty('message', expect.stringContaining('req_7 did not come within 10000 ms'))
    expect(way.waitedMs()).toBe(10_000)
    expect(way.server.calls).toHaveLength(1 + 3)
  })

  test('with the answer that the last look finds', async () => {
    await using way = await onItsWay([HELLO])
    expect(await way.result.wait({ timeoutMs: 0 })).toMatchObject({ output_text: 'Hello.' })
  })

  test('and can be begun again', async () => {
    await using way = await onItsWay([pending('req_7'), HELLO])
    await expect(way.result.wait({ timeoutMs: 0 })).rejects.toThrow('req_7')
    expect(await way.result.wait()).toMatchObject({ output_text: 'Hello.' })
  })

  test('when its caller has it end, between two looks', async () => {
    await using way = await onItsWay([pending('req_7'), HELLO])
    const abort = new AbortController()
    const reason = new Error('enough')
    const { result } = way
    const wait = result.wait({ signal: abort.signal, onPoll: () => abort.abort(reason) })
    await expect(wait).rejects.toBe(reason)
    expect(way.server.calls).toHaveLength(2)
    await expect(result.wait({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    expect(way.server.calls).toHaveLength(2)
  })

  test('when its caller has it end, during a look', async () => {
    const abort = new AbortController()
    const reason = new Error('enough')
    await using way = await onItsWay([() => abort.abort(reason)])
    await expect(way.result.wait({ signal: abort.signal })).rejects.toBe(reason)
  })

  test('not by the signal that its create had', async () => {
    await using server = await standIn(pending('req_7'), HELLO)
    const abort = new AbortController()
    const client = new OpenAIBatching({ batchServerUrl: server.url, clock: new VirtualClock() })
    const result = await client.chat.completions.create(CHAT, { signal: abort.signal })
    abort.abort()
    expect((await result.wait()).output_text).toBe('Hello.')
  })

  test('with what its reporter throws', async () => {
    await using way = await onItsWay([pending('req_7'), HELLO])
    const broken = new Error('no terminal')
    const onPoll = () => {
      throw broken
    }
    await expect(way.result.wait({ onPoll })).rejects.toBe(broken)
  })

  test.each([-1, Number.NaN])('before it begins, with a time of %d', async (timeoutMs) => {
    await using way = await onItsWay([HELLO])
    await expect(way.result.wait({ timeoutMs })).rejects.toThrow(UsageError)
    expect(way.server.calls).toHaveLength(1)
  })

  test("with the request's own error, once it has one", async () => {
    const gone = failure(500, 'server_error', { 'x-should-retry': 'false' })
    await using way = await onItsWay([pending('req_7'), gone, HELLO])
    const error = await way.result.wait().catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(OpenAI.InternalServerError)
    expect(error).toMatchObject({ status: 500, code: 'server_error' })
    expect(way.server.calls).toHaveLength(3)
  })

  test.each([
    [400, 'invalid_request'],
    [401, 'invalid_api_key'],
    [404, 'not_found'],
  ])('with a refusal: %d', async (status, code) => {
    await using way = await onItsWay([failure(status, code), HELLO])
    await expect(way.result.wait()).rejects.toMatchObject({ status, code })
  })
})

describe('trouble on the way', () => {
  test.each<[string, Answer, number]>([
    ['a connection that breaks', cut, 1000],
    ['an answer of which half comes', half, 1000],
    ['a gateway that restarts', failure(503, 'gateway_stopping'), 1000],
    ['a gateway that has too much to do', busy, 30_000],
    ['a failure that the gateway says will pass', failure(422, 'later', { 'x-should-retry': 'true' }), 1000],
  ])('is borne, and told: %s', async (_, trouble, retryAfterMs) => {
    await using way = await onItsWay([trouble, HELLO])
    const polls: Poll[] = []
    expect(await way.result.wait({ onPoll: (poll) => polls.push(poll) })).toMatchObject({
      output_text: 'Hello.',
    })
    expect(polls).toMatchObject([{ requestId: 'req_7', polls: 1, waitedMs: 3000, retryAfterMs }])
    expect(polls[0]?.error).toBeInstanceOf(Error)
  })

  test('is left more and more time, a minute at most', async () => {
    await using way = await onItsWay([...Array<Answer>(8).fill(cut), HELLO])
    const pauses: number[] = []
    await way.result.wait({ onPoll: ({ retryAfterMs }) => pauses.push(retryAfterMs / 1000) })
    expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 60, 60])
  })

  test('is borne for an hour in a row, and not for ever', async () => {
    await using way = await onItsWay([cut])
    await expect(way.result.wait()).rejects.toBeInstanceOf(OpenAI.APIConnectionError)
    expect(way.waitedMs()).toBeGreaterThan(3_600_000)
    expect(way.waitedMs()).toBeLessThan(3_800_000)
  })

  test('is not in a row when the gateway was there in between', async () => {
    const troubles = Array<Answer>(50).fill(cut)
    await using way = await onItsWay([...troubles, pending('req_7'), ...troubles, HELLO])
    expect(await way.result.wait()).toMatchObject({ output_text: 'Hello.' })
  })

  test('is the cause when time is up', async () => {
    await using way = await onItsWay([cut])
    const error = await way.result.wait({ timeoutMs: 5000 }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'wait_timeout', cause: expect.any(OpenAI.APIConnectionError) })
  })

  test('is a gateway that says nothing, too', async () => {
    await using way = await onItsWay([silence])
    const error = await way.result.wait({ timeoutMs: 0 }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'wait_timeout', cause: expect.any(OpenAI.APIConnectionTimeoutError) })
  })
})
