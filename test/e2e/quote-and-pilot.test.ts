import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { hardAmong, outputOf, startCorpusTopics, stateOf } from '../support/corpus-run.ts'
import { startEmulator } from '../support/emulator-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { FROM_SOURCE, runProgram } from '../support/program.ts'

const DEMO = 'demos/corpus-topics.ts'
const ROOT = fileURLToPath(new URL('../..', import.meta.url))

describe.concurrent('--quote', { timeout: 60_000 }, () => {
  test('of the corpus demo: the estimate of the limits is within 10 % of the exact count, and nothing is written', async () => {
    await using folder = await temporaryFolder()
    const { code, stdout, stderr } = await runProgram(DEMO, ['--quote', '--task-dir', folder.path])
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(/gpt-5-nano +3,000 +3 +0 +\d{3},\d{3} +3,000,000\n/)
    const text = stdout.replaceAll(/\s+/g, ' ')
    const found =
      /the limits go by ([\d,]+) prompt tokens, estimated; the tokenizer counts ([\d,]+) \(([+-][\d.]+) %\)/.exec(
        text,
      )
    const [estimated = 0, counted = 0] = (found ?? [])
      .slice(1, 3)
      .map((one) => Number(one.replaceAll(',', '')))
    expect(counted).toBeGreaterThan(100_000)
    expect(Math.abs(estimated / counted - 1)).toBeLessThan(0.1)
    expect(Number(found?.[3])).toBeCloseTo((estimated / counted - 1) * 100, 0)
    expect(await readdir(folder.path)).toEqual([])
  })
})

describe.concurrent('--pilot', { timeout: 60_000 }, () => {
  test('without a terminal stops after the report, and says how to go on; --yes goes on', async () => {
    await using folder = await temporaryFolder()
    const args = ['--emulator', '--sentences', '300', '--pilot', '20', '--task-dir', folder.path]
    const first = await runProgram(DEMO, args)
    expect(first.code, first.stderr).toBe(3)
    expect(first.stdout).toMatch(/pilot\n +usable +\d+ of 20 answers/)
    expect(first.stdout).toContain('280 requests by batch: about $')
    expect(first.stdout).toContain('the pilot is over; run again with --yes, or without --pilot')
    const second = await runProgram(DEMO, [...args, '--yes'])
    expect(second.code, second.stderr).toBe(0)
    expect((await outputOf(folder.path)).size).toBe(300)
  })

  test('killed while its calls are on the wire is gone on with: nobody is asked more than once but these', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    const flags = ['--sentences', '300', '--direct-concurrency', '4']
    const held = emulator.hold(4)
    const program = startCorpusTopics(folder.path, emulator, [...flags, '--pilot', '20'])
    await held
    program.kill('SIGKILL')
    expect(await program.ended).toMatchObject({ signal: 'SIGKILL' })
    emulator.release()

    const again = await startCorpusTopics(folder.path, emulator, [...flags, '--pilot', '20']).ended
    expect(again.code, again.stderr).toBe(3)
    expect(again.stderr).toContain('4 direct calls were on the wire when the last run ended')
    expect((await stateOf(folder.path)).requests).toMatchObject({ requests: 20, pending: 0 })
    const rest = await startCorpusTopics(folder.path, emulator, flags).ended
    expect(rest.code, rest.stderr).toBe(0)
    expect((await outputOf(folder.path)).size).toBe(300)
    const { directly } = await emulator.report()
    const calls = Object.values(directly).reduce((sum, times) => sum + times, 0)
    expect(calls).toBeGreaterThanOrEqual(20)
    expect(calls).toBeLessThanOrEqual(20 + 4 + hardAmong(300))
  })
})

/** Runs the demo on a terminal of its own, and types an answer when it is asked something. */
async function onTerminal(args: readonly string[], answer: string) {
  const command = [process.execPath, DEMO, ...args].join(' ')
  const child = spawn('script', ['-qefc', command, '/dev/null'], {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      TERM: 'xterm',
      WANDB_MODE: 'disabled',
      ...FROM_SOURCE,
    },
  })
  let text = ''
  let isAsked = false
  child.stdout.setEncoding('utf8').on('data', (more: string) => {
    text += more
    if (isAsked || !text.includes('[y/N]')) return
    isAsked = true
    child.stdin.write(answer)
  })
  await once(child, 'close')
  return { code: child.exitCode, text }
}

function hasScript(): boolean {
  try {
    return execFileSync('script', ['--version'], { encoding: 'utf8', stdio: 'pipe' }).includes('util-linux')
  } catch {
    return false
  }
}

describe.runIf(hasScript())(
  'the question after a pilot, on a terminal',
  { timeout: 60_000, concurrent: true },
  () => {
    test.each([
      ['y', 'y\r', 0, 'corpus-topics: complete'],
      ['n', 'n\r', 3, 'the pilot is over'],
      ['an empty line', '\r', 3, 'the pilot is over'],
      ['the end of the input', '\u0004', 3, 'the pilot is over'],
      ['Ctrl+C', '\u0003', 130, 'interrupted; run again to go on'],
    ])('answered by %s', async (_, typed, code, said) => {
      await using folder = await temporaryFolder()
      const args = ['--emulator', '--sentences', '200', '--pilot', '10', '--task-dir', folder.path]
      const ended = await onTerminal(args, typed)
      // It is wrapped to the terminal.
      expect(ended.text.replaceAll(/\s+/g, ' ')).toMatch(
        /Go on with the other 190 requests for about \$[\d.]+ \(\$[\d.]+ to \$[\d.]+\) by batch\? \[y\/N\]/,
      )
      expect(ended.text).toContain(said)
      expect(ended.code, ended.text).toBe(code)
      expect((await outputOf(folder.path)).size).toBe(code === 0 ? 200 : 10)
    })
  },
)
