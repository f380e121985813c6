import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { OutputCursor } from '../../src/requester/output-placement.ts'
import { JsonLinesOutput, JsonOutput, type TaskOutput } from '../../src/task/output.ts'
import { readOutput } from '../../src/task/output-reader.ts'

const START: OutputCursor = { part: 1, lines: 0, bytes: 0 }

/** Writes values as the commit does: each where `place` says. Returns the text of each part, by suffix. */
function written(output: TaskOutput, values: readonly unknown[]): Map<string, string> {
  const files = new Map<string, string>()
  let cursor = START
  for (const [index, value] of values.entries()) {
    const line = output.encode(value, `key-${index}`)
    const bytes = Buffer.byteLength(line)
    const at = output.place(cursor, bytes)
    const suffix = output.suffix(at.part)
    files.set(suffix, (files.get(suffix) ?? '') + line)
    cursor = { part: at.part, lines: at.lines + 1, bytes: at.bytes + bytes }
  }
  return files
}

describe('encode', () => {
  const encode = (value: unknown): string => new JsonLinesOutput().encode(value, 'text-1')

  test('writes one line of JSON', () => {
    expect(encode({ key: 'a', list: [1, null, true], text: 'one\ntwo' })).toBe(
      '{"key":"a","list":[1,null,true],"text":"one\\ntwo"}\n',
    )
  })

  test('writes every JSON value as JSON.stringify does', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const line = encode(value)
        expect(line).toBe(`${JSON.stringify(value)}\n`)
        expect(line.indexOf('\n')).toBe(line.length - 1)
      }),
    )
  })

  test.each([
    ['properties that are undefined are left out', { a: undefined, b: 1 }, '{"b":1}'],
    ['dates have a toJSON', { at: new Date(0) }, '{"at":"1970-01-01T00:00:00.000Z"}'],
    ['toJSON is given the name', { a: { toJSON: (name: string) => name } }, '{"a":"a"}'],
    [
      'a map keeps its order',
      new Map([
        ['b', 1],
        ['1', 2],
      ]),
      '{"b":1,"1":2}',
    ],
    ['objects without a prototype are plain', Object.assign(Object.create(null), { a: 1 }), '{"a":1}'],
    ['objects of another realm are plain', runInNewContext('({ a: [{}] })'), '{"a":[{}]}'],
    ['the same object twice is no cycle', ((one) => [one, one])({ a: 1 }), '[{"a":1},{"a":1}]'],
    ['lone surrogates are escaped', '\ud800', '"\\ud800"'],
    ['keys that are special elsewhere', JSON.parse('{"__proto__":{"a":1}}'), '{"__proto__":{"a":1}}'],
  ])('%s', (_, value, text) => {
    expect(encode(value)).toBe(`${text}\n`)
  })

  const cycle: { self?: unknown } = {}
  cycle.self = { again: [cycle] }
  const deep = Array(600)
    .fill(0)
    .reduce<unknown>((inner) => [inner], 1)
  const eternal = { toJSON: () => eternal }

  class Answer {
    readonly text = 'yes'
  }

  test.each([
    ['undefined', undefined, ' at $: undefined'],
    ['a list with undefined in it', { list: [1, undefined] }, ' at $.list[1]: undefined'],
    ['a list with holes', Object.assign(Array(2), { 0: 1 }), ' at $[1]: undefined'],
    ['NaN', { 'the score': Number.NaN }, ' at $["the score"]: NaN'],
    ['infinity', [Number.NEGATIVE_INFINITY], ' at $[0]: -Infinity'],
    ['a bigint', { id: 12n }, ' at $.id: the bigint 12n'],
    ['a function', { run: () => 1 }, ' at $.run: a function'],
    ['a symbol', Symbol('s'), ' at $: a symbol'],
    ['a cycle', cycle, ' at $.self.again[0]: the value contains itself'],
    ['a deep value', deep, 'more than 500 levels'],
    ['a set', new Set([1]), ' at $: an object of class Set'],
    ['a map with other keys', new Map([[1, 2]]), 'a key of the map is a number'],
    ['an instance', { answer: new Answer() }, ' at $.answer: an object of class Answer'],
    ['an invalid date', { at: new Date('never') }, ' at $.at: the date is invalid'],
    ['a toJSON that gets nowhere', eternal, ' at $: the value contains itself'],
  ])('refuses %s, naming key and place', (_, value, where) => {
    expect(() => encode(value)).toThrow(
      expect.objectContaining({
        name: 'TaskError',
        code: 'output_not_json',
        message: expect.stringMatching(/^the output of "text-1" cannot be written as JSON/),
      }),
    )
    expect(() => encode(value)).toThrow(where)
  })

  test('passes on what a toJSON throws', () => {
    const broken = {
      toJSON: () => {
        throw new RangeError('no')
      },
    }
    expect(() => encode(broken)).toThrow(
      expect.objectContaining({ code: 'output_not_json', cause: expect.any(RangeError) }),
    )
  })
})

describe('JsonLinesOutput', () => {
  test('without limits is one file', () => {
    expect([...written(new JsonLinesOutput(), [1, 2, 3])]).toEqual([['_output.jsonl', '1\n2\n3\n']])
  })

  test('with maxEntries is in parts from the first', () => {
    expect([...written(new JsonLinesOutput({ maxEntries: 2 }), [1, 2, 3])]).toEqual([
      ['_output_part001.jsonl', '1\n2\n'],
      ['_output_part002.jsonl', '3\n'],
    ])
  })

  test('counts maxBytes in bytes, line ends included, and uses them up', () => {
    const values = ['é', 'é', 'é']
    expect([...written(new JsonLinesOutput({ maxBytes: 10 }), values).values()]).toEqual([
      '"é"\n"é"\n',
      '"é"\n',
    ])
    expect(written(new JsonLinesOutput({ maxBytes: 9 }), values).size).toBe(3)
  })

  test('refuses a line that no part can hold, naming its key', () => {
    const output = new JsonLinesOutput({ maxBytes: 4 })
    expect(output.encode(123, 'a')).toBe('123\n')
    expect(() => output.encode(1234, 'text-9')).toThrow(
      expect.objectContaining({
        code: 'output_too_large',
        message: expect.stringContaining('"text-9" has 5 bytes'),
      }),
    )
  })

  test('numbers beyond 999 grow longer', () => {
    expect(new JsonLinesOutput({ maxEntries: 1 }).suffix(1000)).toBe('_output_part1000.jsonl')
  })

  test.each([{ maxEntries: 0 }, { maxBytes: -1 }, { maxEntries: 1.5 }, { maxBytes: Number.NaN }])(
    'refuses %j',
    (options) => {
      expect(() => new JsonLinesOutput(options)).toThrow(
        expect.objectContaining({ code: 'bad_output_option' }),
      )
    },
  )

  test('keeps all lines, in order, and every part within its limits', () => {
    const limits = { maxEntries: fc.integer({ min: 1, max: 5 }), maxBytes: fc.integer({ min: 30, max: 60 }) }
    fc.assert(
      fc.property(fc.record(limits), fc.array(fc.string({ maxLength: 4 })), (options, values) => {
        const parts = [...written(new JsonLinesOutput(options), values)]
        expect(parts.map(([suffix]) => suffix)).toEqual(
          parts.map((_, index) => `_output_part${String(index + 1).padStart(3, '0')}.jsonl`),
        )
        const lines = parts.map(([, text]) => text.split('\n').slice(0, -1))
        expect(lines.flat().map((line) => JSON.parse(line))).toEqual(values)
        for (const [index, [, text]] of parts.entries()) {
          expect(lines[index]?.length).toBeLessThanOrEqual(options.maxEntries)
          expect(Buffer.byteLength(text)).toBeLessThanOrEqual(options.maxBytes)
        }
      }),
    )
  })
})

describe('JsonOutput', () => {
  async function* entries(...values: readonly unknown[]): AsyncIterable<unknown> {
    yield* values
  }

  test('keeps its log in one file, however long', () => {
    expect([...written(new JsonOutput(), [1, 2])]).toEqual([['_output.jsonl', '1\n2\n']])
  })

  test('lists the entries by default', async () => {
    const text = await new JsonOutput().project(entries({ key: 'a' }, 2))
    expect(text).toBe('{\n  "entries": [\n    {\n      "key": "a"\n    },\n    2\n  ]\n}\n')
    expect(await new JsonOutput().project(entries())).toBe('{\n  "entries": []\n}\n')
  })

  test('projects as it is told, also to a map', async () => {
    const output = new JsonOutput<{ name: string; age: number }>(async (people) => {
      const ages = new Map<string, number>()
      for await (const { name, age } of people) ages.set(name, age)
      return ages
    })
    expect(await output.project(entries({ name: 'z', age: 1 }, { name: '7', age: 2 }))).toBe(
      '{\n  "z": 1,\n  "7": 2\n}\n',
    )
  })

  test('indents as JSON.stringify does', async () => {
    const check = async (value: unknown) => {
      expect(await new JsonOutput(() => value).project(entries())).toBe(`${JSON.stringify(value, null, 2)}\n`)
    }
    await fc.assert(fc.asyncProperty(fc.jsonValue(), check))
  })

  test('indents what a toJSON gives at its own level', async () => {
    const value = { at: { toJSON: () => ({ seconds: [1] }) } }
    expect(await new JsonOutput(() => value).project(entries())).toBe(`${JSON.stringify(value, null, 2)}\n`)
  })

  test('refuses a projection without a JSON form', async () => {
    await expect(new JsonOutput(() => undefined).project(entries())).rejects.toThrow(
      expect.objectContaining({
        code: 'output_not_json',
        message: expect.stringMatching(/^the projected output/),
      }),
    )
  })
})

describe('readOutput', () => {
  let directory = ''
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nightshift-output-'))
  })
  afterEach(() => rm(directory, { recursive: true }))

  const file = (name: string) => join(directory, name)
  const write = (name: string, text: string) => writeFile(file(name), text)
  const read = async (name: string): Promise<unknown[]> => {
    const values: unknown[] = []
    for await (const value of readOutput(file(name))) values.push(value)
    return values
  }

  test.each(['task', 'task_output', 'task_output.jsonl'])('reads the lines of %s', async (name) => {
    await write('task_output.jsonl', '1\n{"a":2}\n')
    expect(await read(name)).toEqual([1, { a: 2 }])
  })

  test('gives back what was written, in parts or in one', async () => {
    const values = ['a\u2028b', { nested: ['\r\n', '\u0085'] }, 3]
    for (const [suffix, text] of written(new JsonLinesOutput({ maxEntries: 2 }), values))
      await write(`p${suffix}`, text)
    for (const [suffix, text] of written(new JsonLinesOutput(), values)) await write(`s${suffix}`, text)
    expect(await read('p')).toEqual(values)
    expect(await read('s')).toEqual(values)
    expect(await read('p_output_part002.jsonl')).toEqual([3])
  })

  test('orders parts by number', async () => {
    await Promise.all(
      Array.from({ length: 1001 }, (_, index) =>
        write(`task_output_part${String(index + 1).padStart(3, '0')}.jsonl`, `${index}\n`),
      ),
    )
    expect(await read('task')).toEqual(Array.from({ length: 1001 }, (_, index) => index))
  })

  test('says which part is missing', async () => {
    await write('task_output_part001.jsonl', '1\n')
    await write('task_output_part003.jsonl', '3\n')
    await expect(read('task')).rejects.toThrow(
      expect.objectContaining({
        code: 'output_part_missing',
        message: expect.stringMatching(/^part 2 .*part003/),
      }),
    )
  })

  test('reads the projection only when it is named, or all there is', async () => {
    await write('task_output.json', '{"all":[1]}')
    expect(await read('task')).toEqual([{ all: [1] }])
    await write('task_output.jsonl', '1\n')
    expect(await read('task')).toEqual([1])
    expect(await read('task_output.json')).toEqual([{ all: [1] }])
  })

  test('is not confused by other tasks', async () => {
    await write('task_output.jsonl', '1\n')
    await write('task_output_output.jsonl', '2\n')
    await write('a.json_output.jsonl', '3\n')
    await write('taskXoutput.jsonl', '4\n')
    expect(await read('task')).toEqual([1])
    expect(await read('task_output')).toEqual([2])
    expect(await read('a.json')).toEqual([3])
  })

  test('leaves out a last line that is being written, and blank lines', async () => {
    await write('task_output.jsonl', '12\n\n34')
    expect(await read('task')).toEqual([12])
    await appendFile(file('task_output.jsonl'), '5\n')
    expect(await read('task')).toEqual([12, 345])
  })

  test('names the place of a damaged line', async () => {
    await write('task_output.jsonl', '12\n{"a":\n3\n')
    await expect(read('task')).rejects.toThrow(
      expect.objectContaining({
        name: 'StateError',
        code: 'output_unreadable',
        message: expect.stringContaining('task_output.jsonl, byte 3:'),
      }),
    )
    await write('other_output.json', '{')
    await expect(read('other')).rejects.toThrow('other_output.json: not JSON')
  })

  test.each(['task', 'task_output.jsonl', 'nowhere/task'])(
    'says that there is no output at %s',
    async (name) => {
      await expect(read(name)).rejects.toThrow(expect.objectContaining({ code: 'output_not_found' }))
    },
  )

  test('streams: a reader that stops early reads no more', async () => {
    await write('task_output_part001.jsonl', '1\n')
    await write('task_output_part002.jsonl', 'damaged\n')
    for await (const value of readOutput(file('task'))) {
      expect(value).toBe(1)
      break
    }
    expect(await readFile(file('task_output_part001.jsonl'), 'utf8')).toBe('1\n')
  })
})
