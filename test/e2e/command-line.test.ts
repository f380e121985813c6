import { execFileSync } from 'node:child_process'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkNodeVersion } from '../../src/cli/node-version.ts'
import { contentsOf, temporaryFolder } from '../support/folder.ts'
import { type Ended, runProgram } from '../support/program.ts'

const DEMO = 'demos/corpus-topics.ts'

/** One line for people on standard error, nothing else, and the exit code. */
function expectComplaint(ended: Ended, exitCode: number, ...told: readonly string[]): void {
  expect(ended).toMatchObject({ code: exitCode, signal: null, stdout: '' })
  expect(ended.stderr).toMatch(/^error: [^\n]+\n$/)
  for (const text of told) expect(ended.stderr).toContain(text)
}

describe.concurrent('a program that is told what cannot be says so in one line and makes no file:', {
  timeout: 60_000,
}, () => {
  test.each([
    ['an unknown flag', ['--emulator', '--sentance', '3'], ['--sentance', 'did you mean --sentences?']],
    ['a value that is no number', ['--emulator', '--sentences', 'many'], ['--sentences is "many"']],
    ['a value out of range', ['--emulator', '--max-batch-requests', '0'], ['--max-batch-requests', '50000']],
    ['an argument that is no flag', ['--emulator', 'sentences'], ['"sentences" is not a flag']],
    ['no key', [], ['OPENAI_API_KEY', '--emulator']],
    ['a key as a flag', ['--openai-api-key', 'sk-secret'], ['environment variable OPENAI_API_KEY']],
  ])('%s', async (_, flags, told) => {
    await using folder = await temporaryFolder()
    const taskDir = join(folder.path, 'tasks')
    const ended = await runProgram(DEMO, ['--task-dir', taskDir, ...flags])
    expectComplaint(ended, 2, ...told)
    expect(ended.stderr).not.toContain('sk-secret')
    expect(await readdir(folder.path)).toEqual([])
  })

  test('a variable of the environment with a bad value', async () => {
    await using folder = await temporaryFolder()
    const env = { OPENAI_API_KEY: 'sk-secret', OPENAI_BASE_URL: 'nowhere' }
    const ended = await runProgram(DEMO, ['--task-dir', join(folder.path, 'tasks')], env)
    expectComplaint(ended, 2, 'OPENAI_BASE_URL is "nowhere"')
    expect(await readdir(folder.path)).toEqual([])
  })

  test('a task folder that is a file', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, 'tasks')
    await writeFile(file, 'mine')
    const ended = await runProgram(DEMO, ['--task-dir', file, '--emulator', '--sentences', '3'])
    expectComplaint(ended, 1, file)
    expect(await readFile(file, 'utf8')).toBe('mine')
  })

  test('a file in the place of the folder that the emulator keeps its data in', async () => {
    await using folder = await temporaryFolder()
    const file = join(folder.path, '.emulator')
    await writeFile(file, 'mine')
    const ended = await runProgram(DEMO, ['--task-dir', folder.path, '--emulator', '--sentences', '3'])
    expect(ended).toMatchObject({ code: 1, signal: null })
    expect(ended.stderr).toMatch(/\nerror: [^\n]+\n$/)
    expect(ended.stderr).toContain(`error: ${file}, where the emulator keeps its data, cannot be used`)
    expect(await readFile(file, 'utf8')).toBe('mine')
  })

  test.each(['0', '1'])('a ledger with a flipped bit, with an emulator or without (%s)', async (emulated) => {
    await using folder = await temporaryFolder()
    const flags = ['--task-dir', folder.path, '--sentences', '30']
    const made = await runProgram(DEMO, [...flags, '--emulator'])
    expect(made.code, made.stderr).toBe(0)
    const ledger = join(folder.path, 'corpus-topics_ledger.jsonl')
    const bytes = await readFile(ledger)
    bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 1, bytes.length >> 1)
    await writeFile(ledger, bytes)
    const before = await contentsOf(folder.path)
    const ended = await runProgram(DEMO, emulated === '1' ? [...flags, '--emulator'] : flags, {
      OPENAI_API_KEY: 'sk-secret',
      OPENAI_BASE_URL: 'http://127.0.0.1:9/v1',
    })
    expectComplaint(ended, 1, `${ledger} is corrupt: line`)
    expect(await contentsOf(folder.path)).toEqual(before)
  })
})

describe.concurrent('a Node.js that is too old', { timeout: 60_000 }, () => {
  const pretending =
    'data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"20.1.0"}})'
  const nodes = [[process.execPath, '--import', pretending], ...machineNode()]

  test.each(nodes)('is refused by a task and by the command (%s)', async (...node) => {
    await using folder = await temporaryFolder()
    const args = ['--emulator', '--task-dir', join(folder.path, 'tasks')]
    expectComplaint(
      await runProgram(DEMO, args, {}, node),
      2,
      'needs Node.js 22.18 or newer, and this is 20.',
    )
    expectComplaint(await runProgram('src/cli/main.ts', ['--help'], {}, node), 2, 'needs Node.js 22.18')
    expect(await readdir(folder.path)).toEqual([])
  })

  /** The machine's own Node.js, where it is a version 20: what people have who run a program without `npx`. */
  function machineNode(): string[][] {
    try {
      const version = execFileSync('/usr/bin/node', ['--version'], { encoding: 'utf8', stdio: 'pipe' })
      return version.startsWith('v20.') ? [['/usr/bin/node', '--import', 'tsx']] : []
    } catch {
      // None there: the one that only pretends has to do.
      return []
    }
  }

  test.each(['20.20.2', '22.17.1', '18.0.0'])('is told by its version: %s', (version) => {
    expect(() => checkNodeVersion(version)).toThrow(`needs Node.js 22.18 or newer, and this is ${version}`)
  })

  test.each(['22.18.0', '22.20.1', '24.0.0'])('is not %s', (version) => {
    expect(() => checkNodeVersion(version)).not.toThrow()
  })
})
