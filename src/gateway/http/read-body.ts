import type { IncomingMessage } from 'node:http'
import { HttpError } from './http-error.ts'
import type { Call, HeaderReader } from './reply.ts'

/**
 * All of a call's body. Throws `HttpError`: 413 for more than `maxBytes`, without having read the rest; 415 for one that
 * is compressed; 400 for one that breaks off.
 */
export async function readBytes(call: Call, header: HeaderReader, maxBytes: number): Promise<Uint8Array> {
  const encoding = header('content-encoding')
  if (encoding !== undefined && encoding !== 'identity') throw compressed(encoding)
  if (Number(header('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes)
  const incoming = call.env?.incoming
  return incoming ? readIncoming(incoming, maxBytes) : readStream(call.req.raw.body, maxBytes)
}

const compressed = (encoding: string): HttpError =>
  new HttpError(
    415,
    'unsupported_encoding',
    `Bodies are not taken in content encoding '${encoding}': send it as it is.`,
  )

/** What is still on its way is not waited for. */
export const tooLarge = (maxBytes: number): HttpError =>
  new HttpError(
    413,
    'request_too_large',
    `The body of the request has more than the ${maxBytes} bytes that are allowed.`,
    {
      headers: { connection: 'close' },
    },
  )

const brokenOff = (cause: unknown): HttpError =>
  new HttpError(
    400,
    'incomplete_body',
    'The connection broke off before the body of the request was there.',
    { cause },
  )

/** Straight from node's request: a body of usual size comes in one piece, which is not copied. */
function readIncoming(incoming: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const pieces: Uint8Array[] = []
    let bytes = 0
    const settle = (act: () => void): void => {
      incoming.off('data', onData).off('end', onEnd).off('error', onBreak).off('close', onBreak)
      act()
    }
    const onData = (piece: Uint8Array): void => {
      pieces.push(piece)
      bytes += piece.byteLength
      if (bytes > maxBytes) settle(() => reject(tooLarge(maxBytes)))
    }
    const onEnd = (): void => settle(() => resolve(joined(pieces)))
    const onBreak = (error?: unknown): void => settle(() => reject(brokenOff(error)))
    incoming.on('data', onData).on('end', onEnd).on('error', onBreak).on('close', onBreak)
    if (incoming.destroyed && !incoming.readableEnded) onBreak(incoming.errored)
  })
}

async function readStream(body: ReadableStream<Uint8Array> | null, maxBytes: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of body ?? []) {
    pieces.push(piece)
    bytes += piece.byteLength
    if (bytes > maxBytes) throw tooLarge(maxBytes)
  }
  return joined(pieces)
}

const joined = ([first, ...others]: readonly Uint8Array[]): Uint8Array =>
  first && others.length === 0 ? first : Buffer.concat(first ? [first, ...others] : [])
