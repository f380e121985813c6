import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Asked } from './asked.ts'
import { type BodyReading, brokenOff } from './body-reading.ts'
import type { Reply } from './reply.ts'

/**
 * A call by node's own request and response. The web's forms of these, and what an app keeps beside them, are twice as
 * much to keep while a call is held.
 */
export class SocketCall implements Asked {
  readonly #incoming: IncomingMessage
  readonly #outgoing: ServerResponse
  readonly path: string

  /** `path`: as it was understood, without host and query. */
  constructor(incoming: IncomingMessage, outgoing: ServerResponse, path: string) {
    this.#incoming = incoming
    this.#outgoing = outgoing
    this.path = path
  }

  readonly header = (name: string): string | undefined => {
    const value = this.#incoming.headers[name]
    return typeof value === 'string' ? value : value?.join(', ')
  }

  get isGone(): boolean {
    return this.#incoming.socket.destroyed
  }

  read(reading: BodyReading): Promise<void> {
    const incoming = this.#incoming
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        incoming.off('data', onData).off('end', onEnd).off('error', onBreak).off('close', onBreak)
        act()
      }
      const onData = (piece: Uint8Array): void => {
        try {
          reading.add(piece)
        } catch (error) {
          settle(() => reject(error))
        }
      }
      const onEnd = (): void => settle(resolve)
      const onBreak = (error?: unknown): void => settle(() => reject(brokenOff(error)))
      incoming.on('data', onData).on('end', onEnd).on('error', onBreak).on('close', onBreak)
      if (incoming.destroyed && !incoming.readableEnded) onBreak(incoming.errored)
    })
  }

  dropHeaders(): void {
    this.#incoming.headers = {}
    this.#incoming.rawHeaders = []
  }

  onGone(act: () => void): void {
    this.#outgoing.once('close', act)
    // Of calls on one connection only the first has it; node before version 24 does not tell the others of its end.
    if (!this.#outgoing.socket) this.#incoming.socket.once('close', act)
  }

  /** Node before version 24 says `finish` of what was cut off, too. */
  onSent(act: () => void): void {
    this.#outgoing.once('finish', () => {
      if (!this.isGone) act()
    })
  }

  /** What cannot be sent any more is nobody's. Throws for headers that no header can be. */
  async send({ status, headers, body }: Reply): Promise<void> {
    const outgoing = this.#outgoing
    if (!this.#incoming.readableEnded) drain(this.#incoming)
    if (body !== null && typeof body !== 'string') {
      outgoing.writeHead(status, headers)
      outgoing.flushHeaders()
      await pump(body, outgoing)
      return
    }
    outgoing.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body ?? '') })
    outgoing.end(body)
  }
}

/** Writes a stream as fast as it is taken; it is cancelled when its caller goes away. */
async function pump(body: ReadableStream<Uint8Array>, outgoing: ServerResponse): Promise<void> {
  const reader = body.getReader()
  const cancel = (): void => void reader.cancel().catch(() => undefined)
  outgoing.once('close', cancel)
  outgoing.on('error', cancel)
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read())
      if (!outgoing.write(piece.value)) await drained(outgoing)
    outgoing.end()
  } catch {
    // What is missing must be seen to be missing.
    outgoing.destroy()
  }
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      outgoing.off('drain', settle).off('close', settle)
      resolve()
    }
    outgoing.on('drain', settle).on('close', settle)
    if (outgoing.destroyed) settle()
  })
}

const MOST_DRAINED = 64 * 1024 * 1024
const DRAIN_MS = 2000

/** Lets a client that is refused send on for a while: many hear no answer before they have sent all. */
function drain(incoming: IncomingMessage): void {
  let bytes = 0
  const giveUp = (): void => void incoming.socket.destroySoon()
  const timer = setTimeout(giveUp, DRAIN_MS)
  timer.unref()
  incoming.on('data', (piece: Uint8Array) => {
    bytes += piece.byteLength
    if (bytes > MOST_DRAINED) giveUp()
  })
  incoming.once('end', () => clearTimeout(timer))
  incoming.once('close', () => clearTimeout(timer))
  incoming.resume()
}
