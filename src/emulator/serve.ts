import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import {
  createAdaptorServer,
  type Http2Bindings,
  type HttpBindings,
  type ServerType,
} from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { errorText, UsageError } from '../errors.ts'
import { BrokenResponse } from './connection-lost.ts'
import type { Emulator } from './create-emulator.ts'

export interface ServeOptions {
  /** @default '127.0.0.1' */
  readonly host?: string
  /** 0 takes any free port. */
  readonly port: number
}

export interface ServedEmulator {
  /** Without a path: the API is at `${url}/v1`. */
  readonly url: string
  readonly port: number
  /** Takes no more connections and resolves when those open are done, or after five seconds. Leaves the emulator open. */
  close(): Promise<void>
}

const GRACE_MS = 5000
const SWEEP_MS = 50

/** Listens for HTTP. Throws `UsageError` when the address cannot be listened on. */
export async function serveEmulator(
  emulator: Pick<Emulator, 'app'>,
  { host = '127.0.0.1', port }: ServeOptions,
): Promise<ServedEmulator> {
  const server = createAdaptorServer({
    fetch: async (request, bindings) => {
      try {
        const response = await emulator.app.fetch(request)
        return response instanceof BrokenResponse ? breaking(response, bindings) : response
      } catch {
        // Only an interceptor or a scenario throws this far, and it means a connection that breaks.
        bindings.incoming.socket.destroy()
        return RESPONSE_ALREADY_SENT
      }
    },
  })
  server.listen(port, host)
  await once(server, 'listening').catch((error: unknown) => {
    const message = `cannot listen on ${host}:${port}: ${errorText(error)}. Choose another port or host`
    throw new UsageError('cannot_listen', message, { cause: error })
  })
  const address = addressOf(server)
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return { url: `http://${name}:${address.port}`, port: address.port, close: () => closeServer(server) }
}

/** The same response, of which all arrives that there is before the connection breaks. */
function breaking(response: BrokenResponse, { incoming, outgoing }: HttpBindings | Http2Bindings): Response {
  const reader = response.body?.getReader()
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      try {
        const next = await reader?.read()
        if (next?.value) controller.enqueue(next.value)
        else controller.close()
      } catch {
        while (!outgoing.headersSent && !incoming.socket.destroyed) await turn()
        incoming.socket.destroySoon()
        // The body must not come to an end: what is read of it now would pass for a whole one.
        await new Promise(() => undefined)
      }
    },
  })
  return new Response(body, response)
}

function addressOf(server: ServerType): AddressInfo {
  const address = server.address()
  if (address === null || typeof address === 'string') {
    throw new UsageError(
      'cannot_listen',
      `the server listens on ${String(address)}, which is no host and port`,
    )
  }
  return address
}

async function closeServer(server: ServerType): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  if (!('closeAllConnections' in server)) return void (await closed)
  // A connection that was busy just now turns idle without being closed: look again until all are gone.
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS)
  const timer = setTimeout(() => server.closeAllConnections(), GRACE_MS)
  await closed.finally(() => {
    clearInterval(sweep)
    clearTimeout(timer)
  })
}
