import type { IncomingMessage } from 'node:http'
import type { BodyShare } from './body-budget.ts'
import { HttpError } from './http-error.ts'
import type { Call, HeaderReader } from './reply.ts'

export interface ReadLimits {
  readonly maxBytes: number
  /** What is read is taken from. */
  readonly share: BodyShare
}

/**
 * All of a call's body. Throws `HttpError`: 413 for more than `maxBytes`, without having read the rest; 415 for one that
 * is compressed; 400 for one that breaks off; 503 when there is no room for it.
 */
export async function readBytes(call: Call, header: HeaderReader, limits: ReadLimits): Promise<Uint8Array> {
  const encoding = header('content-encoding')
  if (encoding !== undefined && encoding !== 'identity') throw compressed(encoding)
  if (Number(header('content-length') ?? 0) > limits.maxBytes) throw tooLarge(limits.maxBytes)
  const incoming = call.env?.incoming
  const reading = new Reading(limits)
  if (incoming) await readIncoming(incoming, reading)
  else for await (const piece of call.req.raw.body ?? []) reading.add(piece)
  return reading.bytes()
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
    {
      cause,
    },
  )

/** A body as far as it has come. */
class Reading {
  readonly #limits: ReadLimits
  readonly #pieces: Uint8Array[] = []
  #length = 0

  constructor(limits: ReadLimits) {
    this.#limits = limits
  }

  add(piece: Uint8Array): void {
    const { maxBytes, share } = this.#limits
    this.#length += piece.byteLength
    if (this.#length > maxBytes) throw tooLarge(maxBytes)
    share.take(piece.byteLength)
    this.#pieces.push(piece)
  }

  /** A body of usual size comes in one piece, which is not copied. */
  bytes(): Uint8Array {
    const [first] = this.#pieces
    return first && this.#pieces.length === 1 ? first : Buffer.concat(this.#pieces)
  }
}

/** Straight from node's own request, which is quicker than its stream of the web. */
function readIncoming(incoming: IncomingMessage, reading: Reading): Promise<void> {
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
