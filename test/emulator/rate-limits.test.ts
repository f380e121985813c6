import OpenAI from 'openai'
import { expect, test } from 'vitest'
import { createEmulator } from '../../src/emulator/create-emulator.ts'
import type { EmulatorOptions } from '../../src/emulator/options.ts'
import { chatLine, clientOf, errorOf, INSTANT, submit, untilOver } from './helpers.ts'

function setUp(options: EmulatorOptions) {
  const emulator = createEmulator({ latency: INSTANT, ...options })
  const baseURL = 'http://emulator.local/v1'
  const admin = new OpenAI({
    adminAPIKey: 'admin',
    apiKey: 'x',
    baseURL,
    fetch: emulator.fetch,
    maxRetries: 0,
  })
  const { rateLimits } = admin.admin.organization.projects
  return { openai: clientOf(emulator), list: (query = {}) => rateLimits.listRateLimits('proj_1', query) }
}

test('the limits of a project are those of the models that are listed, page by page', async () => {
  const { list } = setUp({ models: ['a', 'b', 'c'], limits: { enqueuedTokens: 90_000 } })
  const first = await list({ limit: 2 })
  expect(first.data.map(({ id, model }) => [id, model])).toEqual([
    ['rl-a', 'a'],
    ['rl-b', 'b'],
  ])
  expect(first).toMatchObject({ has_more: true, last_id: 'rl-b' })
  const all: unknown[] = []
  for await (const limit of list({ limit: 2 })) all.push(limit)
  expect(all).toHaveLength(3)
  expect(all[2]).toMatchObject({
    object: 'project.rate_limit',
    model: 'c',
    max_tokens_per_1_minute: expect.any(Number),
    batch_1_day_max_input_tokens: 90_000,
  })
})

test('a model of some batch is among them', async () => {
  const { openai, list } = setUp({ models: [], limits: { enqueuedTokens: 90_000 } })
  expect((await list()).data).toEqual([])
  const { id } = await submit(openai, [chatLine(0, { model: 'mine' })])
  await untilOver(openai, id)
  expect((await list()).data.map(({ model }) => model)).toEqual(['mine'])
})

test('without a limit there is no figure for batches', async () => {
  const { list } = setUp({ models: ['a'] })
  expect((await list()).data[0]).not.toHaveProperty('batch_1_day_max_input_tokens')
})

test('a page after nothing, or of no size, is refused', async () => {
  const { list } = setUp({ models: ['a'] })
  expect((await errorOf(list({ after: 'rl-z' }))).status).toBe(404)
  expect((await errorOf(list({ limit: 0 }))).status).toBe(400)
})
