import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Measured, measuredSchema } from './measured.ts'

const pathOf = (program: string): string => fileURLToPath(new URL(`programs/${program}.ts`, import.meta.url))

/** Nothing outlives the benchmark, also when it fails half way. */
const running = new Set<ChildProcess>()
const STATE_DIR = join(tmpdir(), `nightshift-bench-state-${process.pid}`)
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  rmSync(STATE_DIR, { recursive: true, force: true })
})

/** Node reads TypeScript by itself: no loader costs time in what is measured, and profiles name the source's lines. */
function start(program: string, args: readonly string[], env: NodeJS.ProcessEnv, flags: readonly string[]) {
  const child = spawn(process.execPath, [...flags, pathOf(program), ...args], {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      NIGHTSHIFT_STATE_DIR: STATE_DIR,
      WANDB_MODE: 'disabled',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  running.add(child)
  child.once('close', () => running.delete(child))
  return child
}

export interface Server extends AsyncDisposable {
  /** Environment of a program that is to use it. */
  readonly env: Readonly<Record<string, string>>
}

/** A server in a process of its own, until it is disposed of. */
export async function startServer(program: string, args: readonly string[] = []): Promise<Server> {
  const child = start(program, args, {}, [])
  for await (const url of createInterface(child.stdout)) {
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
  const child = start(program, [JSON.stringify(order)], server?.env ?? {}, flags)
  let told = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
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
