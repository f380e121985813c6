import type { Call } from './reply.ts'

/** The way back to whoever calls. */
export interface ClientLine {
  readonly isGone: boolean
  /** Hears when the caller goes away; also, to no effect, when it has its answer. */
  onGone(act: () => void): void
  /** Hears when all of the answer is on its way; never, when the caller was gone before. */
  onSent(act: () => void): void
}

export function lineOf(call: Call): ClientLine {
  const { incoming, outgoing } = call.env ?? {}
  if (!incoming || !outgoing) return lineOfSignal(call)
  const { socket } = incoming
  return {
    get isGone() {
      return socket.destroyed
    },
    onGone: (act) => void outgoing.once('close', act),
    // Node says `finish` of what was cut off, too, when the caller closed the connection in good order.
    onSent: (act) =>
      void outgoing.once('finish', () => {
        if (!socket.destroyed) act()
      }),
  }
}

/** Without a socket: what is handed over has arrived. */
function lineOfSignal(call: Call): ClientLine {
  const { signal } = call.req.raw
  return {
    get isGone() {
      return signal.aborted
    },
    onGone: (act) => signal.addEventListener('abort', act, { once: true }),
    onSent: (act) => queueMicrotask(act),
  }
}
