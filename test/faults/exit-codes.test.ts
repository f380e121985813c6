import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Scenario } from '../../src/emulator/index.ts'
import { jsonLines, temporaryFolder } from '../support/folder.ts'
import { runProgram } from '../support/program.ts'
import { KEYS } from '../support/twelve-task.ts'

const PROGRAM = 'test/faults/programs/twelve.ts'
const CHAT = 'POST /v1/chat/completions'

interface ProgramCase {
  readonly name: string
  readonly faults: Scenario['faults']
  readonly flags: readonly string[]
  readonly code: number
  /** On standard error or output. */
  readonly says: string
  /** Keys in the output after the run with the faults. */
  readonly answered: number
}

const BATCHES = ['--min-batch-requests', '1', '--remote-update-interval', '1']
const DIRECT = ['--force-direct', '--direct-concurrency', '4']

const cases: readonly ProgramCase[] = [
  {
    name: 'a batch is bad: it can be gone on with',
    faults: [
      { fault: 'batch-end', as: 'failed', errors: [{ code: 'model_not_found', message: 'No such model.' }] },
    ],
    flags: BATCHES,
    code: 3,
    says: 'No such model.',
    answered: 0,
  },
  {
    name: 'the account stays exhausted: it can be gone on with',
    faults: [{ fault: 'http-answer', route: CHAT, status: 429, error: { message: 'Pay first.' } }],
    flags: [...DIRECT, '--max-wait', '0.5'],
    code: 3,
    says: 'Pay first.',
    answered: 0,
  },
]

describe.concurrent('as a program of its own', { timeout: 60_000 }, () => {
  test.each(cases)('$name', async ({ faults, flags, code, says, answered }) => {
    await using folder = await temporaryFolder()
    const scenario = join(folder.path, 'scenario.json')
    await writeFile(scenario, JSON.stringify({ faults }))
    const taskDir = join(folder.path, 'tasks')
    const args = ['--task-dir', taskDir, '--emulator', '--scenario', scenario, ...flags]
    const ended = await runProgram(PROGRAM, args)
    expect(ended, ended.stderr).toMatchObject({ code, signal: null })
    // Lines are broken where they are full, which a figure of one more digit changes.
    expect(`${ended.stdout} ${ended.stderr}`.replaceAll(/\s+/g, ' ')).toContain(says)
    expect(await jsonLines(join(taskDir, 'task_output.jsonl'))).toHaveLength(answered)
  })

  test('the key is refused: an error; without the fault the task goes on', async () => {
    await using folder = await temporaryFolder()
    const scenario = join(folder.path, 'scenario.json')
    const faults: Scenario['faults'] = [
      {
        fault: 'http-answer',
        route: CHAT,
        status: 401,
        error: { message: 'Incorrect key.' },
        when: { nth: 6 },
      },
    ]
    await writeFile(scenario, JSON.stringify({ faults }))
    const args = ['--task-dir', folder.path, '--emulator', ...DIRECT]
    const stopped = await runProgram(PROGRAM, [...args, '--scenario', scenario])
    expect(stopped.code, stopped.stderr).toBe(1)
    expect(stopped.stderr).toContain('Incorrect key.')
    expect((await runProgram(PROGRAM, args)).code).toBe(0)
    const keys = (await jsonLines(join(folder.path, 'task_output.jsonl'))).map((line) =>
      typeof line === 'object' && line !== null && 'key' in line ? line.key : undefined,
    )
    expect(keys.sort()).toEqual(KEYS)
  })
})
