#!/usr/bin/env node
import { createRequire } from 'node:module'
import { UsageError } from '../errors.ts'
import { nearest } from '../util/option-names.ts'
import { checkNodeVersion } from './node-version.ts'
import { describeError } from './report-error.ts'
import { listenForSignals } from './signals.ts'

const HELP = `nightshift: large LLM jobs at half price, without losing or re-paying an answer

Usage: nightshift COMMAND [flags]

Commands:
  emulate     serve a local OpenAI Batch API, for trials and tests without a key

  --help      this text; with a command, its own
  --version   the version

A task is a program of its own: subclass TaskManager, call runTask, and run it with --help.
`

interface CommandIo {
  readonly stdout: (line: string) => void
  readonly signal: AbortSignal
}

type Command = (argv: readonly string[], io: CommandIo) => Promise<number>

/** Each command is loaded only when it is called: help must be quick. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  emulate: async () => (await import('./emulate.ts')).emulate,
}

async function main(argv: readonly string[]): Promise<number> {
  checkNodeVersion(process.versions.node)
  const [name, ...rest] = argv
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') return print(HELP)
  if (name === '--version' || name === '-v') return print(`${version()}\n`)
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (!load) throw unknownCommand(name)
  const command = await load()
  const interruption = listenForSignals(() => undefined)
  return command(rest, { stdout: (line) => process.stdout.write(`${line}\n`), signal: interruption.stop })
}

function print(text: string): number {
  process.stdout.write(text)
  return 0
}

function version(): string {
  const manifest: unknown = createRequire(import.meta.url)('../../package.json')
  const isManifest = typeof manifest === 'object' && manifest !== null && 'version' in manifest
  return isManifest ? String(manifest.version) : 'unknown'
}

function unknownCommand(name: string): UsageError {
  const meant = nearest(name, Object.keys(COMMANDS))
  const hint = meant ? `; did you mean ${meant}?` : '; see nightshift --help'
  return new UsageError('unknown_command', `there is no command "${name}"${hint}`)
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  const { text, exitCode } = describeError(error)
  process.stderr.write(`${text}\n`)
  process.exitCode = exitCode
}
