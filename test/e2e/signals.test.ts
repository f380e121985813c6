import { describe, expect, test } from 'vitest'
import { hardAmong, outputOf, startCorpusTopics, stateOf } from '../support/corpus-run.ts'
import { startEmulator } from '../support/emulator-process.ts'
import { contentsOf, temporaryFolder } from '../support/folder.ts'
import { runProgram, startProgram } from '../support/program.ts'

/** All calls are direct, so that each of them is answered exactly when the server is told to. */
const SENTENCES = 40
const CONCURRENCY = 4
const DIRECT = ['--sentences', `${SENTENCES}`, '--force-direct', '--direct-concurrency', `${CONCURRENCY}`]
const HARD = hardAmong(SENTENCES)

const sum = (numbers: Readonly<Record<string, number>>): number =>
  Object.values(numbers).reduce((total, number) => total + number, 0)

describe.concurrent('direct calls on the wire', { timeout: 60_000 }, () => {
  test('one SIGINT waits for their replies and keeps them, so that none is asked for again', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    const held = emulator.hold(CONCURRENCY)
    const program = startCorpusTopics(folder.path, emulator, DIRECT)
    await held
    program.kill('SIGINT')
    await program.says('SIGINT: finishing what is in hand')
    emulator.release()
    const { code, stderr, stdout } = await program.ended
    expect(code, stderr).toBe(130)
    expect(stdout).toContain('interrupted; run again to go on')
    expect(sum((await emulator.report()).directly)).toBe(CONCURRENCY)

    const again = await startCorpusTopics(folder.path, emulator, DIRECT).ended
    expect(again.code, again.stderr).toBe(0)
    expect((await outputOf(folder.path)).size).toBe(SENTENCES)
    expect((await stateOf(folder.path)).tally.uncertain).toBe(0)
    expect(sum((await emulator.report()).directly)).toBe(SENTENCES + HARD)
  })

  test.each([
    ['two SIGINTs do not wait for them', ['SIGINT', 'SIGINT'], { code: 130, signal: null }],
    ['SIGTERM, then SIGINT, ends as SIGTERM', ['SIGTERM', 'SIGINT'], { code: 143, signal: null }],
    ['kill -9 leaves them uncertain', ['SIGKILL'], { code: null, signal: 'SIGKILL' }],
  ] as const)('%s, and the next run sends exactly them again', async (_, signals, exit) => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    const held = emulator.hold(CONCURRENCY)
    const program = startCorpusTopics(folder.path, emulator, DIRECT)
    await held
    const [first, second] = signals
    program.kill(first)
    if (second) {
      await program.says(`${first}: finishing what is in hand`)
      program.kill(second)
      await program.says('giving up on direct calls that are on the wire')
    }
    const { code, signal, stderr } = await program.ended
    expect({ code, signal }, stderr).toEqual(exit)
    emulator.release()

    const again = await startCorpusTopics(folder.path, emulator, DIRECT).ended
    expect(again.code, again.stderr).toBe(0)
    expect(again.stderr).toContain(`${CONCURRENCY} direct calls were on the wire when the last run ended`)
    expect((await outputOf(folder.path)).size).toBe(SENTENCES)
    expect((await stateOf(folder.path)).tally.uncertain).toBe(CONCURRENCY)
    expect(sum((await emulator.report()).directly)).toBeLessThanOrEqual(SENTENCES + HARD + CONCURRENCY)
  })
})

describe.concurrent('a second process on the same task', { timeout: 60_000 }, () => {
  const busy = /^error: [^\n]*corpus-topics\.lock is held by process (\d+) on [^\n]*\n$/

  test('says in one line who holds it, ends with 1, and harms nothing', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    const held = emulator.hold(CONCURRENCY)
    const first = startCorpusTopics(folder.path, emulator, DIRECT)
    await held
    // State and history may lag behind the ledger: the first process writes them when it likes.
    const contents = () => contentsOf(folder.path, (file) => !/_(state\.json|progress\.jsonl)/.test(file))
    const before = await contents()
    const second = await startCorpusTopics(folder.path, emulator).ended
    expect(second).toMatchObject({ code: 1, signal: null, stdout: '' })
    expect(busy.exec(second.stderr)?.[1]).toBe(`${first.pid}`)
    expect(await contents()).toEqual(before)
    emulator.release()
    const { code, stderr } = await first.ended
    expect(code, stderr).toBe(0)
    expect((await outputOf(folder.path)).size).toBe(SENTENCES)
    expect(sum((await emulator.report()).directly)).toBe(SENTENCES + HARD)
  })

  test('does not touch the data of the emulator that the first one uses', async () => {
    await using folder = await temporaryFolder()
    const flags = [
      '--task-dir',
      folder.path,
      '--emulator',
      '--sentences',
      '400',
      '--max-batch-requests',
      '200',
    ]
    const first = startProgram('demos/corpus-topics.ts', flags)
    await first.says('batch 2 is validating')
    first.kill('SIGSTOP')
    const before = await contentsOf(folder.path)
    const second = await runProgram('demos/corpus-topics.ts', flags)
    const after = await contentsOf(folder.path)
    first.kill('SIGCONT')
    expect(after).toEqual(before)
    expect(second).toMatchObject({ code: 1, signal: null, stdout: '' })
    expect(busy.exec(second.stderr)?.[1]).toBe(`${first.pid}`)
    const { code, stderr } = await first.ended
    expect(code, stderr).toBe(0)
    expect((await outputOf(folder.path)).size).toBe(400)
  })
})
