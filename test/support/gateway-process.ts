import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type Program, startProgram } from './program.ts'

const MAIN = 'src/cli/main.ts'

type Variables = Readonly<Record<string, string>>

/** The real command `nightshift gateway` as a process of its own, once it serves. */
export interface GatewayProcess extends Program, AsyncDisposable {
  /** Without a path. */
  readonly url: string
  /** All that it printed until it served. */
  readonly startLine: string
}

/** `nightshift gateway` with any port; `args` and `env` as for a shell. Rejects when it ends before it serves. */
export async function startGateway(args: readonly string[], env: Variables = {}): Promise<GatewayProcess> {
  const program = startProgram(MAIN, ['gateway', ...args], {
    NIGHTSHIFT_PORT: '0',
    OPENAI_API_KEY: UPSTREAM_KEY,
    ...env,
  })
  const startLine = await program.prints('\n')
  const url = /https?:\/\/[^/]+/.exec(startLine)?.[0] ?? ''
  return { ...program, url, startLine, [Symbol.asyncDispose]: () => stop(program) }
}

/** What no log, answer or file may hold. */
export const UPSTREAM_KEY = 'sk-the-upstream-key'

async function stop(program: Program): Promise<void> {
  program.kill('SIGKILL')
  await program.ended
}

/** `nightshift emulate` as a process of its own; `env` leads a gateway to it. */
export async function startEmulator(...args: readonly string[]) {
  const program = startProgram(MAIN, ['emulate', '--port', '0', '--run-ms', '0', ...args])
  const url = /http:\S+\/v1/.exec(await program.prints('\n'))?.[0] ?? ''
  return { url, env: { OPENAI_BASE_URL: url }, [Symbol.asyncDispose]: () => stop(program) }
}

export interface Curled {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/** Calls curl, and takes apart what it got. Rejects when it got nothing. */
export async function curl(...args: readonly string[]): Promise<Curled> {
  const { stdout } = await curlRaw('--include', '--insecure', ...args)
  const end = stdout.indexOf('\r\n\r\n')
  const [first = '', ...lines] = stdout.slice(0, end).split('\r\n')
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
  })
  return { status: Number(first.split(' ')[1]), headers: new Map(headers), body: stdout.slice(end + 4) }
}

const MOST_SECONDS = '60'

function curlRaw(...args: readonly string[]): Promise<{ readonly stdout: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ stdout: string }>()
  execFile('curl', ['--silent', '--show-error', '--max-time', MOST_SECONDS, ...args], (error, stdout) =>
    error ? reject(error) : resolve({ stdout }),
  )
  return promise
}

/** A port of loopback that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address ? address.port : 0
}
