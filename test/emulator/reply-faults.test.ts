import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createEmulator, type EmulatorOptions, type Scenario } from '../../src/emulator/index.ts'
import { chatLine, chatLines, clientOf, errorOf, INSTANT, readLines, submit, untilOver } from './helpers.ts'

type Faults = Scenario['faults']

const start = (faults: Faults, options: EmulatorOptions = {}) =>
  clientOf(createEmulator({ latency: INSTANT, scenario: { faults }, answer: () => 'fine', ...options }))

const ask = (openai: OpenAI, content = 'question 1') =>
  openai.chat.completions.create({ model: 'gpt-5-mini', messages: [{ role: 'user', content }] })

async function run(openai: OpenAI, lines: readonly unknown[] = chatLines(3)) {
  const batch = await untilOver(openai, (await submit(openai, lines)).id)
  const text = async (id: string | null | undefined) =>
    id ? (await openai.files.content(id)).text() : undefined
  return {
    batch,
    output: await text(batch.output_file_id),
    errors: await text(batch.error_file_id),
    lines: () => readLines(openai, batch.output_file_id),
    errorLines: () => readLines(openai, batch.error_file_id),
  }
}

const ids = (lines: readonly { readonly custom_id: string }[]) => lines.map((line) => line.custom_id).sort()

describe('replies, in a batch and directly', () => {
  test('a status and an error', async () => {
    const openai = start([
      {
        fault: 'reply-status',
        contains: 'question 1',
        status: 418,
        error: { code: 'teapot', message: 'short and stout' },
        headers: { 'retry-after': '7' },
      },
    ])
    const { batch, lines, errorLines } = await run(openai)
    expect(batch.request_counts).toEqual({ total: 3, completed: 2, failed: 1 })
    expect(await lines()).toHaveLength(2)
    expect(await errorLines()).toMatchObject([
      {
        custom_id: 'request-1',
        response: { status_code: 418, body: { error: { code: 'teapot' } } },
        error: null,
      },
    ])
    const refused = await errorOf(ask(openai))
    expect(refused).toMatchObject({ status: 418, code: 'teapot' })
    expect(refused.headers?.get('retry-after')).toBe('7')
    expect((await ask(openai, 'another')).choices).toHaveLength(1)
  })

  test('status 0 with an empty body, counted as completed', async () => {
    const openai = start([{ fault: 'reply-status', contains: 'question 1', status: 0 }])
    const { batch, errorLines } = await run(openai)
    expect(batch.request_counts).toEqual({ total: 3, completed: 3, failed: 0 })
    expect(await errorLines()).toMatchObject([{ response: { status_code: 0, body: '' }, error: null }])
    await expect(ask(openai)).rejects.toThrow(OpenAI.APIConnectionError)
  })

  test('a status with a null body', async () => {
    const openai = start([{ fault: 'reply-status', status: 500, json: null }])
    const { errorLines } = await run(openai, [chatLine(1)])
    expect(await errorLines()).toMatchObject([{ response: { status_code: 500, body: null } }])
  })

  test('another text', async () => {
    const openai = start([{ fault: 'reply-text', text: 'no idea' }])
    const { lines } = await run(openai, [chatLine(1)])
    expect((await lines())[0]?.response?.body.choices?.[0]?.message.content).toBe('no idea')
    expect((await ask(openai)).choices[0]?.message.content).toBe('no idea')
    expect((await openai.responses.create({ model: 'm', input: 'x' })).output_text).toBe('no idea')
  })

  test.each([
    ['refusal', { choices: [{ message: { content: null, refusal: expect.any(String) } }] }],
    ['cut', { choices: [{ finish_reason: 'length', message: { content: 'fi' } }] }],
    ['no-choices', { choices: [] }],
    ['null-usage', { usage: null }],
    [
      'null-usage-details',
      {
        usage: {
          completion_tokens: 1,
          prompt_tokens_details: null,
          completion_tokens_details: null,
        },
      },
    ],
    ['line-separators', { choices: [{ message: { content: 'fineone\u2028two\u2029three' } }] }],
  ] as const)('%s', async (is, body) => {
    const openai = start([{ fault: 'reply-form', is }])
    const { lines, output } = await run(openai, [chatLine(1)])
    expect((await lines())[0]?.response).toMatchObject({ status_code: 200, body })
    expect(await ask(openai)).toMatchObject(body)
    if (is === 'line-separators') expect(output).toContain('\u2028two\u2029')
  })

  test('no usage', async () => {
    const openai = start([{ fault: 'reply-form', is: 'no-usage' }])
    const { batch, lines } = await run(openai, [chatLine(1)])
    expect((await lines())[0]?.response?.body).not.toHaveProperty('usage')
    expect(batch.usage?.output_tokens).toBeGreaterThan(0)
    expect(await ask(openai)).not.toHaveProperty('usage')
  })

  test('a page in HTML and an empty body', async () => {
    const openai = start([
      { fault: 'reply-form', is: 'html', contains: 'question 1' },
      { fault: 'reply-form', is: 'empty', contains: 'question 2' },
    ])
    const { lines } = await run(openai)
    const bodies = new Map((await lines()).map((line) => [line.custom_id, line.response?.body]))
    expect(bodies.get('request-1')).toContain('<html>')
    expect(bodies.get('request-2')).toBe('')
    const page = await ask(openai).asResponse()
    expect(page.headers.get('content-type')).toBe('text/html')
    expect(await (await ask(openai, 'question 2').asResponse()).text()).toBe('')
  })

  test('the same forms of responses and embeddings', async () => {
    const of = (is: 'refusal' | 'cut' | 'no-choices' | 'null-usage-details') =>
      start([{ fault: 'reply-form', is }]).responses.create({ model: 'm', input: 'x' })
    expect(await of('refusal')).toMatchObject({ output: [{ content: [{ type: 'refusal' }] }] })
    expect(await of('cut')).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output: [{ content: [{ text: 'fi' }] }],
    })
    expect(await of('no-choices')).toMatchObject({ output: [], status: 'completed' })
    expect(await of('null-usage-details')).toMatchObject({ usage: { output_tokens_details: null } })
    const embeddings = start([{ fault: 'reply-form', is: 'no-choices' }]).embeddings
    expect(await embeddings.create({ model: 'm', input: 'x', encoding_format: 'float' })).toMatchObject({
      data: [],
    })
  })

  test('separators stand beside a text that is JSON', async () => {
    const openai = start([{ fault: 'reply-form', is: 'line-separators' }], { answer: () => ({ a: 'b' }) })
    const reply = await ask(openai)
    expect(reply.choices[0]?.message.content).toBe('{"a":"b"}')
    expect(JSON.stringify(reply)).toContain('\u2028')
  })

  test('only one way, one line, or the first times that a body is asked', async () => {
    const openai = start([
      { fault: 'reply-status', via: 'direct', status: 500, error: {}, when: { tries: 1 } },
      { fault: 'reply-status', line: 2, status: 400, error: {} },
    ])
    expect(await errorOf(ask(openai, 'a'))).toMatchObject({ status: 500 })
    expect(await errorOf(ask(openai, 'b'))).toMatchObject({ status: 500 })
    expect((await ask(openai, 'a')).choices).toHaveLength(1)
    const { errorLines } = await run(openai, ['', ...chatLines(3)])
    expect(ids(await errorLines())).toEqual(['request-0'])
  })

  test('a share hits the same bodies whenever they are asked', async () => {
    const openai = start([{ fault: 'reply-status', status: 500, error: {}, when: { share: 0.2 } }])
    const first = ids(await (await run(openai, chatLines(200))).errorLines())
    const again = ids(await (await run(openai, [...chatLines(200)].reverse())).errorLines())
    expect(again).toEqual(first)
    expect(first.length).toBeGreaterThan(20)
    expect(first.length).toBeLessThan(60)
  })

  test('several faults of one reply act in their order', async () => {
    const openai = start([
      { fault: 'reply-text', text: 'abcdef' },
      { fault: 'reply-form', is: 'cut' },
      { fault: 'reply-form', is: 'no-usage' },
    ])
    const reply = await ask(openai)
    expect(reply.choices[0]?.message.content).toBe('abc')
    expect(reply).not.toHaveProperty('usage')
  })

  test('an answer that comes from outside is changed too', async () => {
    const upstream = { baseURL: 'http://m/v1', fetch: async () => Response.json({ output: [], usage: {} }) }
    const openai = start([{ fault: 'reply-form', is: 'null-usage' }], { upstream })
    expect(await ask(openai)).toMatchObject({ usage: null })
  })
})

describe('lines of result files', () => {
  const one = { contains: 'question 1' }

  test('an error in place of a response', async () => {
    const { batch, errorLines } = await run(
      start([{ fault: 'line-error', ...one, code: 'server_shutdown', message: 'gone' }]),
    )
    expect(batch.request_counts).toMatchObject({ completed: 2, failed: 1 })
    expect(await errorLines()).toMatchObject([
      { custom_id: 'request-1', response: null, error: { code: 'server_shutdown', message: 'gone' } },
    ])
  })

  test('missing, though it is counted', async () => {
    const { batch, lines } = await run(start([{ fault: 'line-form', ...one, is: 'missing' }]))
    expect(batch.request_counts?.completed).toBe(3)
    expect(ids(await lines())).toEqual(['request-0', 'request-2'])
  })

  test('all missing: there is no file', async () => {
    const { batch } = await run(start([{ fault: 'line-form', is: 'missing' }]))
    expect(batch).toMatchObject({ output_file_id: null, error_file_id: null })
    expect(batch.request_counts?.completed).toBe(3)
  })

  test('twice, under an unknown id, and with a stranger behind it', async () => {
    const { lines } = await run(
      start([
        { fault: 'line-form', contains: 'question 0', is: 'duplicated' },
        { fault: 'line-form', contains: 'question 1', is: 'unknown-id' },
        { fault: 'line-form', contains: 'question 2', is: 'stranger' },
      ]),
    )
    expect(ids(await lines())).toEqual([
      'request-0',
      'request-0',
      'request-2',
      'unknown-request-1',
      'unknown-request-2',
    ])
  })

  test('no JSON, blank lines, other line ends, a status that is a text', async () => {
    const { output = '', batch } = await run(
      start([
        { fault: 'line-form', contains: 'question 0', is: 'not-json' },
        { fault: 'line-form', contains: 'question 1', is: 'blank' },
        { fault: 'line-form', contains: 'question 1', is: 'crlf' },
        { fault: 'line-form', contains: 'question 2', is: 'status-text' },
      ]),
    )
    const [text = '', empty, spaces, crlf = '', broken = '', end] = output.split('\n')
    expect(JSON.parse(text)).toMatchObject({ custom_id: 'request-2', response: { status_code: '200' } })
    expect([empty, spaces]).toEqual(['\r', '   \r'])
    expect(JSON.parse(crlf)).toMatchObject({ custom_id: 'request-1' })
    expect(crlf.endsWith('}\r')).toBe(true)
    expect(() => JSON.parse(broken)).toThrow(SyntaxError)
    expect(broken).toContain('request-0')
    expect(end).toBe('')
    expect(batch.output_file_id).not.toBeNull()
  })

  test('in both files, as the same line or as another', async () => {
    const { batch, lines, errorLines } = await run(
      start([
        { fault: 'line-form', contains: 'question 0', is: 'both-files' },
        { fault: 'line-form', contains: 'question 1', is: 'contradicted' },
      ]),
    )
    expect(batch.request_counts).toEqual({ total: 3, completed: 3, failed: 0 })
    expect(ids(await lines())).toEqual(['request-0', 'request-1', 'request-2'])
    const errors = new Map((await errorLines()).map((line) => [line.custom_id, line]))
    expect(errors.get('request-0')).toEqual((await lines()).find((line) => line.custom_id === 'request-0'))
    expect(errors.get('request-1')).toMatchObject({ response: null, error: { code: 'batch_expired' } })
    expect(errors.size).toBe(2)
  })

  test('a file is as long as it says', async () => {
    const openai = start([
      { fault: 'line-form', when: { every: 3 }, is: 'missing' },
      { fault: 'line-form', when: { every: 4 }, is: 'crlf' },
      { fault: 'line-form', when: { every: 5 }, is: 'duplicated' },
    ])
    const { batch, output = '' } = await run(openai, chatLines(250))
    const file = await openai.files.retrieve(batch.output_file_id ?? '')
    expect(file.bytes).toBe(Buffer.byteLength(output))
    const answer = await openai.files.content(file.id)
    expect(answer.headers.get('content-length')).toBe(String(file.bytes))
    expect(output).not.toContain('emulator_marks')
  })

  test('missing lines of an expired batch are not taken for unanswered ones', async () => {
    const openai = start([
      { fault: 'batch-end', as: 'expired', answered: 0.5 },
      { fault: 'line-form', is: 'missing', when: { every: 2 } },
    ])
    const { lines, errorLines } = await run(openai, chatLines(100))
    expect(await errorLines()).toHaveLength(50)
    expect(await lines()).toHaveLength(25)
  })

  test('a batch that is gone on with by another emulator keeps the forms of its lines', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'emulator-'))
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
    const scenario: Scenario = {
      faults: [
        { fault: 'line-form', is: 'missing', when: { nth: 10 } },
        { fault: 'line-form', is: 'not-json', when: { nth: 20 } },
        { fault: 'line-form', is: 'contradicted', when: { nth: 30 } },
        { fault: 'line-form', is: 'both-files', when: { nth: 40 } },
      ],
    }
    let asked = 0
    const stuck = new Promise<string>(() => undefined)
    const answer = () => (++asked > 150 ? stuck : 'fine')
    const first = createEmulator({ dataDir, scenario, answer, latency: INSTANT })
    const { id } = await submit(clientOf(first), chatLines(250))
    while (asked <= 150) await new Promise(setImmediate)
    await first.close()
    const second = createEmulator({ dataDir, answer: () => 'fine', latency: INSTANT })
    const batch = await untilOver(clientOf(second), id)
    expect(batch.request_counts).toEqual({ total: 250, completed: 250, failed: 0 })
    const output = await (await clientOf(second).files.content(batch.output_file_id ?? '')).text()
    const lines = output.split('\n').filter((line) => line !== '')
    expect(lines).toHaveLength(249)
    expect(lines.filter((line) => !line.endsWith('}'))).toHaveLength(1)
    expect(new Set(lines.map((line) => /request-\d+/.exec(line)?.[0])).size).toBe(249)
    const errors = await readLines(clientOf(second), batch.error_file_id)
    expect(errors.map(({ error }) => error?.code).sort()).toEqual(['batch_expired', undefined])
    await second.close()
  })
})
