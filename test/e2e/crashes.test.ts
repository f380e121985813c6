import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  BATCHES,
  hardAmong,
  outputOf,
  SENTENCES,
  startCorpusTopics,
  stateOf,
  untilLedgerGrew,
} from '../support/corpus-run.ts'
import type { Moment } from '../support/emulator-messages.ts'
import { type EmulatorProcess, startEmulator } from '../support/emulator-process.ts'
import { temporaryFolder } from '../support/folder.ts'
import { soundRows } from '../support/history.ts'
import type { Program } from '../support/program.ts'

/** How a process ends that got a signal in the middle of its work. */
const EXITS = {
  SIGINT: { code: 130, signal: null },
  SIGTERM: { code: 143, signal: null },
  SIGKILL: { code: null, signal: 'SIGKILL' },
} as const
type Signal = keyof typeof EXITS

/** The same numbers from `least` to `most` for the same seed (xorshift). */
function numbersFrom(seed: number, least: number, most: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return least + ((state >>> 0) % (most - least + 1))
  }
}

const HARD = hardAmong(SENTENCES)

let undisturbed: ReadonlyMap<string, unknown>

beforeAll(async () => {
  await using emulator = await startEmulator()
  await using folder = await temporaryFolder()
  const { code, stderr } = await startCorpusTopics(folder.path, emulator).ended
  expect(code, stderr).toBe(0)
  undisturbed = await outputOf(folder.path)
  expect(undisturbed.size).toBe(SENTENCES)
  expect(HARD).toBeGreaterThan(10)
}, 30_000)

/** Runs the task, lets `disturb` end it with the signal, and says how that went. */
async function interrupted(
  taskDir: string,
  emulator: EmulatorProcess,
  signal: Signal,
  disturb: (program: Program) => void,
): Promise<void> {
  const program = startCorpusTopics(taskDir, emulator)
  disturb(program)
  const { code, signal: by, stderr } = await program.ended
  expect({ code, signal: by }, stderr).toEqual(EXITS[signal])
}

/** Runs the task to its end, then checks that nothing was lost, sent twice or left behind. */
async function expectCleanEnd(taskDir: string, emulator: EmulatorProcess): Promise<void> {
  const { code, stderr, stdout } = await startCorpusTopics(taskDir, emulator).ended
  expect(code, stderr).toBe(0)
  expect(stdout).toContain(`${SENTENCES} succeeded, 0 failed, 0 pending`)
  expect(await outputOf(taskDir)).toEqual(undisturbed)
  soundRows(await readFile(join(taskDir, 'corpus-topics_progress.jsonl'), 'utf8'))
  const names = ['ledger.jsonl', 'output.jsonl', 'progress.jsonl', 'state.json'].map(
    (name) => `corpus-topics_${name}`,
  )
  expect((await readdir(taskDir)).sort()).toEqual(names)

  const { batches, files, inBatches, directly } = await emulator.report()
  expect(files).toEqual([])
  expect(batches.map(({ status, requests }) => [status, requests])).toEqual(
    Array.from({ length: BATCHES }, () => ['completed', SENTENCES / BATCHES]),
  )
  expect(new Set(batches.map(({ tag }) => tag)).size).toBe(BATCHES)
  const answers = Object.values(inBatches)
  expect(answers).toHaveLength(SENTENCES)
  expect(answers.every((times) => times === 1)).toBe(true)
  const { tally } = await stateOf(taskDir)
  expect(tally.batches).toBe(BATCHES)
  const calls = Object.values(directly)
  expect(calls).toHaveLength(HARD)
  expect(calls.reduce((sum, times) => sum + times, 0) - HARD).toBeLessThanOrEqual(tally.uncertain)
}

describe.concurrent('a task that is killed and run again', { timeout: 60_000 }, () => {
  const moments: readonly Moment[] = [
    { request: 'POST /v1/files', nth: 2, when: 'after' },
    { request: 'POST /v1/batches', nth: 1, when: 'before' },
    // Creates go out side by side: of how many others the one before has seen the end is a matter of luck.
    { request: 'POST /v1/batches', nth: 1, when: 'after' },
    { request: 'GET /v1/files/', nth: 2, when: 'after' },
    { request: 'DELETE /v1/files/', nth: 2, when: 'after' },
    { request: 'POST /v1/chat/completions', nth: 5, when: 'after' },
  ]

  test('goes on at once after each kill -9 around an upload, a create, a download, a deletion and a call', async () => {
    await using emulator = await startEmulator()
    await using folder = await temporaryFolder()
    for (const moment of moments) {
      await interrupted(folder.path, emulator, 'SIGKILL', ({ pid }) =>
        emulator.killAt(pid, 'SIGKILL', moment),
      )
      expect(await readdir(folder.path)).toContain('corpus-topics.lock')
    }
    await expectCleanEnd(folder.path, emulator)
  })

  const signals: readonly Signal[] = ['SIGTERM', 'SIGKILL', 'SIGINT']

  test.each([20260101])(
    'after numbers of HTTP requests ends with each request sent once (seed %i)',
    async (seed) => {
      await using emulator = await startEmulator()
      await using folder = await temporaryFolder()
      const next = numbersFrom(seed, 1, 9)
      for (const signal of signals) {
        const moment: Moment = { nth: next(), when: next() % 2 === 0 ? 'before' : 'after' }
        await interrupted(folder.path, emulator, signal, ({ pid }) => emulator.killAt(pid, signal, moment))
      }
      await expectCleanEnd(folder.path, emulator)
    },
  )

  test.each([777])(
    'after numbers of ledger lines ends with each request sent once (seed %i)',
    async (seed) => {
      await using emulator = await startEmulator()
      await using folder = await temporaryFolder()
      const next = numbersFrom(seed, 1, 12)
      for (const signal of signals.toReversed()) {
        const grown = untilLedgerGrew(folder.path, next())
        await interrupted(folder.path, emulator, signal, ({ kill }) => void grown.then(() => kill(signal)))
      }
      await expectCleanEnd(folder.path, emulator)
    },
  )
})
