import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Program {
  readonly pid: number
  readonly ended: Promise<Ended>
  /** Resolves when standard error contains the text; rejects when the program ends without it. */
  says(text: string): Promise<void>
  /** Resolves with all of standard output once it contains the text; rejects when the program ends without it. */
  prints(text: string): Promise<string>
  kill(signal: NodeJS.Signals): void
}

/** Nothing outlives a test run, also when a test fails half way. */
const running = new Set<ChildProcess>()
/** What programs tell each other about accounts is none of the user's. */
const STATE_DIR = join(tmpdir(), `nightshift-test-state-${process.pid}`)
/** Node itself reads the sources, also where a program imports the package by its name. */
export const FROM_SOURCE = {
  NODE_OPTIONS: '--conditions=nightshift-source',
  // Hundreds of processes compile the same sources: with what the first has left, half of the time at start is saved.
  NODE_COMPILE_CACHE: join(ROOT, 'node_modules/.cache/compiled'),
} as const
/** A key in the user's own `~/.netrc` must not lead anywhere. */
const OWN_ENV = {
  PATH: process.env.PATH,
  HOME: process.env.HOME,
  NIGHTSHIFT_STATE_DIR: STATE_DIR,
  WANDB_MODE: 'disabled',
  ...FROM_SOURCE,
}
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(STATE_DIR, { recursive: true, force: true })
})

/**
 * Runs a TypeScript file of this repository as a process of its own. Of the environment it gets what is given, and
 * what programs need to be found. `node`: what runs it, and its flags; Node.js itself by default, which reads TypeScript.
 */
export function startProgram(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  node: readonly string[] = [process.execPath],
): Program {
  const [command = '', ...flags] = node
  return startNode([...flags, file, ...args], env, command)
}

/** Runs Node in the folder of this repository; see `startProgram`. `args`: its flags, the file, and the file's own. */
export function startNode(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  command = process.execPath,
): Program {
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { ...OWN_ENV, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  running.add(child)
  child.once('close', () => running.delete(child))
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    child.emit('said')
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    child.emit('said')
  })
  const ended = once(child, 'close').then(() => ({
    code: child.exitCode,
    signal: child.signalCode,
    stdout,
    stderr,
  }))
  const heard = async (text: string, soFar: () => string): Promise<string> => {
    while (!soFar().includes(text)) {
      const over = await Promise.race([once(child, 'said').then(() => false), ended.then(() => true)])
      if (over && !soFar().includes(text)) throw new Error(`it ended without saying "${text}":\n${stderr}`)
    }
    return soFar()
  }
  const says = async (text: string): Promise<void> => void (await heard(text, () => stderr))
  const prints = (text: string): Promise<string> => heard(text, () => stdout)
  if (child.pid === undefined) throw new Error(`${command} ${args.join(' ')} could not be started`)
  return { pid: child.pid, ended, says, prints, kill: (signal) => child.kill(signal) }
}

/** Runs a program to its end. */
export const runProgram = (
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  node?: readonly string[],
): Promise<Ended> => startProgram(file, args, env, node).ended
