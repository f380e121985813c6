import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createEmulator, type EmulatorOptions } from '../../src/emulator/index.ts'
import { StateError } from '../../src/errors.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { chatLine, chatLines, clientOf, INSTANT, readLines, submit, untilOver } from './helpers.ts'

async function newDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'emulator-'))
  onTestFinished(async () => {
    for (const path of [dir, `${dir}-moved`]) await rm(path, { recursive: true, force: true })
  })
  return dir
}

const HOUR_MS = 3_600_000

describe('with a data folder', () => {
  test('files and ended batches are there again, wherever the folder is moved to', async () => {
    const dataDir = await newDir()
    const first = createEmulator({ dataDir, latency: INSTANT })
    const before = await untilOver(clientOf(first), (await submit(clientOf(first), chatLines(120))).id)
    const lines = await readLines(clientOf(first), before.output_file_id)
    await first.close()
    for (const name of await readdir(join(dataDir, 'batches'))) {
      expect(await readFile(join(dataDir, 'batches', name), 'utf8')).not.toContain(tmpdir())
    }
    await rename(dataDir, `${dataDir}-moved`)
    const openai = clientOf(createEmulator({ dataDir: `${dataDir}-moved`, latency: INSTANT }))
    expect(await openai.batches.retrieve(before.id)).toEqual(before)
    expect(await readLines(openai, before.output_file_id)).toEqual(lines)
    expect((await openai.files.list()).data).toHaveLength(2)
    const { id } = await submit(openai, [chatLine(1)])
    expect((await openai.batches.list()).data.map((batch) => batch.id)).toEqual([id, before.id])
  })

  test('a batch goes on where it was, in the time that has passed', async () => {
    const dataDir = await newDir()
    const clock = new VirtualClock()
    const options = { dataDir, clock, latency: { ...INSTANT, runMs: 10_000 } }
    const first = createEmulator(options)
    const { id } = await submit(clientOf(first), chatLines(250))
    clock.advance(4000)
    expect((await clientOf(first).batches.retrieve(id)).request_counts?.completed).toBe(100)
    await first.close()

    const second = createEmulator(options)
    clock.advance(4000)
    expect(await clientOf(second).batches.cancel(id)).toMatchObject({ status: 'cancelling' })
    await second.close()

    const openai = clientOf(createEmulator(options))
    const batch = await untilOver(openai, id)
    expect(batch).toMatchObject({ status: 'cancelled', request_counts: { total: 250, completed: 200 } })
    expect(await readLines(openai, batch.output_file_id)).toHaveLength(200)
    expect(await readLines(openai, batch.error_file_id)).toHaveLength(50)
  })

  test('an upstream server is not asked again for what is stored', async () => {
    const dataDir = await newDir()
    const asked: string[] = []
    const upTo = (limit: number): EmulatorOptions => ({
      dataDir,
      latency: INSTANT,
      upstream: {
        baseURL: 'http://model.local/v1',
        concurrency: 1,
        fetch: async (_input, init) => {
          asked.push(String(init?.body))
          if (asked.length > limit) await once(init?.signal ?? new EventTarget(), 'abort')
          init?.signal?.throwIfAborted()
          return Response.json({ ok: true })
        },
      },
    })
    const first = createEmulator(upTo(230))
    const { id } = await submit(clientOf(first), chatLines(300))
    while (asked.length <= 230) await new Promise(setImmediate)
    await first.close()
    const second = createEmulator(upTo(Number.POSITIVE_INFINITY))
    const batch = await untilOver(clientOf(second), id)
    expect(batch.request_counts).toEqual({ total: 300, completed: 300, failed: 0 })
    expect(new Set(asked).size).toBe(300)
    expect(asked).toHaveLength(301) // the one on the wire when the first was closed
  })

  test('a line that was torn by a crash is answered anew', async () => {
    const dataDir = await newDir()
    const clock = new VirtualClock()
    const options = { dataDir, clock, latency: { ...INSTANT, runMs: HOUR_MS } }
    const first = createEmulator(options)
    const { id } = await submit(clientOf(first), chatLines(100))
    clock.advance(HOUR_MS / 2)
    await clientOf(first).batches.retrieve(id)
    await first.close()
    for (const name of await readdir(join(dataDir, 'content'))) {
      const path = join(dataDir, 'content', name)
      const bytes = await readFile(path)
      if (bytes.includes('batch_req_')) await writeFile(path, bytes.subarray(0, bytes.length - 700))
    }
    const openai = clientOf(createEmulator(options))
    clock.advance(HOUR_MS)
    const batch = await untilOver(openai, id)
    expect(batch.request_counts).toEqual({ total: 100, completed: 100, failed: 0 })
    const lines = await readLines(openai, batch.output_file_id)
    expect(new Set(lines.map((line) => line.custom_id)).size).toBe(100)
    expect(lines).toHaveLength(100)
  })

  test('attempts stay counted', async () => {
    const dataDir = await newDir()
    const attempts: number[] = []
    const ask = async () => {
      const answer: EmulatorOptions['answer'] = ({ attempt }) => `${attempts.push(attempt)}`
      const emulator = createEmulator({ dataDir, answer, latency: INSTANT })
      await clientOf(emulator).post('/chat/completions', { body: chatLine(1).body })
      await untilOver(clientOf(emulator), (await submit(clientOf(emulator), [chatLine(1)])).id)
      await emulator.close()
    }
    await ask()
    await ask()
    expect(attempts).toEqual([0, 1, 2, 3])
  })

  test('a record that is none stops the start and is named', async () => {
    const dataDir = await newDir()
    await createEmulator({ dataDir }).close()
    const path = join(dataDir, 'batches', 'batch_x.json')
    await writeFile(path, '{"id":"batch_x"}')
    expect(() => createEmulator({ dataDir })).toThrow(StateError)
    expect(() => createEmulator({ dataDir })).toThrow(path)
    expect(await readFile(path, 'utf8')).toBe('{"id":"batch_x"}')
  })
})

test('a killed emulator loses nothing it had acknowledged', async () => {
  const dataDir = await newDir()
  const entry = new URL('../../src/emulator/index.ts', import.meta.url).href
  const program = `
    const { createEmulator, serveEmulator } = await import(${JSON.stringify(entry)})
    const emulator = createEmulator({ dataDir: process.argv[1], latency: { runMs: 0, perRequestMs: 0 } })
    console.log((await serveEmulator(emulator, { port: 0 })).url)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [url] = await once(createInterface(child.stdout), 'line')
  const served = clientOf({
    fetch: (input, init) => fetch(String(input).replace('http://emulator.local', url), init),
  })
  const ids: string[] = []
  for (let i = 0; i < 3; i++) ids.push((await submit(served, chatLines(5000))).id)
  child.kill('SIGKILL')
  await once(child, 'exit')

  const openai = clientOf(createEmulator({ dataDir, latency: INSTANT }))
  for (const id of ids) {
    const batch = await untilOver(openai, id)
    expect(batch.request_counts).toEqual({ total: 5000, completed: 5000, failed: 0 })
    const lines = await readLines(openai, batch.output_file_id)
    expect(new Set(lines.map((line) => line.custom_id)).size).toBe(5000)
    expect(lines).toHaveLength(5000)
  }
})
