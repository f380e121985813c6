import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import { emulate } from '../../src/cli/emulate.ts'
import { createEmulator, type Scenario } from '../../src/emulator/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { runProgram } from '../support/program.ts'
import { errorOf } from './helpers.ts'

const DEMO = 'demos/corpus-topics.ts'

async function written(folder: string, content: Scenario | string): Promise<string> {
  const path = join(folder, 'scenario.json')
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content))
  return path
}

test('nightshift emulate --scenario', async () => {
  await using folder = await temporaryFolder()
  const path = await written(folder.path, {
    faults: [{ fault: 'http-answer', route: 'GET /v1/models', when: { first: 1 }, status: 503, error: {} }],
  })
  const controller = new AbortController()
  const ready = Promise.withResolvers<string>()
  const ended = emulate(['--port', '0', '--scenario', path], {
    stdout: ready.resolve,
    signal: controller.signal,
  })
  const [baseURL = ''] = /http:\S+/.exec(await ready.promise) ?? []
  const openai = new OpenAI({ apiKey: 'x', baseURL, maxRetries: 0 })
  expect(await errorOf(openai.models.list())).toMatchObject({ status: 503 })
  expect((await openai.models.list()).data).not.toHaveLength(0)
  controller.abort()
  expect(await ended).toBe(0)
})

test.each([
  ['{"faults": [', 'is not JSON'],
  ['{"faults": [{"fault": "htp-lose"}]}', 'cannot be used. faults[0].fault: give one of'],
])('nightshift emulate refuses %s', async (text, told) => {
  await using folder = await temporaryFolder()
  const path = await written(folder.path, text)
  const { signal } = new AbortController()
  const started = emulate(['--port', '0', '--scenario', path], { stdout: () => {}, signal })
  await expect(started).rejects.toThrow(`the scenario ${path} ${told}`)
})

describe.concurrent('a task with --scenario', { timeout: 60_000 }, () => {
  test('meets what the scenario says, and nothing else', async () => {
    await using folder = await temporaryFolder()
    const path = await written(folder.path, {
      faults: [
        { fault: 'batch-end', as: 'expired', answered: 0.5, when: { nth: 1 } },
        { fault: 'http-lose', route: 'POST /v1/batches', when: { nth: 1 }, acts: true },
      ],
    })
    const flags = ['--sentences', '150', '--min-batch-requests', '1', '--emulator', '--scenario', path]
    const ended = await runProgram(DEMO, ['--task-dir', join(folder.path, 'tasks'), ...flags])
    expect(ended.code, ended.stderr).toBe(0)
    const ledger = await readFile(join(folder.path, 'tasks', 'corpus-topics_ledger.jsonl'), 'utf8')
    expect(ledger).toContain('expired')
  })

  test.each([
    ['no emulator', ['--scenario', 'x.json'], '--scenario x.json is for the emulator: add --emulator'],
    ['no file', ['--emulator', '--scenario', 'gone.json'], 'the scenario gone.json cannot be read'],
  ])('is refused when there is %s', async (_, flags, told) => {
    await using folder = await temporaryFolder()
    const args = ['--task-dir', join(folder.path, 'tasks'), ...flags]
    const ended = await runProgram(DEMO, args, { OPENAI_API_KEY: 'sk-secret' })
    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toContain(told)
    expect(await readdir(folder.path)).toEqual([])
  })

  test('does not share the folder of the emulator with another run', async () => {
    await using folder = await temporaryFolder()
    const dataDir = join(folder.path, '.emulator')
    const other = createEmulator({ dataDir })
    const ended = await runProgram(DEMO, ['--task-dir', folder.path, '--sentences', '3', '--emulator'])
    expect(ended.code).toBe(1)
    expect(ended.stderr).toContain(`${dataDir} is in use by an emulator of process ${process.pid}`)
    await other.close()
  })
})
