import { ApiError } from './api-error.ts'

export type MultipartEvent =
  | { readonly kind: 'part'; readonly name: string; readonly filename: string | undefined }
  | { readonly kind: 'data'; readonly bytes: Uint8Array }

const HEAD_END = '\r\n\r\n'
const MAX_HEAD_BYTES = 16 * 1024

type Position = 'before' | 'content' | 'delimiter' | 'head' | 'end'

/**
 * Reads a `multipart/form-data` body as it arrives: a `part` event for each field, then its content in pieces.
 * Nothing but the last few bytes is held back, so a file of any size passes through. Throws `ApiError` (400) for
 * a body that is malformed or ends early.
 */
export async function* multipartEvents(
  body: AsyncIterable<Uint8Array>,
  contentType: string,
): AsyncGenerator<MultipartEvent> {
  const parser = new MultipartParser(boundaryOf(contentType))
  for await (const chunk of body) yield* parser.feed(chunk)
  if (!parser.complete) throw malformed('it ends before its closing boundary')
}

class MultipartParser {
  readonly #delimiter: Buffer
  // The first delimiter may stand at the very beginning, without the line end that precedes the others.
  #rest: Buffer = Buffer.from('\r\n')
  #position: Position = 'before'

  constructor(boundary: string) {
    this.#delimiter = Buffer.from(`\r\n--${boundary}`)
  }

  get complete(): boolean {
    return this.#position === 'end'
  }

  *feed(chunk: Uint8Array): Generator<MultipartEvent> {
    this.#rest = Buffer.concat([this.#rest, chunk])
    while (this.#position !== 'end') {
      const before = this.#position
      if (before === 'before' || before === 'content') yield* this.#readContent()
      else if (before === 'delimiter') this.#readDelimiterEnd()
      else yield* this.#readHead()
      if (this.#position === before) return
    }
  }

  *#readContent(): Generator<MultipartEvent> {
    const at = this.#rest.indexOf(this.#delimiter)
    const end = at < 0 ? Math.max(0, this.#rest.length - this.#delimiter.length) : at
    const bytes = this.#rest.subarray(0, end)
    if (this.#position === 'content' && bytes.length > 0) yield { kind: 'data', bytes }
    this.#rest = this.#rest.subarray(at < 0 ? end : at + this.#delimiter.length)
    if (at >= 0) this.#position = 'delimiter'
  }

  /** A delimiter is followed by `--` (the body ends) or by a line end (another part follows). */
  #readDelimiterEnd(): void {
    if (this.#rest.length < 2) return
    const tail = this.#rest.toString('latin1', 0, 2)
    if (tail !== '--' && tail !== '\r\n') throw malformed('a boundary is followed by other text')
    this.#position = tail === '--' ? 'end' : 'head'
  }

  *#readHead(): Generator<MultipartEvent> {
    const end = this.#rest.indexOf(HEAD_END)
    if (end < 0 && this.#rest.length > MAX_HEAD_BYTES) throw malformed('the head of a part has no end')
    if (end < 0) return
    const head = this.#rest.toString('utf8', 0, end)
    this.#rest = this.#rest.subarray(end + HEAD_END.length)
    this.#position = 'content'
    yield partOf(head)
  }
}

function partOf(head: string): MultipartEvent {
  const disposition = /^content-disposition:(.*)$/im.exec(head)?.[1] ?? ''
  const name = /[;\s]name="([^"]*)"/i.exec(disposition)?.[1] ?? /[;\s]name=([^";\s]+)/i.exec(disposition)?.[1]
  if (name === undefined) throw malformed('a part has no name')
  return { kind: 'part', name: unescapeName(name), filename: filenameOf(disposition) }
}

function filenameOf(disposition: string): string | undefined {
  const extended = /filename\*=utf-8''([^;\s]+)/i.exec(disposition)?.[1]
  if (extended !== undefined) return decodePercent(extended)
  const quoted = /[;\s]filename="((?:[^"\\]|\\.)*)"/i.exec(disposition)?.[1]
  const plain = quoted?.replaceAll(/\\(.)/g, '$1') ?? /[;\s]filename=([^";\s]+)/i.exec(disposition)?.[1]
  return plain === undefined ? undefined : unescapeName(plain)
}

/** Browsers and `fetch` escape just these three characters. */
const unescapeName = (text: string): string =>
  text.replaceAll(/%22/g, '"').replaceAll(/%0d/gi, '\r').replaceAll(/%0a/gi, '\n')

function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    throw malformed('a file name is not percent-encoded UTF-8', error)
  }
}

function boundaryOf(contentType: string): string {
  const match = /^multipart\/form-data\s*;.*?boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType)
  const boundary = match?.[1] ?? match?.[2]
  if (boundary === undefined) {
    throw new ApiError(400, `We expect multipart/form-data with a boundary, but got '${contentType}'.`)
  }
  return boundary
}

const malformed = (why: string, cause?: unknown): ApiError =>
  new ApiError(400, `The multipart body could not be read: ${why}.`, { cause })
