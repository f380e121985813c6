import { join } from 'node:path'
import type { z } from 'zod'
import type { AnswerFunction } from '../emulator/answers.ts'
import type { Emulator } from '../emulator/create-emulator.ts'
import type { Scenario } from '../emulator/scenario.ts'
import { errorText, NightshiftError, StateError, UsageError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import { finishedAs } from '../progress/history-sender.ts'
import type { Reporter } from '../progress/reporter.ts'
import type { PilotReport } from '../requester/pilot-report.ts'
import type { TaskManager, TaskManagerOptions } from '../task/task-manager.ts'
import type { RunSummary, TaskRequest } from '../task/task-types.ts'
import { optionTable } from '../util/option-table.ts'
import { environmentWith, resolveOptions, type TaskOptions } from '../util/options.ts'
import { systemCode } from '../util/system-code.ts'
import { plainLines } from '../util/text.ts'
import { parseArguments } from './args.ts'
import { askYesNo } from './ask.ts'
import { renderHelp } from './help.ts'
import { checkNodeVersion } from './node-version.ts'
import { pilotQuestion, pilotText } from './pilot-text.ts'
import { describeError } from './report-error.ts'
import { openScreen, type Screen } from './screen.ts'
import { type Interruption, isInterruption, listenForSignals, SIGNAL_EXIT_CODES } from './signals.ts'
import { summaryText } from './summary-text.ts'

export interface RunTaskOptions {
  /** The task's name: its files begin with it. `--name` overrides it. */
  readonly name: string
  /** The task's own flags; their values are `this.flags`. */
  readonly flags?: z.ZodObject
  /** Other defaults than Nightshift's, for this task. The command line overrides them. */
  readonly options?: TaskOptions
  /** Who answers under `--emulator`. Default: a simulated model that satisfies the answer schema. */
  readonly answers?: AnswerFunction
  /** Are told of the run beside the terminal: those that log to a place of your own. Default: none. */
  readonly reporters?: readonly Reporter[]
  /** Command line, without the program. Default: the process's. */
  readonly argv?: readonly string[]
}

/** A task class. */
export type TaskClass<Task extends TaskManager = TaskManager> = new (options: TaskManagerOptions) => Task

/** `Task`, or `never` for one that yields requests of another endpoint than it names. */
export type Consistent<Task extends TaskManager> = Task extends {
  readonly endpoint: infer E extends Endpoint
  generateRequests(): Iterable<infer Request> | AsyncIterable<infer Request>
}
  ? Request extends TaskRequest<E>
    ? Task
    : never
  : Task

/** Exit code of a run that stopped before the end and can be gone on with. */
const RESUMABLE = 3
const WIDTH_WITHOUT_TERMINAL = 80
/** A fixed address, so that a task is the same account from run to run. Nothing is ever sent there. */
const EMULATOR_URL = 'http://emulator.nightshift.invalid/v1'
/** Share of requests that the emulator fails at first, so that retries are seen at work. */
const EMULATOR_FAILURE_RATE = 0.02
const EMULATOR_POLL_SECONDS = 1

/**
 * Runs a task as a command-line program: flags, help, signals, progress on the terminal, exit code. 0: complete;
 * 3: stopped before the end, can be gone on with; 1: error; 2: wrong usage; 130 and 143: after SIGINT and SIGTERM.
 */
export async function runTask<Task extends TaskManager>(
  Task: TaskClass<Task> & TaskClass<Consistent<Task>>,
  options: RunTaskOptions,
): Promise<RunSummary | undefined> {
  try {
    checkNodeVersion(process.versions.node)
    return await runCommand(Task, options)
  } catch (error) {
    const { text, exitCode } = describeError(error)
    process.stderr.write(`${text}\n`)
    process.exitCode = exitCode
    return undefined
  }
}

async function runCommand(
  Task: TaskClass,
  { name, flags: ownFlags, options, answers, reporters, argv }: RunTaskOptions,
) {
  const parsed = parseArguments(argv ?? process.argv.slice(2), optionTable, ownFlags)
  if (parsed.help) {
    const columns = process.stdout.columns ?? 100
    process.stdout.write(renderHelp(optionTable, ownFlags, { name, columns, defaults: { name, ...options } }))
    return undefined
  }
  const chosen: TaskOptions = { name, ...options, ...parsed.options }
  const emulator = chosen.emulator ? await emulatorOnDemand(chosen, answers) : undefined
  if (chosen.scenario !== undefined && !emulator) throw scenarioWithoutEmulator(chosen.scenario)
  for (const stream of [process.stdout, process.stderr]) stream.on('error', ignoreBrokenPipe)
  const screen = openScreen(chosen)
  const interruption = listenForSignals((message) => screen.stopping(message))
  try {
    const surroundings = { interruption, emulator, screen, reporters }
    const task = new Task(taskOptions(chosen, parsed.flags, surroundings))
    const summary = await task.run()
    emulator?.check()
    process.stdout.write(`${plainLines(summaryText(summary, outputColumns()))}\n`)
    process.exitCode = exitCodeOf(summary, interruption)
    return summary
  } catch (error) {
    process.exitCode = exitCodeAfter(error, interruption, screen)
    return undefined
  } finally {
    interruption.end()
    screen.end()
    await emulator?.close()
    for (const stream of [process.stdout, process.stderr]) stream.off('error', ignoreBrokenPipe)
  }
}

/** Says what went wrong, unless it was a signal. */
function exitCodeAfter(error: unknown, { signal }: Interruption, screen: Screen): number {
  const interrupted = signal()
  if (interrupted && isInterruption(error)) return SIGNAL_EXIT_CODES[interrupted]
  const { message, exitCode } = describeError(error)
  screen.fail(message)
  return exitCode
}

const scenarioWithoutEmulator = (path: string): UsageError =>
  new UsageError('scenario_without_emulator', `--scenario ${path} is for the emulator: add --emulator`)

/** A terminal that went away, or a reader that stopped reading, is no reason to stop the work. */
function ignoreBrokenPipe(error: Error): void {
  const code = systemCode(error)
  if (code !== 'EPIPE' && code !== 'EIO') throw error
}

interface Surroundings {
  readonly interruption: Interruption
  readonly emulator: EmulatorOnDemand | undefined
  readonly screen: Screen
  readonly reporters: readonly Reporter[] | undefined
}

function taskOptions(
  options: TaskOptions,
  flags: Readonly<Record<string, unknown>>,
  { interruption, emulator, screen, reporters: others = [] }: Surroundings,
): TaskManagerOptions {
  const { stop, cut } = interruption
  const confirm = confirmation(screen, { yes: resolveOptions(options).options.yes, stop })
  const warn = (message: string): void => screen.warn(message)
  const reporters = [screen.reporter, ...others]
  const common = { ...options, flags, stop, cut, confirm, warn, reporters }
  if (!emulator) return common
  const env = environmentWith({
    OPENAI_API_KEY: 'emulator',
    OPENAI_ADMIN_KEY: undefined,
    OPENAI_BASE_URL: EMULATOR_URL,
    // Every emulator is an account of its own.
    NIGHTSHIFT_STATE_DIR: emulatorFolder(options),
  })
  return {
    ...common,
    clientBaseUrl: EMULATOR_URL,
    remoteUpdateInterval: options.remoteUpdateInterval ?? EMULATOR_POLL_SECONDS,
    stop: AbortSignal.any([stop, emulator.failed]),
    fetch: emulator.fetch,
    env,
  }
}

interface EmulatorOnDemand extends Pick<Emulator, 'fetch' | 'close'> {
  /** Aborted when it could not be started. */
  readonly failed: AbortSignal
  /** Throws why it could not be started. */
  readonly check: () => void
}

/**
 * Started by the first call: by then the task is locked and in order, so that no two emulators share a folder. Its code
 * is loaded no earlier, a third of what a task would load; throws `UsageError` for a scenario that cannot be.
 */
async function emulatorOnDemand(
  options: TaskOptions,
  answer: AnswerFunction | undefined,
): Promise<EmulatorOnDemand> {
  const scenario = await scenarioOf(options)
  let emulator: Promise<Emulator> | undefined
  const failed = new AbortController()
  return {
    fetch: async (input, init) => {
      if (!`${input instanceof Request ? input.url : input}`.startsWith(EMULATOR_URL))
        return fetch(input, init)
      emulator ??= startEmulator(options, { answer, scenario })
      const started = await emulator.catch((error: unknown) => {
        failed.abort(error)
        throw error
      })
      return started.fetch(input, init)
    },
    // One that could not be started has said so by `failed`.
    close: async () => (await emulator?.catch(() => undefined))?.close(),
    failed: failed.signal,
    check: () => failed.signal.throwIfAborted(),
  }
}

async function scenarioOf({ scenario }: TaskOptions): Promise<Scenario | undefined> {
  if (scenario === undefined) return undefined
  const { readScenario } = await import('./scenario-file.ts')
  return readScenario(scenario)
}

interface EmulatorKind {
  readonly answer: AnswerFunction | undefined
  readonly scenario: Scenario | undefined
}

const emulatorFolder = (options: TaskOptions): string =>
  join(resolveOptions(options).options.taskDir, '.emulator')

async function startEmulator(options: TaskOptions, { answer, scenario }: EmulatorKind): Promise<Emulator> {
  const dataDir = emulatorFolder(options)
  const { createEmulator } = await import('../emulator/create-emulator.ts')
  try {
    return createEmulator({
      dataDir,
      // With a scenario, nothing else goes wrong.
      ...(scenario ? { scenario } : { failureRate: EMULATOR_FAILURE_RATE }),
      ...(answer && { answer }),
    })
  } catch (error) {
    if (NightshiftError.is(error)) throw error
    const message = `${dataDir}, where the emulator keeps its data, cannot be used: ${errorText(error)}`
    throw new StateError('emulator_folder', message, { cause: error })
  }
}

const outputColumns = (): number => process.stdout.columns || WIDTH_WITHOUT_TERMINAL

/** Shows what came of a pilot, and asks whether to go on where there is somebody to ask. */
function confirmation(
  screen: Screen,
  { yes, stop }: { readonly yes: boolean; readonly stop: AbortSignal },
): (report: PilotReport) => Promise<boolean> {
  return async (report) => {
    screen.pause()
    try {
      process.stdout.write(`${pilotText(report, outputColumns()).join('\n')}\n`)
      if (yes || !screen.mayAsk) return yes
      const place = { input: process.stdin, output: process.stderr, signal: stop }
      return await askYesNo(pilotQuestion(report, process.stderr.columns || WIDTH_WITHOUT_TERMINAL), place)
    } finally {
      screen.resume()
    }
  }
}

function exitCodeOf({ outcome }: RunSummary, { signal }: Interruption): number {
  const interrupted = signal()
  if (finishedAs(outcome).exitCode === 0) return 0
  return interrupted ? SIGNAL_EXIT_CODES[interrupted] : RESUMABLE
}
