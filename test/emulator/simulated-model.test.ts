import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { EmulatedRequest } from '../../src/emulator/answers.ts'
import { createChance, fingerprint } from '../../src/emulator/chance.ts'
import { envelope } from '../../src/emulator/envelopes.ts'
import { createEmulator } from '../../src/emulator/index.ts'
import { sampleSchema } from '../../src/emulator/schema-sampler.ts'
import { type Draft, simulateDrafts } from '../../src/emulator/simulated-model.ts'
import { clientOf } from './helpers.ts'

const WORDS = ['river', 'Straße', '東京', 'a']

const sampleWith = (schema: unknown, seed: number): unknown =>
  sampleSchema(schema, { chance: createChance(seed, seed + 1), words: WORDS })

const scalar = fc.oneof(
  fc.constant({ type: 'boolean' }),
  fc.constant({ type: 'null' }),
  fc
    .constantFrom('date-time', 'date', 'time', 'email', 'uuid', 'ipv4', 'ipv6', 'uri', 'duration')
    .map((format) => ({
      type: 'string',
      format,
    })),
  fc.tuple(fc.nat(30), fc.nat(30)).map(([least, more]) => ({
    type: 'string',
    minLength: least,
    maxLength: least + more,
  })),
  fc.tuple(fc.integer({ min: -500, max: 500 }), fc.nat(300)).map(([minimum, more]) => ({
    type: 'integer',
    minimum,
    maximum: minimum + more,
  })),
  fc.tuple(fc.integer({ min: -500, max: 500 }), fc.integer({ min: 1, max: 300 })).map(([low, more]) => ({
    type: 'number',
    exclusiveMinimum: low,
    exclusiveMaximum: low + more,
  })),
  fc.integer({ min: 1, max: 12 }).map((multipleOf) => ({ type: 'integer', minimum: -50, multipleOf })),
  fc.array(fc.string(), { minLength: 1, maxLength: 4 }).map((values) => ({ enum: values })),
  fc.string().map((value) => ({ const: value })),
)

const { schema: anySchema } = fc.letrec<{ schema: object }>((tie) => ({
  schema: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    scalar,
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
    fc.tuple(tie('schema'), fc.nat(3), fc.nat(3)).map(([items, minItems, more]) => ({
      type: 'array',
      items,
      minItems,
      maxItems: minItems + more,
    })),
    fc.dictionary(fc.stringMatching(/^[a-z]{1,6}$/), tie('schema'), { maxKeys: 4 }).map((properties) => ({
      type: 'object',
      properties,
      required: Object.keys(properties),
      additionalProperties: false,
    })),
  ),
}))

describe('a sample satisfies its schema', () => {
  test('for strict schemas of all kinds', () => {
    fc.assert(
      fc.property(anySchema, fc.nat(), (schema, seed) => {
        const value = sampleWith(schema, seed)
        expect(z.fromJSONSchema(JSON.parse(JSON.stringify(schema))).safeParse(value)).toMatchObject({
          success: true,
        })
      }),
      { numRuns: 500 },
    )
  })

  test('for what zod makes of its own schemas', () => {
    const Entry = z.object({
      id: z.uuid(),
      at: z.iso.datetime(),
      day: z.iso.date(),
      code: z.string().regex(/^[A-Z]{3}-\d{2,4}$/),
      kind: z.union([z.literal('a'), z.literal('b'), z.object({ deep: z.tuple([z.number(), z.string()]) })]),
      share: z.number().min(0).max(1),
      count: z.int().positive(),
      tags: z.array(z.enum(['x', 'y', 'z'])).min(2),
      note: z.string().max(12).nullable(),
      scores: z.record(z.string(), z.number()),
      extra: z.boolean().optional(),
    })
    const schema = z.toJSONSchema(Entry)
    for (let seed = 0; seed < 300; seed++)
      expect(Entry.safeParse(sampleWith(schema, seed)).error).toBeUndefined()
  })

  test('for recursive ones, which end', () => {
    interface Tree {
      name: string
      left: Tree | null
      children: Tree[]
    }
    const Tree: z.ZodType<Tree> = z.object({
      name: z.string().min(1),
      get left() {
        return Tree.nullable()
      },
      get children() {
        return z.array(Tree)
      },
    })
    const schema = z.toJSONSchema(Tree)
    for (let seed = 0; seed < 200; seed++) expect(Tree.safeParse(sampleWith(schema, seed)).success).toBe(true)
    const endless = { type: 'object', properties: { self: { $ref: '#' } }, required: ['self'] }
    expect(JSON.stringify(sampleWith(endless, 1)).length).toBeLessThan(10_000)
  })

  test('for $defs, allOf and unique items', () => {
    const schema = {
      type: 'array',
      minItems: 3,
      maxItems: 3,
      uniqueItems: true,
      items: { allOf: [{ $ref: '#/$defs/colour' }, { type: 'string' }] },
      $defs: { colour: { enum: ['red', 'green', 'blue'] } },
    }
    const value = sampleWith(schema, 5)
    expect(Array.isArray(value) && value.toSorted()).toEqual(['blue', 'green', 'red'])
  })
})

const request = (body: EmulatedRequest['body'], attempt = 0): EmulatedRequest => ({
  endpoint: '/v1/chat/completions',
  body: { model: 'gpt-5', ...body },
  via: 'direct',
  attempt,
})

const textOf = (draft: Draft | undefined): string => (draft?.kind === 'text' ? draft.text : '')

const answer = (one: EmulatedRequest): string =>
  textOf(simulateDrafts(one, fingerprint(JSON.stringify(one.body)))[0])

describe('the simulated model', () => {
  const labels = { type: 'object', properties: { label: { enum: ['a', 'b', 'c'] } }, required: ['label'] }
  const opinion = (attempt: number) =>
    request(
      {
        messages: [{ role: 'user', content: 'Is this spam?' }],
        response_format: { type: 'json_schema', json_schema: { name: 'x', strict: true, schema: labels } },
      },
      attempt,
    )

  test('gives the same answer to the same attempt', () => {
    expect(answer(opinion(3))).toBe(answer(opinion(3)))
  })

  test('mostly agrees with itself between attempts, with dissent', () => {
    const counts = new Map<string, number>()
    for (let attempt = 0; attempt < 200; attempt++) {
      const label = answer(opinion(attempt))
      counts.set(label, (counts.get(label) ?? 0) + 1)
    }
    expect(counts.size).toBe(3)
    expect(Math.max(...counts.values())).toBeGreaterThan(120)
  })

  test('takes its words from the last user message', () => {
    const messages = [
      { role: 'user', content: 'ignored entirely' },
      { role: 'assistant', content: 'hm' },
      { role: 'user', content: [{ type: 'text', text: 'Loch Ness monsters' }, { type: 'image_url' }] },
    ]
    expect(answer(request({ messages }))).toContain('Loch Ness monsters')
    const format = { response_format: { type: 'json_object' } }
    const value: unknown = JSON.parse(answer(request({ messages, ...format })))
    expect(value).toMatchObject({ summary: expect.stringMatching(/Loch|Ness|monsters/) })
  })

  test('cuts what is too long, as the API says it', () => {
    const messages = [{ role: 'user', content: 'ein langes Gespräch über Füße' }]
    const cut = (limits: object, endpoint: EmulatedRequest['endpoint']) => {
      const one = { ...request({ messages, input: messages, ...limits }), endpoint }
      return envelope(one, simulateDrafts(one, 1), 0)
    }
    expect(cut({ max_completion_tokens: 5 }, '/v1/chat/completions')).toMatchObject({
      choices: [{ finish_reason: 'length' }],
      usage: { completion_tokens: 5 },
    })
    expect(cut({ max_output_tokens: 5 }, '/v1/responses')).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      usage: { output_tokens: 5 },
    })
  })
})

test('a demanded tool is called with arguments that fit', async () => {
  const openai = clientOf(createEmulator())
  const Weather = z.object({ city: z.string(), days: z.int().min(1).max(7) })
  const parameters = z.toJSONSchema(Weather)
  const chat = await openai.chat.completions.create({
    model: 'gpt-5',
    messages: [{ role: 'user', content: 'Weather in Oslo?' }],
    tools: [{ type: 'function', function: { name: 'weather', parameters } }],
    tool_choice: { type: 'function', function: { name: 'weather' } },
  })
  const call = chat.choices[0]?.message.tool_calls?.[0]
  expect(chat.choices[0]).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } })
  expect(call).toMatchObject({ type: 'function', function: { name: 'weather' } })
  if (call?.type === 'function') Weather.parse(JSON.parse(call.function.arguments))

  const response = await openai.responses.create({
    model: 'gpt-5',
    input: 'Weather in Oslo?',
    tools: [{ type: 'function', name: 'weather', parameters, strict: true }],
    tool_choice: 'required',
  })
  const item = response.output.find((one) => one.type === 'function_call')
  expect(item?.name).toBe('weather')
  Weather.parse(JSON.parse(item?.arguments ?? ''))
})

test('structured output works in the responses endpoint', async () => {
  const openai = clientOf(createEmulator())
  const Answer = z.object({ topic: z.string(), certain: z.boolean() })
  const response = await openai.responses.create({
    model: 'gpt-5',
    input: [{ role: 'user', content: 'What is this about?' }],
    text: { format: { type: 'json_schema', name: 'answer', strict: true, schema: z.toJSONSchema(Answer) } },
  })
  Answer.parse(JSON.parse(response.output_text))
  expect(response.usage).toMatchObject({ input_tokens_details: { cached_tokens: 0 } })
})
