import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { type Measured, measuredSchema } from './measured.ts'

export const pathOf = (program: string): string =>
  fileURLToPath(new URL(`programs/${program}.ts`, import.meta.url))

/** Nothing outlives the benchmark, also when it fails half way. */
const running = new Set<ChildProcess>()
export const STATE_DIR = join(tmpdir(), `nightshift-bench-state-${process.pid}`)
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(STATE_DIR, { recursive: true, force: true })
})

/** A program, and what it is given. */
export interface NodeProgram {
  readonly file: string
  readonly args?: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  /** Flags of Node, such as those of a profile. */
  readonly flags?: readonly string[]
  /** Where its standard error goes: an open file. Default: that of the benchmark. */
  readonly log?: number
  /** It can be asked, see `talk.ts`. @default false */
  readonly hasChannel?: boolean
}

export interface StartedNode {
  readonly child: ChildProcess
  readonly stdout: Readable
}

/** Node reads TypeScript by itself: no loader costs time in what is measured, and profiles name the source's lines. */
export function startNode(program: NodeProgram): StartedNode {
  const { file, args = [], env = {}, flags = [], log = 'inherit', hasChannel = false } = program
  const child = spawn(process.execPath, [...flags, file, ...args], {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      NIGHTSHIFT_STATE_DIR: STATE_DIR,
      WANDB_MODE: 'disabled',
      ...env,
    },
    stdio: hasChannel ? ['ignore', 'pipe', log, 'ipc'] : ['ignore', 'pipe', log],
  })
  running.add(child)
  child.once('close', () => running.delete(child))
  if (!child.stdout) throw new TypeError('a program was started without a pipe for what it prints')
  return { child, stdout: child.stdout }
}

export interface Server extends AsyncDisposable {
  /** Environment of a program that is to use it. */
  readonly env: Readonly<Record<string, string>>
}

/** A server in a process of its own, until it is disposed of. */
export async function startServer(program: string, args: readonly string[] = []): Promise<Server> {
  const { child, stdout } = startNode({ file: pathOf(program), args })
  for await (const url of createInterface(stdout)) {
    return {
      env: { OPENAI_API_KEY: 'sk-bench', OPENAI_BASE_URL: `${url}/v1` },
      [Symbol.asyncDispose]: async () => {
        const closed = once(child, 'close')
        child.kill('SIGKILL')
        await closed
      },
    }
  }
  throw new Error(`${program} ended before it served`)
}

export interface MeasuredProgram {
  readonly program: string
  /** Its argument. */
  readonly order: object
  readonly server: Server | undefined
  /** How many requests it must have finished. */
  readonly requests: number
  /** Flags of Node, such as those of a profile. */
  readonly flags?: readonly string[]
}

/** Runs a program to its end. Throws when it fails, or finishes other than what it was given. */
export async function runMeasured(what: MeasuredProgram): Promise<Measured> {
  const { program, order, server, requests, flags = [] } = what
  const { child, stdout } = startNode({
    file: pathOf(program),
    args: [JSON.stringify(order)],
    env: server?.env ?? {},
    flags,
  })
  let told = ''
  stdout.setEncoding('utf8').on('data', (text: string) => {
    told += text
  })
  const [code, signal] = await once(child, 'close')
  if (code !== 0) throw new Error(`${program} ended with ${signal ?? code}`)
  const measured = measuredSchema.parse(JSON.parse(told))
  if (measured.done === requests) return measured
  throw new Error(`${program} finished ${measured.done} of ${requests} requests`)
}

/** A new folder, removed when it is disposed of. */
export async function newFolder() {
  const path = await mkdtemp(join(tmpdir(), 'nightshift-bench-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}
