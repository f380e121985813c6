import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { createEmulator, type Emulator } from '../../src/emulator/create-emulator.ts'
import type { EmulatedRequest, EmulatorOptions } from '../../src/emulator/index.ts'
import type { ProgressEvent } from '../../src/progress/events.ts'
import type { TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { Fetch } from '../../src/util/fetch.ts'
import { uploadingAtOnce } from './upload-at-once.ts'
import { VirtualClock } from './virtual-clock.ts'

/** One HTTP request as it left the task. */
export interface Seen {
  readonly method: string
  /** Without the host, with the query: `/v1/batches?limit=100`. */
  readonly path: string
  readonly body: string
  readonly atMs: number
}

export interface Harness {
  readonly dir: string
  readonly clock: VirtualClock
  readonly emulator: Emulator
  /** Every HTTP request of the task, in order. */
  readonly seen: Seen[]
  /** Every progress event, in order. */
  readonly events: ProgressEvent[]
  /** Options of a task named `task` in the harness's folder; small batches are worth a batch, and bad ones stop nothing. */
  options(over?: Partial<TaskManagerOptions>): TaskManagerOptions
  /** How many requests of such a kind were sent: `count('POST', '/v1/batches')`. */
  count(method: string, path: string | RegExp): number
  warnings(code: string): string[]
}

export const BASE_URL = 'http://api.test/v1'
export const NAME = 'task'

/** A new folder that lasts until the test ends. */
export const temporaryFolder = (): string => temporaryFolderIn(tmpdir())

/** On the disk that the sources are on: the system's folder for temporary files may be in memory. */
export function folderOnDisk(): string {
  const place = join(import.meta.dirname, '../../node_modules/.cache')
  mkdirSync(place, { recursive: true })
  return temporaryFolderIn(place)
}

function temporaryFolderIn(place: string): string {
  const dir = mkdtempSync(join(place, 'nightshift-test-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** A folder, a clock and an emulator for one test. */
export function harness(emulatorOptions: EmulatorOptions = {}, clock = new VirtualClock()): Harness {
  const dir = temporaryFolder()
  const emulator = createEmulator({ clock, ...emulatorOptions })
  onTestFinished(() => emulator.close())
  const upload = uploadingAtOnce(emulator.fetch, clock)
  const seen: Seen[] = []
  const events: ProgressEvent[] = []
  const reporter = { onEvent: (event: ProgressEvent) => void events.push(event) }
  const fetch: Fetch = (input, init) => {
    seen.push(seenOf(input, init, clock.now()))
    return upload(input, init)
  }
  return {
    dir,
    clock,
    emulator,
    seen,
    events,
    options: (over = {}) => ({
      name: NAME,
      taskDir: dir,
      clientBaseUrl: BASE_URL,
      env: { OPENAI_API_KEY: 'sk-test' },
      minBatchRequests: 1,
      maxPassFailures: 1000,
      remoteUpdateInterval: 1,
      clock,
      fetch,
      reporters: [reporter],
      ...over,
    }),
    count: (method, path) => seen.filter((one) => isKind(one, method, path)).length,
    warnings: (code) =>
      events.flatMap((event) => (event.kind === 'warning' && event.code === code ? [event.message] : [])),
  }
}

export function seenOf(input: string | URL | Request, init: RequestInit | undefined, atMs: number): Seen {
  const url = new URL(input instanceof Request ? input.url : input)
  const method = init?.method ?? (input instanceof Request ? input.method : 'GET')
  const body = typeof init?.body === 'string' ? init.body : ''
  return { method: method.toUpperCase(), path: url.pathname + url.search, body, atMs }
}

export const isKind = (seen: Pick<Seen, 'method' | 'path'>, method: string, path: string | RegExp): boolean =>
  seen.method === method && (typeof path === 'string' ? seen.path === path : path.test(seen.path))

/** What a request of the API is, for an interceptor. */
export const kindOf = (request: Request): Pick<Seen, 'method' | 'path'> => {
  const { pathname, search } = new URL(request.url)
  return { method: request.method, path: pathname + search }
}

/** A crash in the middle of a run: from some request on nothing arrives, and a copy of the files is what is left. */
export interface Crash {
  /** Of the run that is going to crash. */
  readonly options: TaskManagerOptions
  /** Resolves with the folder as it was at that moment, without its lock. */
  readonly folder: Promise<string>
  /** Lets go of what the dead run still holds. */
  readonly bury: () => void
}

export interface CrashPoint {
  readonly at: (seen: Seen) => boolean
  /** The server still gets that request. Default: false. */
  readonly acted?: boolean
}

export function crashing(
  { emulator, options, clock, seen }: Harness,
  { at, acted = false }: CrashPoint,
  over: Partial<TaskManagerOptions> = {},
): Crash {
  const given = options(over)
  const copy = temporaryFolder()
  const stop = new AbortController()
  const crashed = Promise.withResolvers<string>()
  let dead = false
  const fetch: Fetch = async (input, init) => {
    if (dead) return silence(init?.signal)
    const request = seenOf(input, init, clock.now())
    seen.push(request)
    if (!at(request)) return emulator.fetch(input, init)
    dead = true
    // Whatever comes of it, nobody hears of it.
    if (acted) await Promise.allSettled([emulator.fetch(input, init)])
    crashed.resolve(copyTask(given.taskDir ?? '', copy))
    return silence(init?.signal)
  }
  const bury = (): void => stop.abort()
  return { options: { ...given, fetch, stop: stop.signal, cut: stop.signal }, folder: crashed.promise, bury }
}

/** Never answers; ends when the caller gives up. */
const silence = (signal: AbortSignal | null | undefined): Promise<never> =>
  new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
  })

/** A copy of a task's files as a crash would leave them: whatever the ledger names is there. */
export function copyTask(dir: string, copy: string): string {
  const weight = (name: string) => (name.endsWith('_state.json') ? 0 : name.endsWith('_ledger.jsonl') ? 1 : 2)
  // A temporary file may be gone again before it is looked at.
  const isKept = (name: string) => !/\.lock|\.tmp-/.test(name) && isFile(dir, name)
  const files = readdirSync(dir).filter(isKept)
  files.sort((a, b) => weight(a) - weight(b))
  for (const name of files) copyFileSync(join(dir, name), join(copy, name))
  return copy
}

const isFile = (dir: string, name: string): boolean => statSync(join(dir, name)).isFile()

const pathOf = (dir: string, suffix: string): string => join(dir, NAME + suffix)

export const readTaskFile = (dir: string, suffix: string): string => {
  const path = pathOf(dir, suffix)
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

/** The lines of a JSON lines file of the task; none when there is no such file. */
export const taskLines = <Line = Record<string, unknown>>(dir: string, suffix: string): Line[] =>
  linesIn(readTaskFile(dir, suffix))

const linesIn = <Line>(text: string): Line[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line): Line => JSON.parse(line))

export interface LedgerStep {
  readonly kind: string
  readonly [field: string]: unknown
}

/** All steps of the ledger, in order. While a run is at work, its last line may be there in part only: it does not count. */
export const ledgerSteps = (dir: string): LedgerStep[] =>
  linesIn<{ readonly steps: readonly LedgerStep[] }>(wholeLines(readTaskFile(dir, '_ledger.jsonl'))).flatMap(
    ({ steps }) => steps,
  )

const wholeLines = (text: string): string => text.slice(0, text.lastIndexOf('\n') + 1)

/** Steps of one kind. */
export const stepsOf = (dir: string, kind: string): LedgerStep[] =>
  ledgerSteps(dir).filter((step) => step.kind === kind)

/** A chat body that asks one thing. */
export const ask = (content: string, model = 'gpt-5-mini') => ({
  model,
  messages: [{ role: 'user' as const, content }],
})

/** What a chat body made by `ask` asks. */
export function questionOf({ body }: Pick<EmulatedRequest, 'body'>): string {
  const messages: unknown = body.messages
  const last: unknown = Array.isArray(messages) ? messages.at(-1) : undefined
  const content = typeof last === 'object' && last !== null && 'content' in last ? last.content : ''
  return String(content)
}

/** `prefix-0`, `prefix-1`, ... */
export const names = (count: number, prefix = 'k'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`)
