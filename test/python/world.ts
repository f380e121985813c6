import { join } from 'node:path'
import { startUpstream, type Upstream } from '../seeds/upstream.ts'
import { type GatewayProcess, startGateway } from '../support/gateway-process.ts'
import { type Ended, type Program, startProgram } from '../support/program.ts'

/** A gateway, the server that does its work, and a Python that asks it. */
export interface World extends AsyncDisposable {
  readonly upstream: Upstream
  readonly server: GatewayProcess
  /** Runs a sample to its end, and gives the lines that it printed. Throws when it fails, or takes a minute. */
  readonly lines: (file: string, args: readonly string[], env?: Variables) => Promise<string[]>
  readonly start: (file: string, args: readonly string[], env?: Variables) => Program
}

type Variables = Readonly<Record<string, string>>

/** As variables, so that a check's own flags are stronger. */
const QUICK = { NIGHTSHIFT_WINDOW_MS: '200', NIGHTSHIFT_POLL_MIN_MS: '20', NIGHTSHIFT_POLL_MAX_MS: '200' }
const MOST_MS = 60_000

export async function startWorld(
  python: string,
  dataDir: string,
  flags: readonly string[] = [],
): Promise<World> {
  const upstream = await startUpstream()
  const env = { ...QUICK, OPENAI_BASE_URL: upstream.url }
  const server = await startGateway(['--data-dir', dataDir, ...flags], env)
  const start = (file: string, args: readonly string[], own: Variables = {}): Program =>
    startProgram(join('test', file), [server.url, ...args], { API_KEY: 'none', ...own }, [python])
  return {
    upstream,
    server,
    start,
    lines: async (file, args, own) => linesOf(file, await endOf(start(file, args, own))),
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]()
      await upstream[Symbol.asyncDispose]()
    },
  }
}

/** One that does not end is ended: pages that go on for ever are what some servers have. */
export async function endOf(program: Program): Promise<Ended> {
  const timer = setTimeout(() => program.kill('SIGKILL'), MOST_MS)
  try {
    return await program.ended
  } finally {
    clearTimeout(timer)
  }
}

export function linesOf(file: string, { code, signal, stdout, stderr }: Ended): string[] {
  if (code === 0) return stdout.split('\n').slice(0, -1)
  const how = signal === 'SIGKILL' ? `did not end in ${MOST_MS / 1000} s` : `ended with code ${code}`
  throw new Error(`${file} ${how}, and printed:\n${stdout}${stderr}`)
}
