import { once } from 'node:events'
import { type ParseArgsConfig, parseArgs } from 'node:util'
import { createEmulator } from '../emulator/create-emulator.ts'
import type { EmulatorOptions } from '../emulator/options.ts'
import { serveEmulator } from '../emulator/serve.ts'
import { errorText, UsageError } from '../errors.ts'
import { readScenario } from './scenario-file.ts'

export interface EmulateIo {
  readonly stdout: (line: string) => void
  /** Ends the server. */
  readonly signal: AbortSignal
}

export const EMULATE_HELP = `nightshift emulate: a local server that speaks the OpenAI Batch API

  --port N           port to listen on (default 4100; 0 takes any free one)
  --host HOST        address to listen on (default 127.0.0.1)
  --upstream URL     OpenAI-compatible server that answers, with its version
                     part: http://127.0.0.1:11434/v1
  --data-dir DIR     keep files and batches there (default: in memory)
  --scenario FILE    JSON that says what goes wrong, and when: see
                     docs/scenarios.md
  --failure-rate R   share of requests, 0 to 1, whose first attempt fails
                     (default 0)
  --run-ms MS        time that a batch takes at least (default 500)
  --help             this text`

const FLAGS = {
  port: { type: 'string', default: '4100' },
  host: { type: 'string', default: '127.0.0.1' },
  upstream: { type: 'string' },
  'data-dir': { type: 'string' },
  scenario: { type: 'string' },
  'failure-rate': { type: 'string' },
  'run-ms': { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const satisfies ParseArgsConfig['options']

/**
 * `nightshift emulate`: serves until the signal is aborted, then shuts down and resolves with the exit code, 0.
 * Prints one line with its URL when it is ready. Throws `UsageError` for flags that cannot be.
 */
export async function emulate(argv: readonly string[], io: EmulateIo): Promise<number> {
  const flags = parseFlags(argv)
  if (flags.help) {
    io.stdout(EMULATE_HELP)
    return 0
  }
  const port = numberFlag('port', flags.port, { max: 65_535, whole: true })
  const emulator = createEmulator(emulatorOptions(flags))
  try {
    const server = await serveEmulator(emulator, { host: flags.host, port })
    io.stdout(`Nightshift emulator at ${server.url}/v1 (use it as OPENAI_BASE_URL; stop it with Ctrl+C)`)
    if (!io.signal.aborted) await once(io.signal, 'abort')
    // The work first: a call that waits for an upstream server ends with it.
    await emulator.close()
    await server.close()
    return 0
  } finally {
    await emulator.close()
  }
}

function parseFlags(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: FLAGS, strict: true }).values
  } catch (error) {
    throw new UsageError('bad_flag', `${errorText(error)}. See nightshift emulate --help`, { cause: error })
  }
}

function emulatorOptions(flags: ReturnType<typeof parseFlags>): EmulatorOptions {
  const { upstream, 'data-dir': dataDir, scenario, 'failure-rate': failureRate, 'run-ms': runMs } = flags
  return {
    ...(upstream !== undefined && { upstream: { baseURL: httpUrl('upstream', upstream) } }),
    ...(dataDir !== undefined && { dataDir }),
    ...(scenario !== undefined && { scenario: readScenario(scenario) }),
    ...(failureRate !== undefined && { failureRate: numberFlag('failure-rate', failureRate, { max: 1 }) }),
    ...(runMs !== undefined && { latency: { runMs: numberFlag('run-ms', runMs, { max: Infinity }) } }),
  }
}

function numberFlag(name: string, text: string, range: { max: number; whole?: boolean }): number {
  const value = Number(text)
  const fits = value >= 0 && value <= range.max && (!range.whole || Number.isInteger(value))
  if (text.trim() !== '' && fits) return value
  const kind = range.whole ? 'an integer' : 'a number'
  throw new UsageError('bad_flag', `--${name} is '${text}': give ${kind} from 0 to ${range.max}`)
}

function httpUrl(name: string, text: string): string {
  const url = URL.parse(text)
  if (url && ['http:', 'https:'].includes(url.protocol)) return text
  throw new UsageError(
    'bad_flag',
    `--${name} is '${text}': give an http(s) URL, such as http://127.0.0.1:11434/v1`,
  )
}
