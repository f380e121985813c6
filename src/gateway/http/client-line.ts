import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Call } from './reply.ts'

/** The way back to whoever calls. */
export interface ClientLine {
  readonly isGone: boolean
  /** Headers are not read any more: nobody has to keep them while the call is held. */
  dropHeaders(): void
  /** Hears when the caller goes away; also, to no effect, when it has its answer. */
  onGone(act: () => void): void
  /** Hears when all of the answer is on its way; never, when the caller was gone before. */
  onSent(act: () => void): void
}

export function lineOf({ env, req }: Call): ClientLine {
  const { incoming, outgoing } = env ?? {}
  return incoming && outgoing ? new SocketLine(incoming, outgoing) : new SignalLine(req.raw.signal)
}

class SocketLine implements ClientLine {
  readonly #incoming: IncomingMessage
  readonly #outgoing: ServerResponse

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    this.#incoming = incoming
    this.#outgoing = outgoing
  }

  get isGone(): boolean {
    return this.#incoming.socket.destroyed
  }

  dropHeaders(): void {
    this.#incoming.headers = {}
    this.#incoming.rawHeaders = []
  }

  onGone(act: () => void): void {
    this.#outgoing.once('close', act)
  }

  /** Node before version 24 says `finish` of what was cut off, too. */
  onSent(act: () => void): void {
    this.#outgoing.once('finish', () => {
      if (!this.isGone) act()
    })
  }
}

/** Without a socket: what is handed over has arrived. */
class SignalLine implements ClientLine {
  readonly #signal: AbortSignal

  constructor(signal: AbortSignal) {
    this.#signal = signal
  }

  get isGone(): boolean {
    return this.#signal.aborted
  }

  dropHeaders(): void {
    // They are the caller's own.
  }

  onGone(act: () => void): void {
    this.#signal.addEventListener('abort', act, { once: true })
  }

  onSent(act: () => void): void {
    queueMicrotask(act)
  }
}
