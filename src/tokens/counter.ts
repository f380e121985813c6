import { assertNever } from '../util/exhaustive.ts'
import { ENCODINGS, loadEncoding } from './encodings.ts'
import { type EncodingName, familyOf, type ModelFamily } from './families.ts'
import { ASSUMED_IMAGE_SIZE, type ImageSizeOf, imageTokens, sizeOfImage } from './images.ts'
import type { JsonObject } from './json-value.ts'
import { type Endpoint, type FunctionText, type PromptPart, promptParts } from './prompt.ts'
import { type CountText, functionTokens } from './schema-tokens.ts'

/** Prompt tokens of one request; `total` is the sum of the parts. */
export interface PromptTokens {
  readonly total: number
  /** Contents of messages, calls of tools, inputs of embeddings. */
  readonly text: number
  readonly images: number
  /** Descriptions of tools. */
  readonly tools: number
  /** The JSON schema of the answer. */
  readonly format: number
  /** What frames the messages and begins the reply. */
  readonly fixed: number
  /** What had to be assumed and what is left out, in words: `model x is unknown: counted as gpt-6`. */
  readonly assumptions: readonly string[]
}

export interface CountQuery {
  readonly endpoint: Endpoint
  readonly model: string
  readonly body: JsonObject
  /** Sizes of remote images; those of data URLs are read from the data. */
  readonly sizeOf?: ImageSizeOf | undefined
}

export interface TokenCounter {
  /** As exact as the formulas that are known: about 0.3 ms for each KB of text. Never throws for a body. */
  count(query: CountQuery): PromptTokens
}

type Encodings = ReadonlyMap<EncodingName, CountText>

/**
 * Loads the encodings that these models need, by default all. A model that needs one that was not loaded is counted
 * with another, and its assumptions say so.
 */
export async function loadTokenCounter(models?: Iterable<string>): Promise<TokenCounter> {
  const needed = new Set(models ? [...models].map((model) => familyOf(model).family.encoding) : ENCODINGS)
  const encodings: Encodings = new Map(
    await Promise.all([...needed].map(async (name) => [name, await loadEncoding(name)] as const)),
  )
  return { count: (query) => countPrompt(query, encodings) }
}

function countPrompt(query: CountQuery, encodings: Encodings): PromptTokens {
  const tally = new Tally(query, encodings)
  for (const part of promptParts(query.endpoint, query.body)) tally.add(part)
  return tally.result()
}

const PER_MESSAGE = 3
const PER_NAME = 1
const PER_NAME_O1 = 4
const BETWEEN_MESSAGES_O1 = 7
const PER_CALL = 3
const REPLY = 3
const REPLY_HARMONY = 2
const NO_CALLS = 1
/** What stands before the schema of the answer in the published form of harmony prompts. */
const FORMAT_HEADING = '# Response Formats\n\n## '

/** Adds up the parts of one prompt. */
class Tally {
  readonly #query: CountQuery
  readonly #family: ModelFamily
  readonly #count: CountText
  readonly #assumptions = new Set<string>()
  readonly #tools: FunctionText[] = []
  #messages = 0
  #fixed = 0
  #text = 0
  #images = 0
  #format = 0

  constructor(query: CountQuery, encodings: Encodings) {
    const { family, known } = familyOf(query.model)
    this.#query = query
    this.#family = family
    if (!known) this.#assumptions.add(`model ${query.model} is unknown: counted as ${family.name}`)
    this.#count = encodings.get(family.encoding) ?? this.#otherEncoding(encodings)
  }

  add(part: PromptPart): void {
    switch (part.kind) {
      case 'message':
        this.#fixed += this.#frame(part.role, part.name)
        this.#messages++
        return
      case 'text':
        this.#text += this.#count(part.text) + this.#unpunctuated(part.text)
        return
      case 'image':
        this.#images += this.#image(part.url, part.detail)
        return
      case 'call':
        this.#text += PER_CALL + this.#count(part.name) + this.#count(part.input)
        return
      case 'tokens':
        this.#text += part.count
        return
      case 'tool':
        this.#tools.push(part.tool)
        return
      case 'format':
        this.#format += this.#formatTokens(part.format)
        return
      case 'unknown':
        this.#assumptions.add(`not counted: ${part.why}`)
        return
      default:
        assertNever(part)
    }
  }

  result(): PromptTokens {
    const fixed = this.#fixed + this.#replyTokens()
    const tools = functionTokens(this.#tools, this.#family.tools, this.#count) + this.#noCalls()
    const parts = { text: this.#text, images: this.#images, tools, format: this.#format, fixed }
    const total = parts.text + parts.images + parts.tools + parts.format + parts.fixed
    return { total, ...parts, assumptions: [...this.#assumptions] }
  }

  #frame(role: string, name: string | undefined): number {
    const isO1 = this.#family.prompt === 'o1'
    const between = isO1 && this.#messages > 0 ? BETWEEN_MESSAGES_O1 : 0
    const named = name === undefined ? 0 : this.#count(name) + (isO1 ? PER_NAME_O1 : PER_NAME)
    return PER_MESSAGE + between + this.#count(role) + named
  }

  #replyTokens(): number {
    if (this.#query.endpoint === '/v1/embeddings') return 0
    return this.#family.prompt === 'harmony' ? REPLY_HARMONY : REPLY
  }

  #noCalls(): number {
    return this.#tools.length > 0 && this.#query.body.tool_choice === 'none' ? NO_CALLS : 0
  }

  /** o1 was billed a token more for a text that ends in the middle of a sentence. */
  #unpunctuated(text: string): number {
    return this.#family.prompt === 'o1' && text !== '' && !/[\s!-/:-@[-`{-~]$/.test(text) ? 1 : 0
  }

  #image(url: string | undefined, detail: string | undefined): number {
    const size = url === undefined ? undefined : sizeOfImage(url, this.#query.sizeOf)
    if (!size) {
      const { width, height } = ASSUMED_IMAGE_SIZE
      this.#assumptions.add(`an image of unknown size is counted as ${width} x ${height} pixels`)
    }
    return imageTokens(this.#query.model, detail, size ?? ASSUMED_IMAGE_SIZE)
  }

  /** Older models were billed for a schema as for a function; harmony prompts hold it as JSON. */
  #formatTokens(format: FunctionText): number {
    if (this.#family.prompt !== 'harmony') return functionTokens([format], this.#family.tools, this.#count)
    const description = format.description ? `// ${format.description}\n` : ''
    return this.#count(
      `${FORMAT_HEADING}${format.name}\n\n${description}${JSON.stringify(format.schema) ?? ''}`,
    )
  }

  #otherEncoding(encodings: Encodings): CountText {
    const other = [...encodings][0]
    if (!other) throw new TypeError('a token counter was made without an encoding')
    this.#assumptions.add(
      `model ${this.#query.model} is counted with ${other[0]}, as its own encoding is not loaded`,
    )
    return other[1]
  }
}
