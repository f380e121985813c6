import { describe, expect, test } from 'vitest'
import { createEmulator, type EmulatorOptions, parseScenario } from '../../src/emulator/index.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { chatLine, clientOf, errorOf, INSTANT, readLines, submit, untilOver } from './helpers.ts'

const start = (options: EmulatorOptions = {}) =>
  clientOf(createEmulator({ latency: INSTANT, answer: () => 'fine', ...options }))

type Client = ReturnType<typeof start>
const FLEX = { service_tier: 'flex' } as const

const ask = (
  openai: Client,
  more: { service_tier?: 'auto' | 'default' | 'flex' } = {},
  model = 'gpt-5-mini',
) => openai.chat.completions.create({ model, messages: [{ role: 'user', content: 'question' }], ...more })

describe('the flex tier', () => {
  test('is named in the answer; without it the tier is the default', async () => {
    const openai = start()
    expect(await ask(openai, FLEX)).toMatchObject({ service_tier: 'flex' })
    expect(await openai.responses.create({ model: 'm', input: 'x', ...FLEX })).toMatchObject({
      service_tier: 'flex',
      usage: { output_tokens: 1 },
    })
    for (const tier of [{}, { service_tier: 'auto' }, { service_tier: 'default' }] as const)
      expect(await ask(openai, tier)).toMatchObject({ service_tier: 'default' })
  })

  test('has a latency of its own, else that of direct calls', async () => {
    const timeOf = async (latency: EmulatorOptions['latency'], more: typeof FLEX | object) => {
      const clock = new VirtualClock(0)
      await ask(start({ clock, ...(latency && { latency }) }), more)
      return clock.now()
    }
    const both = { directMs: 2_000, flexMs: 30_000 }
    expect(await timeOf(both, FLEX)).toBe(30_000)
    expect(await timeOf(both, {})).toBe(2_000)
    expect(await timeOf({ directMs: 2_000 }, FLEX)).toBe(2_000)
  })

  test('is refused for models that do not know it, with the tier alone to blame', async () => {
    const openai = start({ flexModels: ['gpt-5'] })
    expect(await errorOf(ask(openai, FLEX))).toMatchObject({
      status: 400,
      type: 'invalid_request_error',
      error: { message: 'Flex is not available for this model.', param: null, code: null },
    })
    expect((await ask(openai)).choices).toHaveLength(1)
    expect(await ask(openai, FLEX, 'gpt-5')).toMatchObject({ service_tier: 'flex' })
  })

  test('is none for embeddings, nor for the lines of a batch', async () => {
    const openai = start()
    const embeddings = openai.post('/embeddings', { body: { model: 'm', input: 'x', ...FLEX } })
    expect(await errorOf(embeddings)).toMatchObject({ status: 400 })
    const batch = await untilOver(openai, (await submit(openai, [chatLine(1), chatLine(2, FLEX)])).id)
    expect(batch.request_counts).toEqual({ total: 2, completed: 1, failed: 1 })
    expect(await readLines(openai, batch.error_file_id)).toMatchObject([
      { custom_id: 'request-2', response: { status_code: 400 } },
    ])
  })

  test('that has no room refuses its own calls, which cost nothing, and no others', async () => {
    const faults = [{ fault: 'reply-flex-refused' as const, when: { first: 2 } }]
    const openai = start({ scenario: { faults } })
    expect((await ask(openai)).choices).toHaveLength(1)
    for (const _ of [1, 2]) {
      const refused = await errorOf(ask(openai, FLEX))
      expect(refused).toMatchObject({ status: 429, code: 'resource_unavailable' })
      expect(refused.error).not.toHaveProperty('usage')
    }
    expect(await ask(openai, FLEX)).toMatchObject({ service_tier: 'flex' })
  })

  test('has no lines and no other ways that a fault could name', () => {
    for (const key of [{ line: 1 }, { via: 'direct' }])
      expect(() => parseScenario({ faults: [{ fault: 'reply-flex-refused', ...key }] })).toThrow('has no key')
  })
})
