import type { Asked } from './asked.ts'
import { type BodyReading, brokenOff } from './body-reading.ts'
import { type Call, type HeaderReader, headersOf } from './reply.ts'
import { SocketCall } from './socket-call.ts'

/** A call of the app: what it knows of its socket, where it has one. */
export function askedOf(call: Call): Asked {
  const { incoming, outgoing } = call.env ?? {}
  return incoming && outgoing ? new SocketCall(incoming, outgoing, call.req.path) : new AppCall(call)
}

/** A call without a socket: what is handed over has arrived. */
class AppCall implements Asked {
  readonly path: string
  readonly header: HeaderReader
  readonly #request: Request

  constructor(call: Call) {
    this.path = call.req.path
    this.header = headersOf(call)
    this.#request = call.req.raw
  }

  get isGone(): boolean {
    return this.#request.signal.aborted
  }

  async read(reading: BodyReading): Promise<void> {
    const reader = this.#request.body?.getReader()
    const next = async () => {
      try {
        return await reader?.read()
      } catch (error) {
        throw brokenOff(error)
      }
    }
    for (let piece = await next(); piece?.value; piece = await next()) reading.add(piece.value)
  }

  dropHeaders(): void {
    // They are the caller's own.
  }

  onGone(act: () => void): void {
    this.#request.signal.addEventListener('abort', act, { once: true })
  }

  onSent(act: () => void): void {
    queueMicrotask(act)
  }
}
