import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export const CHAT_PATH = '/v1/chat/completions'

export interface RawCall {
  readonly host: string
  readonly path: string
  readonly body: string
  /** Besides those that every call needs. */
  readonly headers?: Readonly<Record<string, string>>
}

/** A POST of JSON as it goes over the wire. */
export function callText({ host, path, body, headers = {} }: RawCall): string {
  const lines = Object.entries({
    host,
    authorization: 'Bearer sk-bench',
    ...headers,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  }).map(([name, value]) => `${name}: ${value}`)
  return `POST ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body}`
}

/** An open connection. Rejects when there is none to be had. */
export async function connectTo(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true })
  await once(socket, 'connect')
  return socket
}

export interface RawAnswer {
  readonly status: number
  readonly body: string
}

const HEAD_END = '\r\n\r\n'
const STATUS_AT = 'HTTP/1.1 '.length

/** Reads the answers of one connection, on which one call at a time is under way. */
export class AnswerReader {
  #bytes: Buffer = Buffer.alloc(0)

  /** The answer, once all of it is there. Throws for one whose length is not told. */
  add(piece: Buffer): RawAnswer | undefined {
    this.#bytes = this.#bytes.length === 0 ? piece : Buffer.concat([this.#bytes, piece])
    const headEnd = this.#bytes.indexOf(HEAD_END)
    if (headEnd === -1) return undefined
    const head = this.#bytes.toString('latin1', 0, headEnd)
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1]
    if (length === undefined) throw new Error(`the length of an answer is not told: ${head}`)
    const bodyAt = headEnd + HEAD_END.length
    if (this.#bytes.length < bodyAt + Number(length)) return undefined
    const answer = {
      status: Number(head.slice(STATUS_AT, STATUS_AT + 3)),
      body: this.#bytes.toString('utf8', bodyAt),
    }
    this.#bytes = Buffer.alloc(0)
    return answer
  }
}
