/**
 * Calls a server as fast as it answers, on connections that stay open, each with one call at a time; as often as its
 * parent says, each time by an `AcceptOrder`. It writes to sockets itself: a client of more comfort would cost more than
 * the servers that it measures.
 */
import { AnswerReader, CHAT_PATH, callText, connectTo } from '../raw-http.ts'
import { workOf } from '../workload.ts'

export interface AcceptOrder {
  readonly url: string
  readonly calls: number
  readonly connections: number
  /** Number of the first call: no two have the same body. */
  readonly first: number
}

const ACCEPTED = 202

/** The calls of one order, as far as they are made. */
class Calls {
  readonly #order: AcceptOrder
  readonly #host: string
  #made = 0

  constructor(order: AcceptOrder) {
    this.#order = order
    this.#host = new URL(order.url).host
  }

  /** Undefined: that were all. */
  next(): string | undefined {
    const { calls, first } = this.#order
    if (this.#made === calls) return undefined
    const { body } = workOf(first + this.#made++)
    return callText({ host: this.#host, path: CHAT_PATH, body: JSON.stringify(body) })
  }
}

/** Resolves with how many calls were accepted on this connection. */
async function callOn(url: string, calls: Calls): Promise<number> {
  const socket = await connectTo(url)
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const reader = new AnswerReader()
  let accepted = 0
  const send = (): void => {
    const call = calls.next()
    if (call !== undefined) socket.write(call)
    else socket.end(() => resolve(accepted))
  }
  const fail = (cause?: unknown): void =>
    reject(new Error(`${url} closed a connection after ${accepted} calls on it`, { cause }))
  socket.on('error', fail).on('close', () => fail())
  socket.on('data', (piece) => {
    const answer = reader.add(piece)
    if (!answer) return
    if (answer.status === ACCEPTED) accepted++
    send()
  })
  send()
  return await promise
}

async function callAll(order: AcceptOrder) {
  const calls = new Calls(order)
  const startedAt = performance.now()
  const counts = await Promise.all(Array.from({ length: order.connections }, () => callOn(order.url, calls)))
  return {
    accepted: counts.reduce((sum, one) => sum + one, 0),
    wallSeconds: (performance.now() - startedAt) / 1000,
  }
}

process.on('message', (order: AcceptOrder) => void callAll(order).then((done) => process.send?.(done)))
