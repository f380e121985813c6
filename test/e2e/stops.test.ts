import { chmod, mkdir, readdir, readFile, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { hardAmong, outputOf, SENTENCES, startCorpusTopics, stateOf } from '../support/corpus-run.ts'
import type { Moment } from '../support/emulator-messages.ts'
import { type EmulatorProcess, startEmulator } from '../support/emulator-process.ts'
import { contentsOf, jsonLines, temporaryFolder } from '../support/folder.ts'
import { soundRows } from '../support/history.ts'
import { startNode } from '../support/program.ts'

const FEW = 40
const CONCURRENCY = 4
const DIRECT = ['--sentences', `${FEW}`, '--force-direct', '--direct-concurrency', `${CONCURRENCY}`]

const BATCHES = ['--sentences', `${SENTENCES}`, '--max-batch-requests', '200']

const PROGRAM = 'demos/corpus-topics.ts'

const start = (args: readonly string[], env: Readonly<Record<string, string>>) =>
  startNode([PROGRAM, ...args], env)

/** Permissions do not bind the superuser, but for one who has laid down the right to pass over them. */
const BOUND = ['--bounding-set', '-dac_override,-dac_read_search', '--', process.execPath]

/** Runs the task as somebody whom permissions bind. */
function startBound(args: readonly string[], env: Readonly<Record<string, string>>) {
  const program = [PROGRAM, ...args]
  return process.getuid?.() === 0
    ? startNode([...BOUND, ...program], env, 'setpriv')
    : startNode(program, env)
}

const sum = (numbers: Readonly<Record<string, number>>): number =>
  Object.values(numbers).reduce((total, number) => total + number, 0)

/** The lease of a lock runs out, as if its holder had slept for a minute. */
async function expire(taskDir: string): Promise<void> {
  const past = new Date(Date.now() - 60_000)
  await utimes(join(taskDir, 'corpus-topics.lock'), past, past)
}

const ledgerOf = (taskDir: string): Promise<string> =>
  readFile(join(taskDir, 'corpus-topics_ledger.jsonl'), 'utf8')

describe.concurrent('a process that loses its task', { timeout: 60_000 }, () => {
  test('while it is suspended does nothing when it wakes; the one that took over finishes', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    const held = emulator.hold(CONCURRENCY)
    const slept = startCorpusTopics(folder.path, emulator, DIRECT)
    await held
    slept.kill('SIGSTOP')
    await expire(folder.path)
    const next = startCorpusTopics(folder.path, emulator, DIRECT)
    await next.says(`${CONCURRENCY} direct calls were on the wire when the last run ended`)
    const before = await ledgerOf(folder.path)
    // The first one finds the answers to its calls, while the second one is at work.
    slept.kill('SIGCONT')
    emulator.release()
    const [first, second] = await Promise.all([slept.ended, next.ended])
    expect(first, first.stderr).toMatchObject({ code: 1, signal: null })
    expect(first.stderr).toContain('corpus-topics.lock was lost')
    expect(second.code, second.stderr).toBe(0)
    expect((await ledgerOf(folder.path)).startsWith(before)).toBe(true)
    expect((await outputOf(folder.path)).size).toBe(FEW)
    expect((await stateOf(folder.path)).tally.uncertain).toBe(CONCURRENCY)
    expect(sum((await emulator.report()).directly)).toBeLessThanOrEqual(FEW + hardAmong(FEW) + CONCURRENCY)
    expect((await readdir(folder.path)).sort()).toEqual(
      ['ledger.jsonl', 'output.jsonl', 'progress.jsonl', 'state.json'].map((end) => `corpus-topics_${end}`),
    )
    soundRows(await readFile(join(folder.path, 'corpus-topics_progress.jsonl'), 'utf8'))
  })

  test('for no time at all when it was only suspended for long: it goes on', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    const held = emulator.hold(CONCURRENCY)
    const slept = startCorpusTopics(folder.path, emulator, DIRECT)
    await held
    slept.kill('SIGSTOP')
    await expire(folder.path)
    slept.kill('SIGCONT')
    emulator.release()
    const { code, stderr } = await slept.ended
    expect(code, stderr).toBe(0)
    expect((await outputOf(folder.path)).size).toBe(FEW)
    expect((await stateOf(folder.path)).tally.uncertain).toBe(0)
  })
})

/** The task runs to its end, with each batch created once and each batch answer asked for once. */
async function expectGoesOn(taskDir: string, emulator: EmulatorProcess): Promise<void> {
  const { code, stderr } = await startCorpusTopics(taskDir, emulator).ended
  expect(code, stderr).toBe(0)
  expect((await outputOf(taskDir)).size).toBe(SENTENCES)
  const { batches, files, inBatches } = await emulator.report()
  expect(batches).toHaveLength(3)
  expect(sum(inBatches)).toBe(SENTENCES)
  expect(files).toEqual([])
}

const EXIT = { SIGINT: 130, SIGTERM: 143 } as const

describe.concurrent('a signal', { timeout: 60_000 }, () => {
  const moments: readonly (readonly [string, Moment, keyof typeof EXIT])[] = [
    ['an upload', { request: 'POST /v1/files$', nth: 2, when: 'in-upload' }, 'SIGTERM'],
    ['a download', { request: 'GET /v1/files/:id/content', nth: 2, when: 'in-reply' }, 'SIGINT'],
  ]

  test.each(moments)(
    'in the middle of %s ends the run at once, and loses nothing',
    async (_, moment, signal) => {
      await using emulator = await startEmulator()
      await using folder = await temporaryFolder()
      const program = startCorpusTopics(folder.path, emulator)
      emulator.killAt(program.pid, signal, moment)
      const { code, stderr } = await program.ended
      expect(code, stderr).toBe(EXIT[signal])
      await expectGoesOn(folder.path, emulator)
    },
  )

  test('while a create in doubt is looked for and its grace is waited for', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    const killed = startCorpusTopics(folder.path, emulator)
    emulator.killAt(killed.pid, 'SIGKILL', { request: 'POST /v1/batches$', nth: 1, when: 'before' })
    await killed.ended
    const patient = start(
      ['--task-dir', folder.path, ...BATCHES, '--create-grace-ms', '3600000'],
      emulator.env,
    )
    await patient.says('turns up')
    patient.kill('SIGINT')
    const { code, stderr } = await patient.ended
    expect(code, stderr).toBe(130)
    await expectGoesOn(folder.path, emulator)
  })

  test('while it waits for another process, of which nothing changes', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    const held = emulator.hold(CONCURRENCY)
    const holder = startCorpusTopics(folder.path, emulator, DIRECT)
    await held
    // The other one goes on with its history.
    const contents = () => contentsOf(folder.path, (path) => !/_(state\.json|progress\.jsonl)/.test(path))
    const before = await contents()
    const waiting = startCorpusTopics(folder.path, emulator, [...DIRECT, '--lock-timeout', '-1'])
    await waiting.says('which holds the task')
    waiting.kill('SIGTERM')
    const { code, stderr } = await waiting.ended
    expect(code, stderr).toBe(143)
    expect(await contents()).toEqual(before)
    emulator.release()
    expect((await holder.ended).code).toBe(0)
    expect((await outputOf(folder.path)).size).toBe(FEW)
  })

  test('while it waits for batches that take long', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    const args = ['--task-dir', folder.path, ...BATCHES, '--remote-update-interval', '3600']
    const program = start(args, emulator.env)
    await program.says('waiting')
    program.kill('SIGINT')
    const { code, stderr } = await program.ended
    expect(code, stderr).toBe(130)
    await expectGoesOn(folder.path, emulator)
  })
})

describe('a folder that may not be written', { timeout: 60_000 }, () => {
  test('is one error in one line with exit code 1, and stays as it is', async () => {
    await using folder = await temporaryFolder()
    const tasks = join(folder.path, 'tasks')
    await mkdir(tasks)
    await chmod(tasks, 0o555)
    const flags = ['--task-dir', tasks, '--emulator', '--sentences', '20']
    const { code, stdout, stderr } = await startBound(flags, { HOME: folder.path }).ended
    expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(
      /^error: .*corpus-topics\.lock cannot be made \(EACCES.*Make its folder writable.*\n$/,
    )
    expect(await readdir(tasks)).toEqual([])
    await chmod(tasks, 0o755)
  })

  test('that holds files which may not be written: nothing of them is changed', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    await startCorpusTopics(folder.path, emulator, [...DIRECT, '--max-session-requests', '3']).ended
    expect((await jsonLines(join(folder.path, 'corpus-topics_ledger.jsonl'))).length).toBeGreaterThan(3)
    const before = await contentsOf(folder.path)
    for (const name of await readdir(folder.path)) await chmod(join(folder.path, name), 0o444)
    const args = ['--task-dir', folder.path, ...DIRECT]
    const env = { ...emulator.env, HOME: '/tmp' }
    const other = await startBound(args, env).ended
    expect(other).toMatchObject({ code: 1, stdout: '' })
    expect(other.stderr).toMatch(/^error: .*(_state\.json|_ledger\.jsonl) failed \(EACCES.*run again\.\n$/)
    expect(await contentsOf(folder.path)).toEqual(before)
  })
})
