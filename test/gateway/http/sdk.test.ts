import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import type { EmulatedRequest } from '../../../src/emulator/answers.ts'
import type { Log, LogFields } from '../../../src/gateway/log.ts'
import { CLIENTS, clientOf } from './clients.ts'
import { AnswerGate, ask, chat, held, openRig, requestsIn, until } from './rig.ts'

/** Of a client: less than it takes for its stream to end. */
const TIMEOUT_MS = 600
const MODEL = 'gpt-5-mini'
const messages = (content: string) => [{ role: 'user' as const, content }]

describe.each(CLIENTS)('%s', (name) => {
  test('gets answers of all endpoints, as from OpenAI', async () => {
    await using rig = await openRig()
    const client = clientOf(name, await rig.url())
    const [completion, response, embedding] = await Promise.all([
      client.chat.completions.create({ model: MODEL, messages: messages('hello') }),
      client.responses.create({ model: MODEL, input: 'hello' }),
      client.embeddings.create({ model: 'text-embedding-3-small', input: 'hello' }),
    ])
    expect(completion.choices[0]?.message.content).toEqual(expect.any(String))
    expect(response.output_text).toEqual(expect.any(String))
    expect(embedding.data[0]?.embedding.length).toBeGreaterThan(100)
  })

  test('comes back by itself to what it was told to wait for, and nothing is asked twice', async () => {
    const gate = new AnswerGate()
    const log = new CallLog()
    await using rig = await openRig({ settings: { maxHoldMs: 20 }, emulator: { answer: gate.answer }, log })
    const client = clientOf(name, await rig.url(), 20)
    const creating = client.chat.completions.create({ model: MODEL, messages: messages('hello') })
    const completed = creating.then((completion) => completion)
    await until(() => log.statuses.length === 2)
    gate.open()
    expect((await completed).choices[0]?.message.content).toContain('answer to')
    expect(log.statuses.at(-1)).toBe(200)
    expect(new Set(log.statuses.slice(0, -1))).toEqual(new Set([422]))
    expect(gate.asked).toBe(1)
  })

  test('holds a stream for longer than its timeout, and gets all of it', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ settings: { heartbeatMs: 250 }, emulator: { answer: gate.answer } })
    const startedAt = performance.now()
    const stream = await clientOf(name, await rig.url()).chat.completions.create(
      { model: MODEL, messages: messages('hello'), stream: true, stream_options: { include_usage: true } },
      { timeout: TIMEOUT_MS },
    )
    const opening = until(() => performance.now() - startedAt > 2 * TIMEOUT_MS).then(() => gate.open())
    let text = ''
    let tokens = 0
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? ''
      tokens += chunk.usage?.total_tokens ?? 0
    }
    await opening
    expect(text).toContain('answer to')
    expect(tokens).toBeGreaterThan(0)
  })

  test('hears of a failure in the midst of a stream', async () => {
    const gate = new AnswerGate()
    const answer = async (request: EmulatedRequest) => {
      await gate.answer(request)
      throw new Error('it broke')
    }
    await using rig = await openRig({ settings: { heartbeatMs: 250, maxAttempts: 1 }, emulator: { answer } })
    const client = clientOf(name, await rig.url())
    const stream = await client.chat.completions.create({
      model: MODEL,
      messages: messages('x'),
      stream: true,
    })
    gate.open()
    const reading = async () => {
      for await (const _ of stream);
    }
    await expect(reading()).rejects.toThrow()
  })

  test('lists all batches and comes to an end, sees one, and is refused the cancellation of what is done', async () => {
    await using rig = await openRig()
    const client = clientOf(name, await rig.url())
    for (const content of ['a', 'b', 'c'])
      await client.chat.completions.create({ model: MODEL, messages: messages(content) })
    const ids: string[] = []
    for await (const batch of client.batches.list({ limit: 2 })) ids.push(batch.id)
    expect(new Set(ids).size).toBe(3)
    const [id = ''] = ids
    const batch = await client.batches.retrieve(id)
    expect(batch).toMatchObject({ id, object: 'batch', status: 'completed', request_counts: { total: 1 } })
    await expect(client.batches.cancel(id)).rejects.toMatchObject({
      status: 409,
      message: expect.stringContaining("Cannot cancel a batch with status 'completed'."),
    })
    await expect(client.batches.retrieve('batch_of_nobody')).rejects.toMatchObject({ status: 404 })
  })
})

/** What calls were answered with. */
class CallLog implements Log {
  readonly statuses: (LogFields[string] | undefined)[] = []

  info(event: string, fields?: LogFields): void {
    if (event === 'call') this.statuses.push(fields?.status)
  }

  warn(): void {}
  error(): void {}
}

describe('curl', () => {
  const run = promisify(execFile)
  const curl = async (...args: readonly string[]) => (await run('curl', ['-sS', '-i', ...args])).stdout

  test('in every mode', async () => {
    await using rig = await openRig()
    const url = await rig.url()
    const json = ['-H', 'Content-Type: application/json']
    const body = ['-d', JSON.stringify(chat('hello'))]
    const to = `${url}/v1/chat/completions`
    expect(await curl(to, ...json, ...body)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*"chat\.completion"/s)
    expect(await curl(to, ...body, '-H', 'X-Nightshift-Mode: cache')).toMatch(
      /^HTTP\/1\.1 200.*"chat\.completion"/s,
    )
    const other = ['-d', JSON.stringify(chat('other'))]
    const accepted = await curl(to, ...json, ...other, '-H', 'Prefer: respond-async')
    expect(accepted).toMatch(/^HTTP\/1\.1 202 Accepted\r\n/)
    const location = /^location: (\S+)/im.exec(accepted)?.[1] ?? ''
    await until(async () => (await curl(`${url}${location}`)).includes('"completed"'))
    const third = ['-d', JSON.stringify(chat('third', { stream: true }))]
    expect(await curl('-N', to, ...json, ...third)).toMatch(
      /^HTTP\/1\.1 200.*text\/event-stream.*data: \[DONE\]/s,
    )
    const fourth = ['-d', JSON.stringify(chat('fourth'))]
    expect(await curl(to, ...json, ...fourth, '-H', 'X-Nightshift-Mode: poll')).toMatch(/^HTTP\/1\.1 422/)
  })

  test('that is interrupted lets go of its request', async () => {
    const gate = new AnswerGate()
    await using rig = await openRig({ emulator: { answer: gate.answer } })
    const url = await rig.url()
    const calling = new AbortController()
    const call = run('curl', ['-sS', `${url}/v1/chat/completions`, '-d', JSON.stringify(chat('a'))], {
      signal: calling.signal,
    })
    await until(async () => (await held(rig)) === 1)
    calling.abort()
    await call.catch(() => undefined)
    await until(async () => (await held(rig)) === 0)
    const again = ask(rig, chat('a'))
    await until(async () => (await held(rig)) === 1)
    gate.open()
    expect((await again).status).toBe(200)
    expect([gate.asked, await requestsIn(rig)]).toEqual([1, 1])
  })
})
