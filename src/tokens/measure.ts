import { ASSUMED_IMAGE_SIZE, type ImageSizeOf, imageTokens, mostImageTokens, sizeOfImage } from './images.ts'
import { isObject, type JsonObject, listOf } from './json-value.ts'
import { priceRisk } from './price-risk.ts'
import { type Endpoint, type PromptPart, promptParts } from './prompt.ts'

export type { ImageSize } from './image-rules.ts'
export { ASSUMED_IMAGE_SIZE, type ImageSizeOf } from './images.ts'
export type { Endpoint } from './prompt.ts'

export interface MeasureFacts {
  readonly model: string
  /** UTF-8 bytes of the body's JSON text. */
  readonly bodyBytes: number
  /** Sizes of remote images; those of data URLs are read from the data. */
  readonly sizeOf?: ImageSizeOf | undefined
}

/** What a body costs at a glance. */
export interface BodyMeasure {
  /** `bodyBytes` without the URLs of images and the data in them. */
  readonly textBytes: number
  /** All images, by formula; one of unknown size counts as `ASSUMED_IMAGE_SIZE`. */
  readonly imageTokens: number
  /** Ceiling of the same; what is certain of an image is only what stands in the body. */
  readonly mostImageTokens: number
  /**
   * Ceiling of the prompt's tokens, unless `unbounded` says why there is none: a token has at least one byte, an image
   * whose size is not in the body costs the most that any can, and something on top for frames and declarations.
   */
  readonly mostInputTokens: number
  /** Images whose size had to be assumed. */
  readonly assumedImages: number
  /** What the body allows, times the number of choices; 0 for embeddings; undefined: the body sets no maximum. */
  readonly maxOutputTokens: number | undefined
  /** Why the prompt's tokens or their price cannot be bounded from the body, for people, naming the field. */
  readonly unbounded: string | undefined
}

/** Begin of the reply, headings of tools and schemas, and the short prompt that some servers add of themselves. */
const FIXED_ALLOWANCE = 128
/** The most that the frame of a message costs: 10 tokens, and its role and name, which are among the bytes. */
const PER_MESSAGE = 16
/** A value in a tool or schema can cost up to 4 tokens more than its bytes: `[1,2]` is written as `1 | 2`. */
const PER_SCHEMA_VALUE = 4

/**
 * Measures a body in microseconds: without tokenising or serialising anything, for each of a million requests.
 * Never throws for a body.
 */
export function measureBody(endpoint: Endpoint, body: JsonObject, facts: MeasureFacts): BodyMeasure {
  const seen = new Seen(facts)
  for (const part of promptParts(endpoint, body)) seen.add(part)
  const textBytes = Math.max(0, facts.bodyBytes - seen.imageBytes)
  const declarations = PER_SCHEMA_VALUE * schemaValues(body)
  return {
    textBytes,
    imageTokens: seen.imageTokens,
    mostImageTokens: seen.mostImageTokens,
    mostInputTokens:
      textBytes + seen.mostImageTokens + seen.messages * PER_MESSAGE + declarations + FIXED_ALLOWANCE,
    assumedImages: seen.assumedImages,
    maxOutputTokens: maxOutputTokens(endpoint, body),
    unbounded: seen.unknown ?? priceRisk(endpoint, body, facts.model),
  }
}

/** What the parts of a prompt add up to. */
class Seen {
  imageBytes = 0
  imageTokens = 0
  mostImageTokens = 0
  assumedImages = 0
  messages = 0
  unknown: string | undefined
  readonly #facts: MeasureFacts

  constructor(facts: MeasureFacts) {
    this.#facts = facts
  }

  add(part: PromptPart): void {
    if (part.kind === 'message') this.messages++
    else if (part.kind === 'image') this.#image(part.url, part.detail)
    else if (part.kind === 'unknown') this.unknown ??= part.why
  }

  /** What a remote image was when its header was read says nothing certain about what it is when the server reads it. */
  #image(url: string | undefined, detail: string | undefined): void {
    const { model, sizeOf } = this.#facts
    const size = url === undefined ? undefined : sizeOfImage(url, sizeOf)
    const certain = url?.startsWith('data:') ? size : undefined
    this.imageBytes += url === undefined ? 0 : urlBytes(url)
    this.imageTokens += imageTokens(model, detail, size ?? ASSUMED_IMAGE_SIZE)
    this.mostImageTokens += mostImageTokens(model, detail, certain)
    if (!size) this.assumedImages++
  }
}

/** A data URL is ASCII; counting the bytes of megabytes would take longer than all the rest. */
const urlBytes = (url: string): number => (url.startsWith('data:') ? url.length : Buffer.byteLength(url))

function maxOutputTokens(endpoint: Endpoint, body: JsonObject): number | undefined {
  if (endpoint === '/v1/embeddings') return 0
  if (endpoint === '/v1/responses') return wholeNumber(body.max_output_tokens)
  const most = wholeNumber(body.max_completion_tokens ?? body.max_tokens)
  return most === undefined ? undefined : Math.min(MOST_TOKENS, most * Math.max(1, wholeNumber(body.n) ?? 1))
}

/** More than any model writes; sums and products of it stay exact numbers. */
const MOST_TOKENS = 1_000_000_000

const wholeNumber = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0
    ? Math.min(MOST_TOKENS, Math.ceil(value))
    : undefined

/** How many JSON values the declarations of tools and of the answer's format hold. */
function schemaValues(body: JsonObject): number {
  const open: unknown[] = [body.tools, body.functions, body.response_format, body.text].filter(
    (value) => typeof value === 'object',
  )
  let count = 0
  while (open.length > 0) {
    const value = open.pop()
    count++
    const inner = isObject(value) ? Object.values(value) : listOf(value)
    for (const one of inner) open.push(one)
  }
  return count
}
