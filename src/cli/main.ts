#!/usr/bin/env node
import { UsageError } from '../errors.ts'
import { systemClock } from '../util/clock.ts'
import { nearest } from '../util/option-names.ts'
import { systemCode } from '../util/system-code.ts'
import { VERSION } from '../util/version.ts'
import type { CommandIo } from './command-io.ts'
import { checkNodeVersion } from './node-version.ts'
import { describeError } from './report-error.ts'
import { type Interruption, isInterruption, listenForSignals, SIGNAL_EXIT_CODES } from './signals.ts'

const HELP = `nightshift: large LLM jobs at half price, without losing or re-paying an answer

Usage: nightshift COMMAND [flags]

Commands:
  status      where a task stands; also while it runs
  explain     all that happened to one request of a task
  report      one HTML page about a task, with charts
  batches     list or cancel a task's batches at the server
  files       list a task's files at the server, or delete what nothing needs
  gateway     serve OpenAI's API to your programs, by batches at half price
  emulate     serve a local OpenAI Batch API, for trials and tests without a key
  wandb       deliver a history to Weights & Biases, or set up a view there
  lint        check the input file of a batch, without a network

  --help      this text; with a command, its own
  --version   the version

A task is a program of its own: subclass TaskManager, call runTask, and run it
with --help.
`

type Command = (argv: readonly string[], io: CommandIo) => Promise<number>

/** Each command is loaded only when it is called: help must be quick. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  status: async () => (await import('./status.ts')).status,
  explain: async () => (await import('./explain.ts')).explain,
  report: async () => (await import('./report.ts')).report,
  batches: async () => (await import('./batches.ts')).batches,
  files: async () => (await import('./files.ts')).files,
  gateway: async () => (await import('./gateway.ts')).gateway,
  emulate: async () => (await import('./emulate.ts')).emulate,
  wandb: async () => (await import('./wandb.ts')).wandb,
  lint: async () => (await import('./lint.ts')).lint,
}

async function main(argv: readonly string[]): Promise<number> {
  checkNodeVersion(process.versions.node)
  const [name, ...rest] = argv
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') return print(HELP)
  if (name === '--version' || name === '-v') return print(`${VERSION}\n`)
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!load) throw unknownCommand(name)
  const command = await load()
  return run(
    command,
    rest,
    listenForSignals(() => undefined),
  )
}

const WIDTH_WITHOUT_TERMINAL = 80

async function run(command: Command, argv: readonly string[], interruption: Interruption): Promise<number> {
  const io: CommandIo = {
    stdout: (line) => process.stdout.write(`${line}\n`),
    stderr: (line) => process.stderr.write(`${line}\n`),
    signal: interruption.stop,
    columns: process.stdout.columns ?? WIDTH_WITHOUT_TERMINAL,
    clock: systemClock,
  }
  // Who asks twice does not want to wait for an end in order.
  interruption.cut.addEventListener('abort', () =>
    process.exit(SIGNAL_EXIT_CODES[interruption.signal() ?? 'SIGINT']),
  )
  try {
    return await command(argv, io)
  } catch (error) {
    const signal = interruption.signal()
    if (!signal || !isInterruption(error)) throw error
    return SIGNAL_EXIT_CODES[signal]
  }
}

function print(text: string): number {
  process.stdout.write(text)
  return 0
}

function unknownCommand(name: string): UsageError {
  const meant = nearest(name, Object.keys(COMMANDS))
  const hint = meant ? `; did you mean ${meant}?` : '; see nightshift --help'
  return new UsageError('unknown_command', `there is no command "${name}"${hint}`)
}

// Whoever reads the output may stop reading, as `head` does: there is nobody left to tell.
process.stdout.on('error', (error) => {
  if (systemCode(error) !== 'EPIPE') throw error
  process.exit(0)
})

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  const { text, exitCode } = describeError(error)
  process.stderr.write(`${text}\n`)
  process.exitCode = exitCode
}
