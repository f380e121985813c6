import type { CommandIo } from '../../src/cli/command-io.ts'
import type { TaskManagerOptions } from '../../src/task/task-manager.ts'
import { BASE_URL, type Harness, isKind, NAME, seenOf } from './task-harness.ts'

export type Command = (argv: readonly string[], io: CommandIo) => Promise<number>

export interface Printed {
  readonly code: number
  readonly text: string
  readonly lines: readonly string[]
}

export interface CommandSetting extends Partial<CommandIo> {
  /** Words and flags that follow the name of the task. */
  readonly more?: readonly string[]
  /** What stands before it: the action of a command that has several. */
  readonly action?: string
  readonly taskDir?: string
}

/** Runs a command on the task of a harness, against its emulator, and gives what it printed. */
export async function command(run: Command, rig: Harness, setting: CommandSetting = {}): Promise<Printed> {
  const { more = [], action, taskDir = rig.dir, ...io } = setting
  const printed: string[] = []
  const argv = [...(action === undefined ? [] : [action]), NAME, '--task-dir', taskDir, ...more]
  const code = await run(argv, {
    stdout: (line) => void printed.push(line),
    signal: new AbortController().signal,
    columns: 80,
    clock: rig.clock,
    env: { OPENAI_API_KEY: 'sk-test', OPENAI_BASE_URL: BASE_URL },
    fetch: (input, init) => rig.emulator.fetch(input, init),
    ...io,
  })
  const text = printed.join('\n')
  return { code, text, lines: text.split('\n') }
}

/** What the command prints with `--json`. */
export async function commandJson(
  run: Command,
  rig: Harness,
  setting: CommandSetting = {},
): Promise<Record<string, unknown>> {
  const { text } = await command(run, rig, { ...setting, more: [...(setting.more ?? []), '--json'] })
  return JSON.parse(text)
}

/** Lines that do not fit. */
export const tooWide = (lines: readonly string[], columns: number): string[] =>
  lines.filter((line) => line.length > columns)

/** Runs a task until so many batches of it are created, and stops it then. */
export function runUntilCreated<Result>(
  { emulator }: Harness,
  count: number,
  run: (over: Partial<TaskManagerOptions>) => Promise<Result>,
): Promise<Result> {
  const stop = new AbortController()
  let created = 0
  return run({
    stop: stop.signal,
    fetch: async (input, init) => {
      const seen = seenOf(input, init, 0)
      if (created >= count) stop.abort()
      const response = await emulator.fetch(input, init)
      if (isKind(seen, 'POST', '/v1/batches')) created++
      return response
    },
  })
}
