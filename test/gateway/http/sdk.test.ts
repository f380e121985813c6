import { describe, expect, test } from 'vitest'
import type { EmulatedRequest } from '../../../src/emulator/answers.ts'
import { CLIENTS, clientOf } from './clients.ts'
import { AnswerGate, openRig, until } from './rig.ts'

/** Of a client: less than it takes for its stream to end. */
const TIMEOUT_MS = 600
const MODEL = 'gpt-5-mini'
const messages = (content: string) => [{ role: 'user' as const, content }]

describe.each(CLIENTS)('%s', (name) => {
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
