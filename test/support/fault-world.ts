import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, vi } from 'vitest'
import { z } from 'zod'
import {
  type Answer,
  createEmulator,
  type EmulatedRequest,
  type Emulator,
  type EmulatorOptions,
  type Scenario,
} from '../../src/emulator/index.ts'
import { type BatchRecord, batchRecordSchema } from '../../src/emulator/records.ts'
import { NightshiftError } from '../../src/errors.ts'
import type { ProgressEvent } from '../../src/progress/events.ts'
import { type ReadView, readTask } from '../../src/requester/read-only-view.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import type { TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { RunSummary } from '../../src/task/task-types.ts'
import type { Fetch } from '../../src/util/fetch.ts'
import { contentsOf } from './folder.ts'
import { BASE_URL, type LedgerStep, ledgerSteps, NAME, questionOf, taskLines } from './task-harness.ts'
import { answerTo, keyIn, Twelve, TwelveByFlex } from './twelve-task.ts'
import { unsyncedFileSystem } from './unsynced-fs.ts'
import { uploadingAtOnce } from './upload-at-once.ts'
import { VirtualClock } from './virtual-clock.ts'
import { type Exchange, tapped } from './wire-tap.ts'

export type Fault = Scenario['faults'][number]
/** How requests are sent. */
export type Way = 'batch' | 'direct'

/** One task that meets faults. */
export interface Trial {
  readonly way: Way
  readonly faults: readonly Fault[]
  readonly seed?: number
  readonly options?: Partial<TaskManagerOptions>
  readonly emulator?: Pick<EmulatorOptions, 'limits' | 'latency'>
  /** The requests ask for the flex tier. */
  readonly flex?: true
  /** Options of the runs that make good what the first one could not, in their order. Default: one run without any. */
  readonly mending?: readonly Partial<TaskManagerOptions>[]
}

/** How a run ended: with a summary, or with an error. */
export interface Ending {
  readonly summary: RunSummary | undefined
  readonly error: NightshiftError | undefined
}

/** Everything that a trial left behind. */
export interface Evidence {
  readonly way: Way
  readonly flex: boolean
  /** The run that met the faults. */
  readonly first: Ending
  /** One more run, after all was done. */
  readonly idle: Ending
  /** Codes of the warnings of the first run, sorted, each once. */
  readonly warnings: readonly string[]
  readonly firstExchanges: readonly Exchange[]
  /** All calls but those of the idle run. */
  readonly exchanges: readonly Exchange[]
  readonly idleExchanges: readonly Exchange[]
  /** Files that the idle run changed. */
  readonly idleChanged: readonly string[]
  readonly view: ReadView
  readonly steps: readonly LedgerStep[]
  readonly output: readonly OutputLine[]
  readonly failed: readonly FailedLine[]
  readonly localFiles: readonly string[]
  /** As the server keeps them, other people's left out. */
  readonly batches: readonly BatchRecord[]
  readonly remoteFiles: readonly string[]
  /** How often the model was asked directly, by key. */
  readonly asks: ReadonlyMap<string, number>
}

const outputLineSchema = z.object({ key: z.string(), answer: z.string() })
export type OutputLine = z.output<typeof outputLineSchema>
const failedLineSchema = z.object({
  key: z.string(),
  reason: z.string(),
  attempts: z.number(),
  reply: z.unknown(),
})
export type FailedLine = z.output<typeof failedLineSchema>

/** Three batches of 5, 5 and 2, or four calls at a time. */
const COMMON = {
  name: NAME,
  clientBaseUrl: BASE_URL,
  env: { OPENAI_API_KEY: 'sk-test' },
  fs: unsyncedFileSystem,
  minBatchRequests: 1,
  maxBatchRequests: 5,
  directConcurrency: 4,
  maxPassFailures: 1000,
  // These requests allow any length and get short answers.
  warnAssumedCompletionFactor: 1000,
  remoteUpdateInterval: 1,
} as const

const WAITED_MS = 3_600_000

/** Backoffs of the openai package are real time, the only one in these tests. */
const BACKOFF_MS = { least: 300, most: 9_000 }

/** For all tests of a `describe`, or of a file. Other files of the same process get real time. */
export function hurryBackoffs(): void {
  beforeAll(() => {
    const real = globalThis.setTimeout
    const hurried = (run: (...args: unknown[]) => void, ms = 0, ...args: unknown[]) =>
      real(run, ms >= BACKOFF_MS.least && ms <= BACKOFF_MS.most ? 0 : ms, ...args)
    vi.stubGlobal('setTimeout', hurried)
  })
  afterAll(() => void vi.unstubAllGlobals())
}

/** Runs a task against faults, then without them until it is complete, then once more. */
export async function live(trial: Trial): Promise<Evidence> {
  await using world = new World(trial)
  const { clock, dir, dataDir } = world
  const scenario: Scenario = { seed: trial.seed ?? 1, faults: [...trial.faults] }
  const bad = await world.serve(scenario)
  const first = await world.run(bad.fetch)
  const warnings = world.events.flatMap((event) => (event.kind === 'warning' ? [event.code] : []))
  // What was to happen late happens before anybody looks again.
  await clock.sleep(WAITED_MS)

  const good = await world.serve()
  const isDone = first.summary?.complete === true && !(await hasLitter(dir))
  for (const over of isDone ? [] : (trial.mending ?? [{}])) await world.run(good.fetch, over)
  const before = await answersIn(dir)
  const quiet = tapped(good.fetch, () => clock.now())
  const served = good.exchanges.length
  const idle = await world.run(quiet.fetch)
  const idleChanged = (await answersIn(dir)).filter((line) => !before.includes(line))

  return {
    way: trial.way,
    flex: trial.flex ?? false,
    first,
    idle,
    warnings: [...new Set(warnings)].sort(),
    firstExchanges: bad.exchanges,
    exchanges: [...bad.exchanges, ...good.exchanges.slice(0, served)],
    idleExchanges: quiet.exchanges,
    idleChanged,
    view: await readTask(nodeFileSystem, dir, NAME),
    steps: ledgerSteps(dir),
    output: taskLines(dir, '_output.jsonl').map((line) => outputLineSchema.parse(line)),
    failed: taskLines(dir, '_failed.jsonl').map((line) => failedLineSchema.parse(line)),
    localFiles: readdirSync(dir),
    batches: batchesIn(dataDir),
    remoteFiles: await remoteFiles(good.fetch),
    asks: world.asks,
  }
}

/** A task's folder, a server that keeps its data, and a clock. It cleans up after itself, so that many can be at once. */
class World implements AsyncDisposable {
  readonly clock = new VirtualClock()
  readonly dir = quickFolder()
  readonly dataDir = quickFolder()
  readonly asks = new Map<string, number>()
  readonly events: ProgressEvent[] = []
  readonly #trial: Trial
  #emulator: Emulator | undefined

  constructor(trial: Trial) {
    this.#trial = trial
  }

  /** Starts the server, in place of the one before. */
  async serve(scenario?: Scenario): Promise<ReturnType<typeof tapped>> {
    await this.#emulator?.close()
    const { clock, dataDir } = this
    const answer = (request: EmulatedRequest) => this.#answer(request)
    const given = { clock, dataDir, answer, ...this.#trial.emulator, ...(scenario && { scenario }) }
    this.#emulator = createEmulator(given)
    return tapped(uploadingAtOnce(this.#emulator.fetch, clock), () => clock.now())
  }

  async run(fetch: Fetch, mending: Partial<TaskManagerOptions> = {}): Promise<Ending> {
    const { clock, dir: taskDir } = this
    const { way, options, flex } = this.#trial
    const Task = flex ? TwelveByFlex : Twelve
    const reporters = [{ onEvent: (event: ProgressEvent) => void this.events.push(event) }]
    const surroundings = { clock, fetch, reporters, taskDir, forceDirect: way === 'direct' }
    try {
      const task = new Task({ ...COMMON, ...surroundings, ...options, ...mending })
      return { summary: await task.run(), error: undefined }
    } catch (error) {
      if (!NightshiftError.is(error)) throw error
      return { summary: undefined, error }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#emulator?.close()
    for (const folder of [this.dir, this.dataDir]) rmSync(folder, { recursive: true, force: true })
  }

  #answer(request: EmulatedRequest): Answer {
    const key = keyIn(questionOf(request))
    if (request.via === 'direct') this.asks.set(key, (this.asks.get(key) ?? 0) + 1)
    return { answer: answerTo(key) }
  }
}

/** Hashes of the files that must not change any more. The state file is only a view, and is written anew. */
const answersIn = (dir: string): Promise<string[]> =>
  contentsOf(dir, (line) => /_(ledger|output|failed)\.jsonl /.test(line))

/** In memory where the system has a folder there. */
const quickFolder = (): string =>
  mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'nightshift-test-'))

async function hasLitter(dir: string): Promise<boolean> {
  const { state } = await readTask(nodeFileSystem, dir, NAME)
  return state.litter.size > 0
}

const batchesIn = (dataDir: string): BatchRecord[] =>
  readdirSync(join(dataDir, 'batches'))
    .map((name) => batchRecordSchema.parse(JSON.parse(readFileSync(join(dataDir, 'batches', name), 'utf8'))))
    .filter(({ metadata }) => !('owner' in (metadata ?? {})))
    .sort((a, b) => a.seq - b.seq)

const fileListSchema = z.object({ data: z.array(z.object({ id: z.string(), filename: z.string() })) })

/** Names of the task's own files at the server. */
async function remoteFiles(fetch: Fetch): Promise<readonly string[]> {
  const response = await fetch(`${BASE_URL}/files`)
  const { data } = fileListSchema.parse(await response.json())
  return data.map(({ filename }) => filename).filter((name) => !name.startsWith('other-'))
}
