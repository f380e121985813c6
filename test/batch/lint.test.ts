import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { customId } from '../../src/batch/custom-id.ts'
import { MAX_EMBEDDING_INPUTS } from '../../src/batch/embedding-inputs.ts'
import { BatchLint, type LintFinding, type LintOptions, MAX_BATCH_BYTES } from '../../src/batch/lint.ts'
import { LINT_RULES } from '../../src/batch/lint-rules.ts'
import { wireLine } from '../../src/batch/wire-line.ts'
import { validateInput } from '../../src/emulator/batch-validation.ts'

type Fields = Readonly<Record<string, unknown>>

const body = { model: 'm', messages: [{ role: 'user', content: 'Hi' }] }
const line = (over: Fields = {}) => ({
  custom_id: 'a',
  method: 'POST',
  url: '/v1/chat/completions',
  body,
  ...over,
})
const text = (over: Fields = {}): string => JSON.stringify(line(over))
const withBody = (over: Fields): string => text({ body: { ...body, ...over } })
const embed = (id: string, input: unknown): string =>
  text({ custom_id: id, url: '/v1/embeddings', body: { model: 'e', input } })

function lint(content: string | Buffer, options: Partial<LintOptions> = {}) {
  const findings: LintFinding[] = []
  const run = new BatchLint({ onFinding: (finding) => findings.push(finding), ...options })
  if (content.length > 0) run.add(Buffer.from(content))
  return { totals: run.end(), findings }
}

/** Findings as `line code`, the line 0 for the whole file. */
const codes = (content: string | Buffer, options: Partial<LintOptions> = {}): string[] =>
  lint(content, options).findings.map(({ line, code }) => `${line ?? 0} ${code}`)

const lines = (...all: readonly string[]): string => all.map((one) => `${one}\n`).join('')

describe('a file without faults', () => {
  test('has no findings, and its totals are told', () => {
    const content = lines(text(), text({ custom_id: 'b' }))
    expect(lint(content, { name: 'in.jsonl' })).toEqual({
      findings: [],
      totals: {
        errors: 0,
        warnings: 0,
        requests: 2,
        bytes: Buffer.byteLength(content),
        endpoint: '/v1/chat/completions',
        models: { m: 2 },
        inputs: 0,
        counts: {},
      },
    })
  })

  test.each([
    ['without a last line break', text()],
    ['with an answer separator inside a text', withBody({ messages: ['\u2028 \u2029 é'] })],
    ['of Nightshift itself', wireLine(customId(17, 3), '/v1/chat/completions', JSON.stringify(body))],
    ['of responses', text({ url: '/v1/responses', body: { model: 'm', input: 'Hi' } })],
    ['of a stored prompt', text({ url: '/v1/responses', body: { model: 'm', prompt: { id: 'p' } } })],
    ['of moderations without a model', text({ url: '/v1/moderations', body: { input: 'Hi' } })],
    ['that says it does not stream', withBody({ stream: false, stream_options: null, service_tier: null })],
  ])('%s', (_, content) => {
    expect(codes(content)).toEqual([])
  })
})

describe('a line', () => {
  test.each([
    ['is not JSON', 'nonsense', 'not_json'],
    ['is cut off', text().slice(0, -3), 'not_json'],
    ['is a list', '[1]', 'not_an_object'],
    ['is null', 'null', 'not_an_object'],
    ['lacks its id', text({ custom_id: undefined }), 'no_custom_id'],
    ['has an id of null', text({ custom_id: null }), 'no_custom_id'],
    ['has a number for an id', text({ custom_id: 5 }), 'bad_custom_id'],
    ['has an empty id', text({ custom_id: '' }), 'bad_custom_id'],
    ['has an id with a space', text({ custom_id: 'a b' }), 'odd_custom_id'],
    ['has an id of 65 characters', text({ custom_id: 'x'.repeat(65) }), 'odd_custom_id'],
    ['has another method', text({ method: 'GET' }), 'bad_method'],
    ['has a method in small letters', text({ method: 'post' }), 'bad_method'],
    ['lacks its method', text({ method: undefined }), 'bad_method'],
    ['lacks its url', text({ url: undefined }), 'no_url'],
    ['has no path for a url', text({ url: 7 }), 'no_url'],
    ['is for an endpoint without batches', text({ url: '/v1/audio/speech' }), 'unknown_url'],
    ['has the url of a server', text({ url: 'https://api.openai.com/v1/chat/completions' }), 'unknown_url'],
    ['has a url without /v1', text({ url: '/chat/completions' }), 'unknown_url'],
    ['lacks its body', text({ body: undefined }), 'bad_body'],
    ['has a text for a body', text({ body: JSON.stringify(body) }), 'bad_body'],
    ['has a field of its own', text({ priority: 1 }), 'unknown_field'],
    ['lacks its model', withBody({ model: undefined }), 'no_model'],
    ['has an empty model', withBody({ model: '' }), 'no_model'],
    ['streams', withBody({ stream: true }), 'streaming'],
    ['has options for a stream', withBody({ stream_options: {} }), 'stream_options'],
    ['asks for a tier', withBody({ service_tier: 'flex' }), 'service_tier'],
    ['lacks its messages', withBody({ messages: undefined }), 'missing_field'],
    ['has no messages', withBody({ messages: [] }), 'missing_field'],
    ['lacks its input', text({ url: '/v1/responses' }), 'missing_field'],
    ['has an empty input', embed('a', ''), 'missing_field'],
    ['begins with a byte order mark', `\uFEFF${text()}`, 'bom'],
    ['ends in CR LF', `${text()}\r\n`, 'crlf'],
  ])('%s', (_, content, code) => {
    expect(codes(content)).toEqual([`1 ${code}`])
  })

  test('has bytes that are not UTF-8', () => {
    const content = Buffer.from(withBody({ messages: ['?'] }))
    content[content.indexOf('?')] = 0xe9
    const both = Buffer.concat([Buffer.from(lines(text({ custom_id: 'b' }))), content])
    expect(codes(both)).toEqual(['2 not_utf8'])
  })

  test('is told of with its value and what to do, and nothing in it reaches the terminal', () => {
    const told = (content: string) =>
      lint(content)
        .findings.map(({ message }) => message)
        .join('\n')
    expect(told(text({ url: '/chat/completions' }))).toContain('write "/v1/chat/completions"')
    expect(told(text({ url: 'http://x/v1/responses' }))).toContain('write "/v1/responses" alone')
    expect(told(text({ method: 'GET' }))).toBe('method is "GET": it must be "POST"')
    expect(told(text({ custom_id: '\u001b[31m\u009b\u202e' }))).not.toMatch(/\p{Cc}|\u202e/u)
    expect(told('\u001b[31m no JSON')).not.toContain('\u001b')
    expect(told(text({ custom_id: 'x'.repeat(5000) })).length).toBeLessThan(300)
    expect(told('{')).toContain('one long JSON text')
  })
})

describe('lines that do not go together', () => {
  test('share an id: the first one is named', () => {
    const { findings } = lint(lines(text(), text({ custom_id: 'b' }), text(), text()))
    expect(findings).toMatchObject([
      { line: 3, code: 'duplicate_custom_id', message: expect.stringContaining('line 1') },
      { line: 4, code: 'duplicate_custom_id', message: expect.stringContaining('line 1') },
    ])
  })

  test('have several urls or models', () => {
    const other = text({ custom_id: 'b', url: '/v1/responses', body: { model: 'n', input: 'Hi' } })
    expect(codes(lines(text(), other))).toEqual(['2 mixed_urls', '2 mixed_models'])
    expect(lint(lines(text(), other)).totals.models).toEqual({ m: 1, n: 1 })
  })

  test('have more models than anybody wants to read', () => {
    const many = Array.from({ length: 30 }, (_, n) =>
      text({ custom_id: `c${n}`, body: { ...body, model: `m${n}` } }),
    )
    const { models } = lint(lines(...many)).totals
    expect(Object.keys(models)).toHaveLength(21)
    expect(models['(others)']).toBe(10)
  })
})

describe('blank lines', () => {
  test('between requests are one error a gap', () => {
    expect(codes(lines('', text(), '', ' \t', '', text({ custom_id: 'b' })))).toEqual([
      '1 blank_line',
      '3 blank_line',
    ])
  })

  test('at the end are one warning', () => {
    expect(codes(lines(text(), '', ''))).toEqual(['2 blank_end'])
  })

  test('alone are an empty file', () => {
    expect(codes(lines('', ''))).toEqual(['0 empty_file'])
    expect(codes('')).toEqual(['0 empty_file'])
  })
})

describe('the file', () => {
  test('must be named .jsonl', () => {
    expect(codes(text(), { name: 'in.json' })).toEqual(['0 bad_file_name'])
    expect(codes(text(), { name: 'in.jsonl' })).toEqual([])
  })

  test.each([
    ['UTF-16', Buffer.from(`\uFEFF${text()}`, 'utf16le')],
    ['gzip', Buffer.from('1f8b08000000', 'hex')],
  ])('is no text in UTF-8 but %s: one finding for all of it', (_, content) => {
    expect(codes(content)).toEqual(['1 not_utf8'])
  })

  test('with CR LF throughout says so once', () => {
    expect(codes(lines(`${text()}\r`, `${text({ custom_id: 'b' })}\r`))).toEqual(['1 crlf'])
  })

  test('holds up to 50,000 requests', () => {
    const content = (count: number) =>
      lines(...Array.from({ length: count }, (_, n) => text({ custom_id: `c${n}` })))
    expect(codes(content(50_000))).toEqual([])
    expect(codes(content(50_002))).toEqual(['50001 too_many_requests'])
  }, 20_000)

  test('holds up to 50,000 embedding inputs, however they are spread', () => {
    const half = Array.from({ length: MAX_EMBEDDING_INPUTS / 2 }, () => 'x')
    const tokens = [1, 2, 3]
    const full = [embed('a', half), embed('b', half.slice(1)), embed('c', tokens)]
    expect(codes(lines(...full))).toEqual([])
    expect(lint(lines(...full)).totals.inputs).toBe(MAX_EMBEDDING_INPUTS)
    expect(codes(lines(...full, embed('d', 'one too many'), embed('e', 'x')))).toEqual(['4 too_many_inputs'])
  })

  test('has up to 200 MB for certain, and 200 MiB at most', () => {
    const sized = (bytes: number) => {
      const findings: string[] = []
      new BatchLint({ onFinding: ({ code }) => findings.push(code) }).end(bytes)
      return findings
    }
    expect(sized(200_000_000)).toEqual([])
    expect(sized(MAX_BATCH_BYTES)).toEqual(['file_near_limit'])
    expect(sized(MAX_BATCH_BYTES + 1)).toEqual(['file_too_large'])
  })

  test('must be what it was written as', () => {
    const content = lines(text())
    const expected = {
      endpoint: '/v1/chat/completions',
      model: 'm',
      requests: 1,
      bytes: Buffer.byteLength(content),
    }
    const told = (over: Partial<typeof expected>) => codes(content, { expected: { ...expected, ...over } })
    expect(told({})).toEqual([])
    expect(told({ requests: 2 })).toEqual(['0 wrong_size'])
    expect(told({ bytes: 1 })).toEqual(['0 wrong_size'])
    expect(told({ model: 'n' })).toEqual(['1 mixed_models'])
    expect(told({ endpoint: '/v1/responses' })).toEqual(['1 mixed_urls'])
  })
})

/** Lines of all kinds, sound ones more often than others. */
const anyLine = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 200 }).map((n) => text({ custom_id: `c${n}` })) },
  fc.constantFrom('nonsense', '[]', '{}', ' ', '', '\uFEFF{}', '"text"', `${text()}\r`),
  fc
    .constantFrom<Fields>(
      { custom_id: undefined },
      { custom_id: 1 },
      { method: 'GET' },
      { method: undefined },
      { url: '/v1/responses' },
      { url: '/chat/completions' },
      { url: undefined },
      { body: undefined },
      { body: [] },
      { body: { ...body, model: 'other' } },
      { body: { ...body, model: undefined } },
      { body: { ...body, model: 7 } },
      { body: { ...body, stream: true } },
      { extra: 1 },
    )
    .map((over) => text({ custom_id: 'odd', ...over })),
)
const anyFile = fc.array(anyLine, { minLength: 1, maxLength: 8 })

describe('any file', () => {
  test('that the emulated server refuses has an error; one without errors is taken', async () => {
    await fc.assert(
      fc.asyncProperty(anyFile, async (all) => {
        const { totals, findings } = lint(lines(...all))
        // Readers of other servers take blank lines for faults; the emulated one passes over them.
        const errors = findings.filter(({ severity, code }) => severity === 'error' && code !== 'blank_line')
        const verdict = await validateInput(
          (async function* () {
            yield all
          })(),
          {
            endpoint: totals.endpoint === '/v1/responses' ? '/v1/responses' : '/v1/chat/completions',
            maxRequests: 50_000,
            maxEmbeddingInputs: 50_000,
            knows: () => true,
          },
        )
        expect([all, errors.length > 0]).toEqual([all, verdict.kind === 'invalid'])
      }),
      { numRuns: 2_000 },
    )
  })

  test('is judged the same in whatever blocks it is read', () => {
    fc.assert(
      fc.property(anyFile, fc.boolean(), fc.array(fc.nat(8)), (all, ended, cuts) => {
        const content = ended ? lines(...all) : all.join('\n')
        const whole = lint(content)
        const findings: LintFinding[] = []
        const run = new BatchLint({ onFinding: (finding) => findings.push(finding) })
        const parts = content.split(/(?<=\n)/)
        for (let from = 0; from < parts.length; ) {
          const to = from + 1 + (cuts.shift() ?? 0)
          run.add(Buffer.from(parts.slice(from, to).join('')))
          from = to
        }
        expect({ totals: run.end(), findings }).toEqual(whole)
      }),
    )
  })

  test('has its findings in the order of its lines, and as many as the totals say', () => {
    fc.assert(
      fc.property(anyFile, (all) => {
        const { totals, findings } = lint(lines(...all))
        const places = findings.map((finding) => finding.line ?? Number.POSITIVE_INFINITY)
        expect(places).toEqual(places.toSorted((a, b) => a - b))
        expect(totals.errors + totals.warnings).toBe(findings.length)
        expect(totals.counts).toEqual(
          Object.fromEntries(
            [...Map.groupBy(findings, ({ code }) => code)].map(([code, some]) => [code, some.length]),
          ),
        )
      }),
    )
  })
})

test('every code is in the guide, with its severity', () => {
  const guide = readFileSync(join(import.meta.dirname, '../../docs/lint.md'), 'utf8')
  const rows = Object.entries(LINT_RULES).map(
    ([code, { severity, meaning }]) => `| \`${code}\` | ${severity} | ${meaning} |`,
  )
  for (const row of rows) expect(guide).toContain(row)
})
