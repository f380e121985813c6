import { describe, expect, test } from 'vitest'
import { createEmulator, type EmulatorOptions, withUsage } from '../../src/emulator/index.ts'
import { readUsage } from '../../src/tokens/usage.ts'
import { chatLines, clientOf, INSTANT, readLines, submit, untilOver } from './helpers.ts'

const start = (answer: EmulatorOptions['answer']) =>
  clientOf(createEmulator({ latency: INSTANT, ...(answer && { answer }) }))

const ask = (openai: ReturnType<typeof start>) =>
  openai.chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'question' }] })

const ALL = { input: 1000, cachedInput: 900, cacheWrite: 50, output: 70, reasoning: 60 }

describe('an answer with usage', () => {
  test('says its tokens in the words of its endpoint', async () => {
    const openai = start(() => withUsage('fine', ALL))
    const chat = await ask(openai)
    expect(chat.choices[0]?.message.content).toBe('fine')
    expect(chat.usage).toMatchObject({
      prompt_tokens: 1000,
      prompt_tokens_details: { cached_tokens: 900, cache_write_tokens: 50 },
      completion_tokens: 70,
      completion_tokens_details: { reasoning_tokens: 60 },
      total_tokens: 1070,
    })
    const response = await openai.responses.create({ model: 'm', input: 'x' })
    for (const { usage } of [chat, response]) expect(readUsage(usage)).toEqual(ALL)
  })

  test('keeps what was counted where it says nothing', async () => {
    const counted = readUsage((await ask(start(() => 'a fine answer'))).usage)
    const { usage } = await ask(start(() => withUsage('a fine answer', { cachedInput: 1 })))
    expect(readUsage(usage)).toEqual({ ...counted, cachedInput: 1 })
    expect(usage).not.toHaveProperty('prompt_tokens_details.cache_write_tokens')
  })

  test('may be an object, a promise, or of simulated vectors', async () => {
    const openai = start(async () => withUsage({ sure: true }, { input: 7 }))
    const chat = await ask(openai)
    expect(chat).toMatchObject({ choices: [{ message: { content: '{"sure":true}' } }] })
    expect(chat.usage?.prompt_tokens).toBe(7)
    const { data, usage } = await openai.embeddings.create({ model: 'm', input: ['x', 'y'] })
    expect(data).toHaveLength(2)
    expect(usage).toEqual({ prompt_tokens: 7, total_tokens: 7 })
  })

  test('is summed up by its batch', async () => {
    const openai = start(() => withUsage('fine', ALL))
    const batch = await untilOver(openai, (await submit(openai, chatLines(50))).id)
    expect(batch.usage).toEqual({
      input_tokens: 50_000,
      input_tokens_details: { cached_tokens: 45_000 },
      output_tokens: 3_500,
      output_tokens_details: { reasoning_tokens: 3_000 },
      total_tokens: 53_500,
    })
    const [line] = await readLines(openai, batch.output_file_id)
    expect(line?.response?.body).toMatchObject({
      usage: { prompt_tokens_details: { cached_tokens: 900, cache_write_tokens: 50 } },
    })
  })

  test('is told from an object that has fields of these names', async () => {
    const openai = start(() => ({ answer: 'fine', usage: { input: 1 } }))
    expect((await ask(openai)).choices[0]?.message.content).toBe('{"answer":"fine","usage":{"input":1}}')
  })
})
