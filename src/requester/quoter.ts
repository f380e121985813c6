import { customId } from '../batch/custom-id.ts'
import { inputsOf } from '../batch/embedding-inputs.ts'
import { wireLine } from '../batch/wire-line.ts'
import type { PreparedRequest } from './queue.ts'
import type { QuotedModel } from './quote.ts'
import { QuoteGroup } from './quote-group.ts'
import type { Valuer } from './valuer.ts'

/** Requests are valued in groups of this size, as they are when they are added. */
const CHUNK_REQUESTS = 500
const CHUNK_BYTES = 1_000_000
/** So much text is counted to the last token, which takes some 20 s; of more, only every so manieth request. */
const ALL_COUNTED_BYTES = 64_000_000
/** Assumed images are counted by themselves. */
const IMAGE_NOTE = /^an image of unknown size/
/** With each so much more that was counted, the requests that are counted stand four times as far apart. */
const SPARSER_AFTER_BYTES = 8_000_000
const SPARSER_BY = 4

export interface QuoterOptions {
  readonly valuer: Valuer
  /** Count prompts with the tokenizer, too. */
  readonly counts: boolean
  /** Learns what has to be known of some requests before they are measured, such as the sizes of their images. */
  readonly prepare?: ((requests: readonly PreparedRequest[]) => Promise<void>) | undefined
  /** Called after each group of requests. */
  readonly onChunk?: (() => Promise<void>) | undefined
}

/** Adds up what requests would take, without sending or keeping them. Takes them by `add`, then `finish` once. */
export class Quoter {
  readonly #options: QuoterOptions
  readonly #groups = new Map<string, QuoteGroup>()
  #chunk: PreparedRequest[] = []
  #chunkBytes = 0
  readonly #choice = new CountChoice()
  readonly #notes = new Set<string>()
  #assumedImages = 0
  #unlimited = 0

  constructor(options: QuoterOptions) {
    this.#options = options
  }

  /** Throws TaskError for a request without a known price, or under a hard cap without a known ceiling. */
  async add(request: PreparedRequest): Promise<void> {
    this.#chunk.push(request)
    this.#chunkBytes += request.bodyText.length
    if (this.#chunk.length >= CHUNK_REQUESTS || this.#chunkBytes >= CHUNK_BYTES) await this.#takeChunk()
  }

  async finish(): Promise<void> {
    await this.#takeChunk()
    for (const group of this.#groups.values()) group.close(this.#options.valuer.sealing)
  }

  get groups(): readonly QuoteGroup[] {
    return [...this.#groups.values()]
  }

  get models(): readonly QuotedModel[] {
    return this.groups.map(({ quoted }) => quoted)
  }

  /** Images that were taken to be of a usual size. */
  get assumedImages(): number {
    return this.#assumedImages
  }

  /** What the count had to assume, and what it leaves out, in words. */
  get notes(): readonly string[] {
    return [...this.#notes]
  }

  /** Requests without a maximum of output tokens. */
  get unlimited(): number {
    return this.#unlimited
  }

  /** The most that all can cost in nano-USD, each sent as it would be; undefined when nobody knows. */
  get mostNanoUsd(): number | undefined {
    let most = 0
    for (const { model, forecasts } of this.groups) {
      for (const api of ['batch', 'direct'] as const) {
        const cost = this.#options.valuer.mostNanoUsd(forecasts[api], model, api)
        if (cost === undefined) return undefined
        most += cost
      }
    }
    return most
  }

  async #takeChunk(): Promise<void> {
    const { valuer, prepare, onChunk } = this.#options
    const chunk = this.#chunk
    this.#chunk = []
    this.#chunkBytes = 0
    if (chunk.length === 0) return
    await prepare?.(chunk)
    const measured = chunk.map((request) => valuer.measured(request))
    for (const request of measured) valuer.check(request)
    await valuer.sample(measured)
    for (const request of measured) await this.#take(request)
    await onChunk?.()
  }

  async #take(request: PreparedRequest): Promise<void> {
    const { valuer } = this.#options
    const { endpoint, bodyText } = request
    const tokens = valuer.forecast(request)
    const { textBytes, assumedImages, maxOutputTokens } = valuer.measure(request)
    const text = wireLine(customId(1, 0), endpoint, bodyText)
    const group = this.#groupOf(request, text)
    const isUnlimited = maxOutputTokens === undefined
    const line = {
      bytes: Buffer.byteLength(text) + 1,
      inputs: inputsOf(endpoint, bodyText),
      tokens,
      textBytes,
    }
    const counted = await this.#count(request, textBytes)
    group.add({ ...line, counted, isUnlimited }, valuer.sealing)
    this.#assumedImages += assumedImages
    if (isUnlimited) this.#unlimited++
  }

  async #count(request: PreparedRequest, textBytes: number): Promise<number | undefined> {
    const { valuer, counts } = this.#options
    if (!counts || !this.#choice.takes(textBytes)) return undefined
    await valuer.load(request.model)
    const counted = valuer.counted(request)
    for (const note of counted?.assumptions ?? []) if (!IMAGE_NOTE.test(note)) this.#notes.add(note)
    return counted?.total
  }

  #groupOf({ endpoint, model }: PreparedRequest, example: string): QuoteGroup {
    const id = `${endpoint} ${model}`
    const known = this.#groups.get(id)
    if (known) return known
    const { valuer } = this.#options
    const cards = { batch: valuer.card(model, 'batch'), direct: valuer.card(model, 'direct') }
    const group = new QuoteGroup({ endpoint, model }, cards, example)
    this.#groups.set(id, group)
    return group
  }
}

/** Which requests are counted: all at first, then fewer and fewer. */
class CountChoice {
  #counted = 0
  #stride = 1
  #next = ALL_COUNTED_BYTES
  #passed = 0

  takes(bytes: number): boolean {
    if (++this.#passed % this.#stride !== 0) return false
    this.#counted += bytes
    if (this.#counted >= this.#next) {
      this.#stride *= SPARSER_BY
      this.#next += SPARSER_AFTER_BYTES
    }
    return true
  }
}
