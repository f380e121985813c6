import { once } from 'node:events'
import { createServer as createHttp, type Server as PlainServer, type RequestListener } from 'node:http'
import { createServer as createHttps, type Server as HttpsServer } from 'node:https'
import { getRequestListener } from '@hono/node-server'
import type { Hono } from 'hono'
import { errorText, UsageError } from '../../errors.ts'
import type { AppEnv } from './reply.ts'
import type { SocketHandler } from './socket-calls.ts'

type HttpServer = PlainServer | HttpsServer

/** What is served. */
export interface Served {
  readonly app: Hono<AppEnv>
  /** Serves some calls without the app. */
  readonly serve: SocketHandler
}

export interface ListenOptions {
  /** @default '127.0.0.1' */
  readonly host?: string
  /** 0 takes any free port. */
  readonly port: number
  /** PEM texts; absent: plain HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined
}

export interface Listener {
  /** Without a path: the API is at `${url}/v1`. */
  readonly url: string
  readonly port: number
  /** Takes no more connections and resolves when those open are done, or after ten seconds. */
  close(): Promise<void>
}

const GRACE_MS = 10_000
const SWEEP_MS = 50
/** Ten thousand may call at once. */
const BACKLOG = 4096
const SOCKETS = {
  // Longer than proxies keep connections open: it is for them to close first.
  keepAliveTimeout: 75_000,
  // A client that vanished without a word is found out.
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
}

/** Listens for HTTP or HTTPS. Throws `UsageError` (`cannot_listen`, `bad_certificate`). */
export async function listen(served: Served, options: ListenOptions): Promise<Listener> {
  const { host = '127.0.0.1', port, tls } = options
  const server = makeServer(served, tls)
  server.listen({ port, host, backlog: BACKLOG })
  await once(server, 'listening').catch((error: unknown) => {
    const message = `cannot listen on ${host}:${port}: ${errorText(error)}. Choose another port or host`
    throw new UsageError('cannot_listen', message, { cause: error })
  })
  const address = server.address()
  if (address === null || typeof address === 'string')
    throw new UsageError(
      'cannot_listen',
      `the server listens on ${String(address)}, which is no host and port`,
    )
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
  const url = `${tls ? 'https' : 'http'}://${name}:${address.port}`
  return { url, port: address.port, close: () => closeServer(server) }
}

function makeServer({ app, serve }: Served, tls: ListenOptions['tls']): HttpServer {
  const others = getRequestListener(app.fetch)
  const onRequest: RequestListener = (incoming, outgoing) => {
    if (!serve(incoming, outgoing)) void others(incoming, outgoing)
  }
  if (!tls) return createHttp(SOCKETS, onRequest)
  try {
    return createHttps({ ...SOCKETS, ...tls }, onRequest)
  } catch (error) {
    const message = `the TLS certificate and key cannot be used: ${errorText(error)}. Give both as PEM files that belong together`
    throw new UsageError('bad_certificate', message, { cause: error })
  }
}

async function closeServer(server: HttpServer): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  // A connection that was busy just now turns idle without being closed: look again until all are gone.
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS)
  const timer = setTimeout(() => server.closeAllConnections(), GRACE_MS)
  await closed.finally(() => {
    clearInterval(sweep)
    clearTimeout(timer)
  })
}
