import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createEmulator, type EmulatorOptions, type Scenario } from '../../src/emulator/index.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { chatLine, chatLines, clientOf, INSTANT, readLines, submit, untilOver } from './helpers.ts'

type Faults = Scenario['faults']

function start(faults: Faults, options: EmulatorOptions = {}) {
  const clock = new VirtualClock()
  const emulator = createEmulator({ clock, latency: INSTANT, scenario: { faults }, ...options })
  return { clock, emulator, openai: clientOf(emulator) }
}

const run = async (openai: ReturnType<typeof clientOf>, count = 10) =>
  untilOver(openai, (await submit(openai, chatLines(count))).id)

test('the first batches fail, with the errors that are given', async () => {
  const { openai } = start([
    {
      fault: 'batch-end',
      as: 'failed',
      when: { first: 2 },
      errors: [
        { code: 'token_limit_exceeded', message: 'Enqueued token limit reached' },
        { code: 'invalid_json_line', line: 3, param: 'body' },
      ],
    },
  ])
  for (let nth = 1; nth <= 2; nth++) {
    const batch = await run(openai)
    expect(batch).toMatchObject({ status: 'failed', output_file_id: null, error_file_id: null })
    expect(batch.failed_at).not.toBeNull()
    expect(batch.errors?.data).toEqual([
      { code: 'token_limit_exceeded', message: 'Enqueued token limit reached', line: null, param: null },
      {
        code: 'invalid_json_line',
        message: 'This error was asked for by the scenario.',
        line: 3,
        param: 'body',
      },
    ])
  }
  expect((await run(openai)).status).toBe('completed')
})

test('a failed batch without a reason, and one with answers all the same', async () => {
  const { openai } = start([
    { fault: 'batch-end', as: 'failed', when: { nth: 1 } },
    { fault: 'batch-end', as: 'failed', when: { nth: 3 }, errors: [] },
    { fault: 'batch-end', as: 'failed', when: { nth: 2 }, answered: 0.4, errors: [{ code: 'server_error' }] },
  ])
  expect((await run(openai)).errors).toBeNull()
  const batch = await run(openai)
  expect(batch).toMatchObject({ status: 'failed', error_file_id: null, errors: { data: [{}] } })
  expect(batch.request_counts).toEqual({ total: 10, completed: 4, failed: 0 })
  expect(await readLines(openai, batch.output_file_id)).toHaveLength(4)
  expect((await run(openai)).errors?.data).toEqual([])
})

test.each([
  ['expired', 'batch_expired', 0.5],
  ['cancelled', 'batch_cancelled', 0.3],
  ['expired', 'batch_expired', 0],
] as const)('a batch that is %s by itself (%s) after a share of %d', async (as, code, answered) => {
  const { clock, openai } = start([{ fault: 'batch-end', as, answered }], {
    latency: { ...INSTANT, runMs: 10_000 },
  })
  const { id } = await submit(openai, chatLines(10))
  clock.advance(10_000 * answered)
  const batch = await untilOver(openai, id)
  expect(batch.status).toBe(as)
  expect(await readLines(openai, batch.output_file_id)).toHaveLength(10 * answered)
  const unanswered = await readLines(openai, batch.error_file_id)
  expect(unanswered.map(({ error }) => error?.code)).toEqual(Array(10 - 10 * answered).fill(code))
})

test('only batches of a model, or with a text in them', async () => {
  const { openai } = start([
    { fault: 'batch-end', as: 'failed', model: 'gpt-5' },
    { fault: 'batch-end', as: 'expired', contains: 'question 7' },
  ])
  const status = async (lines: readonly unknown[]) =>
    (await untilOver(openai, (await submit(openai, lines)).id)).status
  expect(await status([chatLine(1, { model: 'gpt-5' })])).toBe('failed')
  expect(await status(chatLines(7))).toBe('completed')
  expect(await status(chatLines(8))).toBe('expired')
})

test('the line that a text was found in', async () => {
  const { openai } = start([
    {
      fault: 'batch-end',
      as: 'failed',
      contains: 'question 3',
      errors: [{ line: 'found' }, { line: 1 }],
    },
    { fault: 'batch-end', as: 'failed', contains: 'question 1', errors: [{ line: 'found' }] },
    { fault: 'batch-end', as: 'failed', errors: [{ line: 'found' }] },
  ])
  const linesOf = async (lines: readonly unknown[]) =>
    (await untilOver(openai, (await submit(openai, lines)).id)).errors?.data?.map(({ line }) => line)
  expect(await linesOf(['', ...chatLines(5)])).toEqual([5, 1])
  expect(await linesOf([chatLine(0), chatLine(1)])).toEqual([2])
  expect(await linesOf([chatLine(0)])).toEqual([null])
})

test.each(['validating', 'in_progress', 'finalizing'] as const)('a batch stuck in %s', async (state) => {
  const { clock, openai } = start([{ fault: 'batch-stuck', in: state, ms: 60_000 }])
  const { id } = await submit(openai, chatLines(1))
  const status = async () => (await openai.batches.retrieve(id)).status
  expect(await status()).toBe(state)
  clock.advance(59_000)
  expect(await status()).toBe(state)
  clock.advance(1000)
  expect(await status()).toBe('completed')
})

test('a batch stuck in cancelling', async () => {
  const { clock, openai } = start([{ fault: 'batch-stuck', in: 'cancelling', ms: 60_000 }], {
    latency: { ...INSTANT, runMs: 1000 },
  })
  const { id } = await submit(openai, chatLines(1))
  await openai.batches.cancel(id)
  clock.advance(59_000)
  expect((await openai.batches.retrieve(id)).status).toBe('cancelling')
  clock.advance(1000)
  expect((await openai.batches.retrieve(id)).status).toBe('cancelled')
})

test('a status that nobody knows', async () => {
  const { openai } = start([{ fault: 'batch-status', says: 'paused', looks: 2 }])
  const { id } = await submit(openai, chatLines(1))
  expect((await openai.batches.retrieve(id)).status).toBe('paused')
  expect((await openai.batches.list()).data[0]?.status).toBe('paused')
  expect((await openai.batches.retrieve(id)).status).toBe('completed')
})

test.each([
  ['output', 'null', null],
  ['output', 'empty', ''],
  ['error', 'empty', ''],
] as const)('the id of the %s file is %s for some looks', async (file, is, shown) => {
  const { openai } = start([{ fault: 'batch-file-id', file, is, looks: 2 }])
  const { id } = await submit(openai, chatLines(2))
  const look = async () => (await openai.batches.retrieve(id))[`${file}_file_id`]
  expect([await look(), await look()]).toEqual([shown, shown])
  if (file === 'output') expect(await readLines(openai, await look())).toHaveLength(2)
  else expect(await look()).toBeNull()
})

test('looks at a batch that has not ended do not count for its file ids', async () => {
  const { clock, openai } = start([{ fault: 'batch-file-id', file: 'output', is: 'null', looks: 1 }], {
    latency: { ...INSTANT, runMs: 1000 },
  })
  const { id } = await submit(openai, chatLines(2))
  for (let look = 0; look < 3; look++) await openai.batches.retrieve(id)
  clock.advance(1000)
  expect((await openai.batches.retrieve(id)).output_file_id).toBeNull()
  expect((await openai.batches.retrieve(id)).output_file_id).not.toBeNull()
})

test('files without a byte', async () => {
  const { openai } = start([{ fault: 'batch-file-empty', file: 'both' }])
  const batch = await run(openai)
  expect(batch).toMatchObject({ status: 'completed', request_counts: { completed: 10 } })
  for (const id of [batch.output_file_id, batch.error_file_id]) {
    expect(await openai.files.retrieve(id ?? '')).toMatchObject({ bytes: 0, purpose: 'batch_output' })
    expect(await (await openai.files.content(id ?? '')).text()).toBe('')
  }
})

test('counts that are wrong or missing, and usage that is missing or null', async () => {
  const { openai } = start([
    { fault: 'batch-counts', are: { completed: 0, failed: 99 }, when: { nth: 1 } },
    { fault: 'batch-counts', are: 'missing', when: { nth: 2 } },
    { fault: 'batch-usage', is: 'missing', when: { nth: 1 } },
    { fault: 'batch-usage', is: 'null', when: { nth: 2 } },
  ])
  const first = await run(openai)
  expect(first.request_counts).toEqual({ total: 10, completed: 0, failed: 99 })
  expect('usage' in first).toBe(false)
  const second = await run(openai)
  expect('request_counts' in second).toBe(false)
  expect(second.usage).toBeNull()
})

test('what happens to a batch is decided when it is created, and lasts', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'emulator-'))
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
  const options = { dataDir, clock: new VirtualClock(), latency: { ...INSTANT, runMs: 1000 } }
  const first = start([{ fault: 'batch-end', as: 'expired', answered: 0.5 }], options)
  const { id } = await submit(first.openai, chatLines(10))
  await first.openai.batches.retrieve(id)
  await first.emulator.close()
  const second = start([], options)
  options.clock.advance(1000)
  expect((await untilOver(second.openai, id)).status).toBe('expired')
  await second.emulator.close()
})
