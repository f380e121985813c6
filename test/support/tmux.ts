import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { temporaryFolder } from './folder.ts'
import { FROM_SOURCE } from './program.ts'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const DEADLINE_MS = 40_000
const LOOK_EVERY_MS = 30

/** An interactive shell on a terminal of its own, as a person has it. */
export interface Terminal extends AsyncDisposable {
  /** Types a line, with the Enter key. */
  enter(line: string): Promise<void>
  /** Presses a key, such as `C-c`. */
  press(key: string): Promise<void>
  resize(columns: number, rows: number): Promise<void>
  /** The rows of the screen, without those at the end that are empty. */
  screen(): Promise<readonly string[]>
  /** All that was scrolled away, and the screen. */
  history(): Promise<readonly string[]>
  /** All that the programs wrote, byte for byte. */
  written(): Promise<string>
  /** Row and column of the cursor, from 0. */
  cursor(): Promise<{ readonly column: number; readonly row: number; readonly isShown: boolean }>
  /** Looks until the screen is as wanted; throws with what it shows when it is not in time. */
  until(isWanted: (rows: readonly string[]) => boolean): Promise<readonly string[]>
}

/** Needs tmux: `apt-get install tmux`. `env`: what the programs get beside what they need to be found. */
export async function openTerminal(
  [columns, rows]: readonly [number, number],
  env: Readonly<Record<string, string>> = {},
): Promise<Terminal> {
  const server = `nightshift-test-${process.pid}-${Math.random().toString(36).slice(2)}`
  const tmux = async (...args: readonly string[]): Promise<string> =>
    (await run('tmux', ['-L', server, '-f', '/dev/null', '-u', ...args])).stdout
  const variables = {
    PATH: process.env.PATH ?? '',
    HOME: process.env.HOME ?? '',
    LANG: 'C.UTF-8',
    PS1: '$ ',
    ...FROM_SOURCE,
    ...env,
  }
  const shell = ['env', '-i', 'TERM=screen-256color', 'WANDB_MODE=disabled']
  const given = Object.entries(variables).map(([name, value]) => `${name}=${value}`)
  const size = ['-x', `${columns}`, '-y', `${rows}`]
  await tmux('new-session', '-d', ...size, '-c', ROOT, ...shell, ...given, 'sh', '-i')
  const folder = await temporaryFolder()
  const record = join(folder.path, 'written')
  await tmux('pipe-pane', '-o', `cat > ${record}`)
  const rowsOf = async (...more: readonly string[]): Promise<readonly string[]> =>
    (await tmux('capture-pane', '-p', ...more)).trimEnd().split('\n')
  const screen = () => rowsOf()
  return {
    enter: async (line) => void (await tmux('send-keys', line, 'Enter')),
    press: async (key) => void (await tmux('send-keys', key)),
    resize: async (wide, high) => void (await tmux('resize-window', '-x', `${wide}`, '-y', `${high}`)),
    screen,
    history: () => rowsOf('-S', '-'),
    written: () => readFile(record, 'utf8'),
    cursor: async () => {
      const told = await tmux('display-message', '-p', '#{cursor_x} #{cursor_y} #{cursor_flag}')
      const [column = 0, row = 0, flag] = told.split(' ').map(Number)
      return { column, row, isShown: flag === 1 }
    },
    until: async (isWanted) => {
      const endMs = Date.now() + DEADLINE_MS
      for (;;) {
        const shown = await screen()
        if (isWanted(shown)) return shown
        if (Date.now() > endMs) throw new Error(`this never became what was wanted:\n${shown.join('\n')}`)
        await delay(LOOK_EVERY_MS)
      }
    },
    [Symbol.asyncDispose]: async () => {
      await tmux('kill-server')
      await folder[Symbol.asyncDispose]()
    },
  }
}
