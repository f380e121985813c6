import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { TaskError } from '../../src/errors.ts'
import { applyToBody, toStrictSchema } from '../../src/task/answer-schema.ts'

const strict = <Answer>(schema: z.ZodType<Answer>) => toStrictSchema(schema, 'EmotionTask.answerSchema')
const answerOf = <Answer>(schema: z.ZodType<Answer>, value: unknown) =>
  strict(schema).parse(JSON.stringify(value))

const STRICT_KEYWORDS = new Set(
  `type properties required additionalProperties items enum const anyOf $ref $defs title description pattern format
   multipleOf minimum maximum exclusiveMinimum exclusiveMaximum minItems maxItems`.split(/\s+/),
)

/** Every rule of strict mode, at every node. */
function expectStrict(node: unknown): void {
  if (typeof node !== 'object' || node === null) throw new Error(`not a node: ${JSON.stringify(node)}`)
  const schema = node as { [keyword: string]: unknown }
  for (const keyword of Object.keys(schema)) expect(STRICT_KEYWORDS).toContain(keyword)
  if (schema.$ref) {
    expect(Object.keys(schema)).toEqual(['$ref'])
    return
  }
  expect(schema.type ?? schema.anyOf ?? 'const' in schema).toBeTruthy()
  if (Array.isArray(schema.type)) expect(schema.type).toContain('null')
  if (schema.type === 'object') {
    expect(schema.additionalProperties).toBe(false)
    expect(schema.required).toEqual(Object.keys(schema.properties ?? {}))
  }
  for (const child of Object.values(schema.properties ?? {})) expectStrict(child)
  for (const child of Object.values(schema.$defs ?? {})) expectStrict(child)
  for (const child of Array.isArray(schema.anyOf) ? schema.anyOf : []) expectStrict(child)
  if (schema.items) expectStrict(schema.items)
}

describe('the strict form', () => {
  test('closes objects, requires everything and makes optionals nullable', () => {
    const schema = z.object({
      emotion: z.enum(['joy', 'anger']),
      note: z.string().optional(),
      level: z.enum(['low', 'high']).optional().describe('how much'),
      detail: z.object({ at: z.int() }).optional(),
    })
    expect(strict(schema).jsonSchema).toEqual({
      type: 'object',
      properties: {
        emotion: { type: 'string', enum: ['joy', 'anger'] },
        note: { type: ['string', 'null'] },
        level: { type: ['string', 'null'], enum: ['low', 'high', null], description: 'how much' },
        detail: {
          anyOf: [
            {
              type: 'object',
              properties: { at: { type: 'integer' } },
              required: ['at'],
              additionalProperties: false,
            },
            { type: 'null' },
          ],
        },
      },
      required: ['emotion', 'note', 'level', 'detail'],
      additionalProperties: false,
    })
  })

  test('keeps what strict mode knows and leaves out what it does not', () => {
    const schema = z.object({
      name: z
        .string()
        .min(1)
        .max(9)
        .regex(/^[a-z]+$/),
      mail: z.email(),
      link: z.url(),
      odd: z.string().regex(/^(?!x)/),
      score: z.number().min(0).max(1),
      tags: z.array(z.string()).min(1).max(3),
    })
    expect(strict(schema).jsonSchema.properties).toEqual({
      name: { type: 'string', pattern: '^[a-z]+$' },
      mail: { type: 'string', format: 'email' },
      link: { type: 'string' },
      odd: { type: 'string' },
      score: { type: 'number', minimum: 0, maximum: 1 },
      tags: { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: 3 },
    })
    expect(answerOf(schema.pick({ name: true }), { name: 'toolongname' })).toMatchObject({ ok: false })
  })

  test('writes every union as anyOf', () => {
    const schema = z.object({
      shape: z.discriminatedUnion('kind', [
        z.object({ kind: z.literal('circle'), radius: z.number().optional() }),
        z.object({ kind: z.literal('none') }),
      ]),
      size: z.union([z.string(), z.number(), z.null()]),
      mixed: z.literal(['a', 1, null]),
    })
    expectStrict(strict(schema).jsonSchema)
    expect(answerOf(schema, { shape: { kind: 'circle', radius: null }, size: null, mixed: 1 })).toEqual({
      ok: true,
      answer: { shape: { kind: 'circle' }, size: null, mixed: 1 },
    })
  })

  test('takes recursion at the root and below, and names given by meta', () => {
    const Tree = z.object({
      label: z.string(),
      get parent() {
        return Tree.optional()
      },
      get children() {
        return z.array(Tree)
      },
    })
    const Point = z
      .object({ x: z.number(), y: z.number().optional() })
      .meta({ id: 'Point', title: 'A point!' })
    const tree = { label: 'a', parent: null, children: [{ label: 'b', parent: null, children: [] }] }
    const answer = { label: 'a', children: [{ label: 'b', children: [] }] }
    for (const schema of [
      Tree,
      z.object({ root: Tree }),
      z.array(Tree),
      Point,
      z.object({ a: Point, b: Point }),
    ])
      expectStrict(strict<unknown>(schema).jsonSchema)
    expect(answerOf(Tree, tree)).toEqual({ ok: true, answer })
    expect(answerOf(z.array(Tree), { value: [tree] })).toEqual({ ok: true, answer: [answer] })
    expect(answerOf(Point, { x: 1, y: null })).toEqual({ ok: true, answer: { x: 1 } })
    expect(strict(Point).name).toBe('A_point_')
  })

  test.each([
    ['a word', z.string(), 'yes'],
    ['a list', z.array(z.number()), [1, 2]],
    ['a union of objects', z.union([z.object({ a: z.number() }), z.object({ b: z.number() })]), { b: 2 }],
  ])('wraps %s, because the root has to be an object', (_, schema, answer) => {
    const { jsonSchema } = strict<unknown>(schema)
    expectStrict(jsonSchema)
    expect(jsonSchema).toMatchObject({ type: 'object', required: ['value'] })
    expect(answerOf<unknown>(schema, { value: answer })).toEqual({ ok: true, answer })
    expect(answerOf<unknown>(schema, answer)).toEqual({ ok: true, answer })
  })

  test('a record over fixed keys is an object; optional keys may be absent', () => {
    const all = z.record(z.enum(['joy', 'anger']), z.number())
    const some = z.partialRecord(z.enum(['joy', 'anger']), z.number())
    expect(strict(all).jsonSchema).toMatchObject({ required: ['joy', 'anger'] })
    expect(answerOf(some, { joy: 0.5, anger: null })).toEqual({ ok: true, answer: { joy: 0.5 } })
  })

  test('transforms and defaults work on the way in', () => {
    const schema = z.object({
      n: z.string().transform(Number),
      d: z.number().default(7),
      c: z.string().catch('?'),
    })
    expectStrict(strict(schema).jsonSchema)
    expect(answerOf(schema, { n: '12', d: null, c: null })).toEqual({
      ok: true,
      answer: { n: 12, d: 7, c: '?' },
    })
  })

  test.each<[string, z.ZodType, string]>([
    ['a date', z.object({ items: z.array(z.object({ when: z.date() })) }), 'items[].when is of type "date"'],
    ['a bigint', z.object({ n: z.bigint() }), 'use z.string() or z.int()'],
    ['anything', z.object({ data: z.unknown() }), 'data is of type "any"'],
    [
      'a free record',
      z.object({ counts: z.record(z.string(), z.number()) }),
      'array of { key, value } objects',
    ],
    ['a map', z.map(z.string(), z.number()), 'the answer is of type "map"'],
    ['a tuple', z.object({ pair: z.tuple([z.string(), z.number()]) }), 'pair is of type "tuple"'],
    ['never', z.object({ no: z.never() }), 'no is of type "never"'],
    ['a custom type', z.object({ f: z.custom(() => true) }), 'f is of type "custom"'],
    ['undefined in a union', z.object({ u: z.union([z.string(), z.undefined()]) }), 'use .optional()'],
    ['a file', z.object({ f: z.file() }), 'f is of type "file"'],
  ])('refuses %s, naming the path and what to use', (_, schema, message) => {
    expect(() => strict(schema)).toThrow(TaskError)
    expect(() => strict(schema)).toThrow(message)
    expect(() => strict(schema)).toThrow('EmotionTask.answerSchema')
  })
})

describe('reading an answer', () => {
  const schema = z.object({ text: z.string(), note: z.string().nullable().optional(), n: z.int().optional() })

  test('null means absent only where the schema does not allow null itself', () => {
    expect(answerOf(schema, { text: 'x', note: null, n: null })).toEqual({
      ok: true,
      answer: { text: 'x', note: null },
    })
    expect(answerOf(schema, { text: null, note: null, n: null })).toMatchObject({
      ok: false,
      code: 'invalid_answer',
      problem: expect.stringContaining('text'),
    })
  })

  test('look-alike options of a union are tried until the schema accepts one', () => {
    const alike = z.object({
      v: z.union([
        z.object({ k: z.string().min(5), x: z.number().optional() }),
        z.object({ k: z.string(), x: z.number().nullable() }),
      ]),
    })
    expect(answerOf(alike, { v: { k: 'abcdef', x: null } })).toEqual({
      ok: true,
      answer: { v: { k: 'abcdef' } },
    })
    expect(answerOf(alike, { v: { k: 'ab', x: null } })).toEqual({
      ok: true,
      answer: { v: { k: 'ab', x: null } },
    })
  })

  test.each([
    ['{"text": joy}', 'position 9 (line 1, column 10)'],
    ['{\n  "text": "a",\n}', 'position 17 (line 3, column 1)'],
    ['{"text": "a', 'it ends at position 11 (line 1, column 12)'],
    ['', 'it ends at position 0'],
    ['I think it is joy', 'position 0'],
    ['{"text":"at position 99"} x', 'position 26'],
  ])('no JSON in %j: says where', (text, place) => {
    expect(strict(schema).parse(text)).toMatchObject({
      ok: false,
      code: 'invalid_json',
      problem: expect.stringContaining(place),
    })
  })

  test('asynchronous checks are the task author’s mistake', () => {
    const slow = z.object({ a: z.string().refine(async () => true) })
    expect(() => answerOf(slow, { a: 'x' })).toThrow(expect.objectContaining({ code: 'async_schema' }))
  })
})

describe('applying it to a body', () => {
  const one = strict(z.object({ a: z.string() }))

  test('uses the form of the endpoint', () => {
    expect(applyToBody('/v1/chat/completions', { model: 'm' }, one)).toEqual({
      model: 'm',
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'answer', strict: true, schema: one.jsonSchema },
      },
    })
    expect(applyToBody('/v1/responses', { model: 'm', text: { verbosity: 'low' } }, one)).toEqual({
      model: 'm',
      text: {
        verbosity: 'low',
        format: { type: 'json_schema', name: 'answer', strict: true, schema: one.jsonSchema },
      },
    })
  })

  test('a format the body has already is left alone, embeddings are refused', () => {
    const chat = { response_format: { type: 'json_object' } }
    const responses = { text: { format: { type: 'text' } } }
    expect(applyToBody('/v1/chat/completions', chat, one)).toBe(chat)
    expect(applyToBody('/v1/responses', responses, one)).toBe(responses)
    expect(() => applyToBody('/v1/embeddings', {}, one)).toThrow(/embeddings/)
  })
})

/** A schema, with values it accepts as the model would write them (`sent`) and as the task wants them (`answer`). */
interface Sample {
  readonly schema: z.ZodType
  readonly pairs: fc.Arbitrary<{ readonly sent: unknown; readonly answer: unknown }>
}

const same = (schema: z.ZodType, values: fc.Arbitrary<unknown>): Sample => ({
  schema,
  pairs: values.map((value) => ({ sent: value, answer: value })),
})

const leaves: fc.Arbitrary<Sample> = fc.constantFrom(
  same(z.string(), fc.string()),
  same(z.int().min(-5).max(5), fc.integer({ min: -5, max: 5 })),
  same(z.boolean(), fc.boolean()),
  same(z.enum(['a', 'b']), fc.constantFrom('a', 'b')),
  same(z.literal(3), fc.constant(3)),
  same(z.string().nullable(), fc.option(fc.string())),
)

const listOf = ({ schema, pairs }: Sample): Sample => ({
  schema: z.array(schema),
  pairs: fc.array(pairs, { maxLength: 3 }).map((items) => ({
    sent: items.map(({ sent }) => sent),
    answer: items.map(({ answer }) => answer),
  })),
})

/** Each member is required, or optional where null is not a value of its own. */
function objectOf(members: readonly (readonly [Sample, boolean])[]): Sample {
  const shape = members.map(([{ schema, pairs }, mayMiss], at) => {
    const optional = mayMiss && !schema.safeParse(null).success
    const pair = optional ? fc.option(pairs, { nil: undefined }) : pairs
    return { name: `p${at}`, schema: optional ? schema.optional() : schema, pair }
  })
  const schema = z.object(Object.fromEntries(shape.map((member) => [member.name, member.schema])))
  const pairs = fc.tuple(...shape.map(({ pair }) => pair)).map((values) => ({
    sent: Object.fromEntries(shape.map(({ name }, at) => [name, values[at] ? values[at].sent : null])),
    answer: Object.fromEntries(
      shape.flatMap(({ name }, at) => (values[at] ? [[name, values[at].answer] as const] : [])),
    ),
  }))
  return { schema, pairs }
}

const taggedUnion = (options: readonly Sample[]): Sample => {
  const tagged = options.map((option, at) =>
    objectOf([
      [same(z.literal(at), fc.constant(at)), false],
      [option, true],
    ]),
  )
  return {
    schema: z.union(tagged.map(({ schema }) => schema)),
    pairs: fc.oneof(...tagged.map(({ pairs }) => pairs)),
  }
}

const samples: fc.Arbitrary<Sample> = fc.letrec<{ any: Sample }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaves,
    tie('any').map(listOf),
    fc.array(fc.tuple(tie('any'), fc.boolean()), { maxLength: 4 }).map(objectOf),
    fc.array(tie('any'), { minLength: 2, maxLength: 3 }).map(taggedUnion),
  ),
})).any

describe('any schema', () => {
  test('has a strict form that obeys the rules at every node', () => {
    fc.assert(
      fc.property(samples, ({ schema }) => expectStrict(strict(schema).jsonSchema)),
      { numRuns: 200 },
    )
  })

  test('reads back every answer it accepts, absent optionals written as null', () => {
    const cases = samples.chain(({ schema, pairs }) => pairs.map((pair) => ({ schema, ...pair })))
    fc.assert(
      fc.property(cases, ({ schema, sent, answer }) => {
        const one = strict(schema)
        const wrapped = 'value' in Object(one.jsonSchema.properties) && !(schema instanceof z.ZodObject)
        expect(one.parse(JSON.stringify(wrapped ? { value: sent } : sent))).toEqual({ ok: true, answer })
      }),
      { numRuns: 300 },
    )
  })
})
