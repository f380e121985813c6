import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import OpenAI from 'openai'
import { expect, test } from 'vitest'
import { emulate } from '../../src/cli/emulate.ts'
import { UsageError } from '../../src/errors.ts'
import { temporaryFolder } from '../support/folder.ts'
import { chatLines, readLines, submit, untilOver } from './helpers.ts'

function start(...argv: string[]) {
  const controller = new AbortController()
  const ready = Promise.withResolvers<string>()
  const ended = emulate(argv, { stdout: ready.resolve, signal: controller.signal })
  ended.catch(ready.reject)
  return { ready: ready.promise, ended, stop: () => controller.abort() }
}

test('serves at the URL it prints until it is told to stop', async () => {
  await using folder = await temporaryFolder()
  const dataDir = join(folder.path, 'data')
  const { ready, ended, stop } = start(
    '--port',
    '0',
    '--data-dir',
    dataDir,
    '--run-ms',
    '0',
    '--failure-rate',
    '0.5',
  )
  const [baseURL = ''] = /http:\S+/.exec(await ready) ?? []
  expect(baseURL).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/)
  const openai = new OpenAI({ apiKey: 'x', baseURL, maxRetries: 0 })
  const batch = await untilOver(openai, (await submit(openai, chatLines(20))).id)
  expect(batch.status).toBe('completed')
  expect(await readLines(openai, batch.error_file_id)).not.toHaveLength(0)
  stop()
  expect(await ended).toBe(0)
  await expect(openai.models.list()).rejects.toThrow(OpenAI.APIConnectionError)
  expect(await readdir(join(dataDir, 'batches'))).toEqual([`${batch.id}.json`])
})

test('takes its answers from another server', async () => {
  const upstream = start('--port', '0')
  const [upstreamURL = ''] = /http:\S+/.exec(await upstream.ready) ?? []
  const { ready, ended, stop } = start('--port', '0', '--upstream', upstreamURL)
  const [baseURL = ''] = /http:\S+/.exec(await ready) ?? []
  const openai = new OpenAI({ apiKey: 'x', baseURL, maxRetries: 0 })
  expect((await openai.responses.create({ model: 'm', input: 'through two servers' })).output_text).toContain(
    'through two servers',
  )
  for (const server of [{ ended, stop }, upstream]) {
    server.stop()
    expect(await server.ended).toBe(0)
  }
})

test('a signal that came before the start stops it at once', async () => {
  const signal = AbortSignal.abort()
  expect(await emulate(['--port', '0'], { stdout: () => {}, signal })).toBe(0)
})

test('prints its help', async () => {
  const lines: string[] = []
  const { signal } = new AbortController()
  expect(await emulate(['--help'], { stdout: (line) => lines.push(line), signal })).toBe(0)
  expect(lines.join('\n')).toContain('--upstream URL')
})

test.each([
  [['--port', 'many'], "--port is 'many'"],
  [['--port', '70000'], '--port'],
  [['--port', '1.5'], 'an integer'],
  [['--failure-rate', '1.5'], '--failure-rate'],
  [['--run-ms', ''], '--run-ms'],
  [['--upstream', 'localhost:1234'], '--upstream'],
  [['--colour', 'red'], 'nightshift emulate --help'],
  [['extra'], 'nightshift emulate --help'],
])('%j is a usage error', async (argv, message) => {
  const started = start(...argv)
  await expect(started.ended).rejects.toThrow(UsageError)
  await expect(started.ready).rejects.toThrow(message)
})
