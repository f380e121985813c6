import { randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import pg from 'pg'
import { freePort } from './gateway-process.ts'
import { makePostgresServer, type PostgresServer, type PostgresServerOptions } from './postgres-server.ts'

/** A PostgreSQL server for tests. */
export interface TestPostgres {
  readonly url: string
  /** Ends it at once, as a power cut does, and starts it again; only of a server of our own. */
  readonly restart: (() => Promise<void>) | undefined
}

/** A server takes seconds to make: the test files that one process runs, one after the other, share it. */
let shared: Promise<OwnPostgres> | undefined

/**
 * The server that `TEST_POSTGRES_URL` names, or one of our own, which ends with this process. Others have used it, and
 * will: take a schema or a database of your own.
 */
export async function startPostgres(): Promise<TestPostgres> {
  const given = process.env.TEST_POSTGRES_URL
  if (given) return { url: given, restart: undefined }
  shared ??= startShared()
  return await shared
}

function startShared(): Promise<OwnPostgres> {
  // By this signal a worker is ended; unless it is heard, Node asks nobody what is to be cleaned up.
  process.once('SIGTERM', () => process.exit())
  return startOwnPostgres()
}

export interface OwnPostgres extends TestPostgres, AsyncDisposable {
  /** Kills its first process with SIGKILL, at which the others end; gives what starts it again, on the same data and port. */
  kill(): Promise<() => Promise<void>>
}

/** A server of one's own, whatever the environment says; it is gone when it is disposed of. */
export async function startOwnPostgres(options: PostgresServerOptions = {}): Promise<OwnPostgres> {
  const server = await makePostgresServer(await freePort(), options)
  await server.start()
  return {
    url: server.url,
    // SIGQUIT is the immediate stop: no commit is finished and no page written, and the next start recovers from the log.
    restart: async () => {
      await server.kill('SIGQUIT')
      await server.start()
    },
    kill: async () => {
      await server.kill('SIGKILL')
      return () => startAgain(server)
    },
    [Symbol.asyncDispose]: () => server.remove(),
  }
}

const MOST_STARTS = 200
const BETWEEN_STARTS_MS = 50

/** Refused for as long as there are processes of a server whose first one was killed: they end one by one. */
async function startAgain(server: PostgresServer): Promise<void> {
  for (let starts = 1; ; starts++) {
    try {
      return await server.start()
    } catch (error) {
      if (starts === MOST_STARTS) throw new Error('PostgreSQL does not start again', { cause: error })
      await setTimeout(BETWEEN_STARTS_MS)
    }
  }
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
