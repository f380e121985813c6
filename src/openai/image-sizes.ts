import pLimit from 'p-limit'
import { imageSizeOfBytes, imageSizeOfDataUrl } from '../tokens/data-url.ts'
import type { ImageSize } from '../tokens/image-rules.ts'
import type { ImageSizeOf } from '../tokens/images.ts'
import type { Fetch } from '../util/fetch.ts'
import { Deadline } from './deadline.ts'

export interface ImageSizesOptions {
  /** Sends the requests; it must obey `signal` and `redirect: 'manual'`. Default: the global `fetch`. */
  readonly fetch?: Fetch | undefined
  /** How long one image may take, redirects included, in milliseconds. Default: 10,000. */
  readonly timeoutMs?: number | undefined
  /** How many images are asked for at once. Default: 8. */
  readonly concurrency?: number | undefined
  /** How many sizes are kept, those used last. Default: 10,000. */
  readonly maxKept?: number | undefined
}

/**
 * Sizes of images by their URL. Fetches whatever http or https address it is given, from this machine: only for URLs of
 * the user's own requests.
 */
export interface ImageSizes {
  /**
   * Learns the sizes of those remote images that were not asked for yet, from the first 64 KB of each. An image that
   * does not answer in time, or with something else, is not known and not asked for again. Never throws for an image.
   */
  load(urls: Iterable<string>): Promise<void>
  /** Data URLs are read in place; a remote image is known once it is loaded. */
  readonly sizeOf: ImageSizeOf
}

const HEADER_BYTES = 64 * 1024
const MAX_REDIRECTS = 5

/** Sends nothing until `load` is called. */
export function createImageSizes(options: ImageSizesOptions = {}): ImageSizes {
  const { timeoutMs = 10_000, concurrency = 8, maxKept = 10_000 } = options
  const send: Fetch = options.fetch ?? ((input, init) => fetch(input, init))
  const limit = pLimit(concurrency)
  const known = new SizeCache(maxKept)
  const underWay = new Map<string, Promise<void>>()
  const learn = async (url: string): Promise<void> => {
    known.set(url, await remoteSize(url, send, timeoutMs))
    underWay.delete(url)
  }
  const ask = (url: string): Promise<void> => {
    const asked = underWay.get(url) ?? limit(learn, url)
    underWay.set(url, asked)
    return asked
  }
  return {
    load: async (urls) => {
      const wanted = [...new Set(urls)].filter((url) => isRemote(url) && !known.has(url))
      await Promise.all(wanted.map(ask))
    },
    sizeOf: (url) => (url.startsWith('data:') ? imageSizeOfDataUrl(url) : known.get(url)),
  }
}

const isRemote = (url: string): boolean => /^https?:$/.test(URL.parse(url)?.protocol ?? '')

/** Whatever goes wrong on the way means that the size is not known: it is only an estimate that suffers. */
async function remoteSize(url: string, send: Fetch, timeoutMs: number): Promise<ImageSize | undefined> {
  const done = new AbortController()
  using deadline = new Deadline(timeoutMs, done.signal)
  deadline.restart()
  try {
    const response = await follow(url, send, deadline.signal)
    return response?.ok ? imageSizeOfBytes(await firstBytes(response)) : undefined
  } catch {
    return undefined
  } finally {
    // Lets go of the connection, on which a server that ignores ranges may still be sending.
    done.abort()
  }
}

/** Follows redirects by hand, so that none leads from the web to another scheme. */
async function follow(url: string, send: Fetch, signal: AbortSignal): Promise<Response | undefined> {
  const headers = { accept: 'image/*', range: `bytes=0-${HEADER_BYTES - 1}` }
  let place = url
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    const response = await send(place, { headers, signal, redirect: 'manual' })
    const next = redirectOf(response, place)
    if (next === undefined) return response
    await response.body?.cancel()
    if (!isRemote(next)) return undefined
    place = next
  }
  return undefined
}

function redirectOf(response: Response, place: string): string | undefined {
  const location = response.headers.get('location')
  const isRedirect = response.status >= 300 && response.status < 400 && location !== null
  return isRedirect ? new URL(location, place).href : undefined
}

/** At most `HEADER_BYTES`, however much the server sends. */
async function firstBytes(response: Response): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of response.body ?? []) {
    pieces.push(piece)
    length += piece.length
    if (length >= HEADER_BYTES) break
  }
  return Buffer.concat(pieces, Math.min(length, HEADER_BYTES))
}

/** Keeps the sizes that were used last; an image whose size is not known has its place too. */
class SizeCache {
  readonly #limit: number
  // A Map iterates in insertion order: the entry used longest ago comes first.
  readonly #sizes = new Map<string, ImageSize | undefined>()

  constructor(limit: number) {
    this.#limit = limit
  }

  has(url: string): boolean {
    return this.#sizes.has(url)
  }

  get(url: string): ImageSize | undefined {
    const size = this.#sizes.get(url)
    if (size) this.set(url, size)
    return size
  }

  set(url: string, size: ImageSize | undefined): void {
    this.#sizes.delete(url)
    this.#sizes.set(url, size)
    for (const oldest of this.#sizes.keys()) {
      if (this.#sizes.size <= this.#limit) return
      this.#sizes.delete(oldest)
    }
  }
}
