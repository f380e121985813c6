/**
 * Calls a server as fast as it answers, on connections that stay open, each with one call at a time. Argument: JSON, see
 * `AcceptOrder`. It writes to sockets itself: a client of more comfort would cost more than the servers that it measures.
 */
import { measure } from '../measured.ts'
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

const { url, calls, connections, first }: AcceptOrder = JSON.parse(process.argv[2] ?? '')
const { host } = new URL(url)
let next = first

const nextCall = (): string | undefined =>
  next < first + calls
    ? callText({ host, path: CHAT_PATH, body: JSON.stringify(workOf(next++).body) })
    : undefined

/** Resolves with how many calls were accepted on this connection. */
async function callOn(): Promise<number> {
  const socket = await connectTo(url)
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const reader = new AnswerReader()
  let accepted = 0
  const send = (): void => {
    const call = nextCall()
    if (call !== undefined) socket.write(call)
    else socket.end(() => resolve(accepted))
  }
  socket.on('error', reject).on('close', () => reject(new Error('the server closed a connection')))
  socket.on('data', (piece) => {
    const answer = reader.add(piece)
    if (!answer) return
    if (answer.status === ACCEPTED) accepted++
    send()
  })
  send()
  return await promise
}

await measure(async () => {
  const accepted = await Promise.all(Array.from({ length: connections }, callOn))
  return accepted.reduce((sum, one) => sum + one, 0)
})
