import type { BodyShare } from './body-budget.ts'
import { HttpError } from './http-error.ts'
import type { HeaderReader } from './reply.ts'

export interface ReadLimits {
  readonly maxBytes: number
  /** What is read is taken from. */
  readonly share: BodyShare
}

/** A body as far as it has come. */
export class BodyReading {
  readonly #limits: ReadLimits
  readonly #pieces: Uint8Array[] = []
  #length = 0

  constructor(limits: ReadLimits) {
    this.#limits = limits
  }

  /** Throws `HttpError`: 413 for more than is allowed, 503 when there is no room for it. */
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

/** Throws `HttpError` for a body that is not worth reading: 415 for one that is compressed, 413 for one that is too large. */
export function checkBodyHeaders(header: HeaderReader, maxBytes: number): void {
  const encoding = header('content-encoding')
  if (encoding !== undefined && encoding !== 'identity') throw compressed(encoding)
  if (Number(header('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes)
}

const compressed = (encoding: string): HttpError =>
  new HttpError(
    415,
    'unsupported_encoding',
    `Bodies are not taken in content encoding '${encoding}': send it as it is.`,
  )

export const tooLarge = (maxBytes: number): HttpError =>
  new HttpError(
    413,
    'request_too_large',
    `The body of the request has more than the ${maxBytes} bytes that are allowed.`,
  )

export const brokenOff = (cause: unknown): HttpError =>
  new HttpError(
    400,
    'incomplete_body',
    'The connection broke off before the body of the request was there.',
    {
      cause,
    },
  )
