import { loadTokenCounter, type PromptTokens, type TokenCounter } from '../tokens/counter.ts'
import { type EncodingName, familyOf } from '../tokens/families.ts'
import type { ImageSizeOf } from '../tokens/measure.ts'
import { type Countable, parsedBody } from './countable.ts'

/**
 * Counts prompts exactly, by encodings that are loaded when a model first needs them: about 0.2 s and 60 MB for each of
 * the two there are, which runs without new requests do without.
 */
export class PromptCounts {
  readonly #sizeOf: ImageSizeOf | undefined
  readonly #loading = new Map<EncodingName, Promise<void>>()
  readonly #counters = new Map<EncodingName, TokenCounter>()

  constructor(sizeOf?: ImageSizeOf) {
    this.#sizeOf = sizeOf
  }

  load(model: string): Promise<void> {
    const encoding = encodingOf(model)
    const loading = this.#loading.get(encoding) ?? this.#load(encoding, model)
    this.#loading.set(encoding, loading)
    return loading
  }

  /**
   * Undefined while the encoding of the request's model is not loaded: by another one it can come out several times too
   * low, and ceilings rest on it.
   */
  count({ endpoint, model, bodyText }: Countable): PromptTokens | undefined {
    const counter = this.#counters.get(encodingOf(model))
    return counter?.count({ endpoint, model, body: parsedBody(bodyText), sizeOf: this.#sizeOf })
  }

  async #load(encoding: EncodingName, model: string): Promise<void> {
    this.#counters.set(encoding, await loadTokenCounter([model]))
  }
}

const encodingOf = (model: string): EncodingName => familyOf(model).family.encoding
