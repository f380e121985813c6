import type { QueueFile } from '../batch/queue-file.ts'
import {
  type FileSize,
  type LineSize,
  type Sealing,
  type SealSettings,
  sealAs,
  sealFor,
  withLine,
} from '../batch/sealing.ts'
import type { Endpoint } from '../openai/wire.ts'
import { addForecasts, noForecast, type TokenForecast } from '../tokens/forecast.ts'
import { type RateCard, tierFor } from '../tokens/prices.ts'
import type { QuotedCost, QuotedModel, QuotedPrice } from './quote.ts'

/** Sums in nano-USD (with fractions), by one way of sending. */
interface Sums {
  /** Prompts as the limits estimate them. */
  readonly estimated: number
  /** Of it those that were counted, and what they cost by the count. */
  readonly estimatedOfCounted: number
  readonly counted: number
  readonly output: number
  readonly mostOutput: number
}

const NOTHING: Sums = { estimated: 0, estimatedOfCounted: 0, counted: 0, output: 0, mostOutput: 0 }

const plus = (a: Sums, b: Sums): Sums => ({
  estimated: a.estimated + b.estimated,
  estimatedOfCounted: a.estimatedOfCounted + b.estimatedOfCounted,
  counted: a.counted + b.counted,
  output: a.output + b.output,
  mostOutput: a.mostOutput + b.mostOutput,
})

const PICO_PER_NANO = 1000

/** What one request costs; each prompt at the tier of its own length. */
function sumsOf(
  { input, output, mostOutput }: TokenForecast,
  counted: number | undefined,
  card: RateCard,
): Sums {
  const tier = tierFor(card, counted ?? input)
  const perInput = (tier?.input ?? 0) / PICO_PER_NANO
  const perOutput = (tier?.output ?? 0) / PICO_PER_NANO
  return {
    estimated: input * perInput,
    estimatedOfCounted: counted === undefined ? 0 : input * perInput,
    counted: (counted ?? 0) * perInput,
    output: output * perOutput,
    mostOutput: mostOutput * perOutput,
  }
}

/** One request, as far as a quote cares. */
export interface QuotedLine extends LineSize {
  /** UTF-8 bytes of the body's text. */
  readonly textBytes: number
  /** Prompt tokens by the tokenizer; undefined when they were not counted. */
  readonly counted: number | undefined
  /** The body sets no maximum of output tokens. */
  readonly isUnlimited: boolean
}

export interface Cards {
  readonly batch: RateCard
  readonly direct: RateCard
}

type Ways = Readonly<Record<Sealing['as'], Sums>>
const NO_WAYS: Ways = { batch: NOTHING, direct: NOTHING }

/** Adds up the requests of one endpoint and model, putting them into files as the queue would. */
export class QuoteGroup {
  readonly endpoint: Endpoint
  readonly model: string
  /** The line of the first request. */
  readonly example: string
  readonly #cards: Cards
  #requests = 0
  #bytes = 0
  #batches = 0
  #batchRequests = 0
  #textBytes = 0
  #countedBytes = 0
  #input = 0
  #inputOfCounted = 0
  #counted = 0
  #output = 0
  #mostOutput = 0
  #unlimited = 0
  #ways = NO_WAYS
  #planned = NOTHING
  #open: FileSize
  #openWays = NO_WAYS
  #forecasts: Readonly<Record<Sealing['as'], TokenForecast>> = { batch: noForecast, direct: noForecast }

  constructor(group: { readonly endpoint: Endpoint; readonly model: string }, cards: Cards, example: string) {
    this.endpoint = group.endpoint
    this.model = group.model
    this.example = example
    this.#cards = cards
    this.#open = emptyFile(group.model)
  }

  add(line: QuotedLine, sealing: SealSettings): void {
    const { tokens, counted, bytes, textBytes } = line
    const as = sealFor(this.#file, line, sealing)
    if (as) this.#seal(as)
    this.#open = withLine(this.#open, line)
    const ways = this.#waysOf(line)
    this.#ways = both(this.#ways, ways)
    this.#openWays = both(this.#openWays, ways)
    this.#requests++
    this.#bytes += bytes
    this.#textBytes += textBytes
    this.#input += tokens.input
    this.#output += tokens.output
    this.#mostOutput += tokens.mostOutput
    if (line.isUnlimited) this.#unlimited++
    if (counted === undefined) return
    this.#countedBytes += textBytes
    this.#inputOfCounted += tokens.input
    this.#counted += counted
  }

  /** Seals what is left, as at the end of a run. */
  close(sealing: SealSettings): void {
    if (this.#open.requests > 0) this.#seal(sealAs(this.#file, sealing))
  }

  /** What is sealed so far, as the limits and the hard cap count it. */
  get forecasts(): Readonly<Record<Sealing['as'], TokenForecast>> {
    return this.#forecasts
  }

  get quoted(): QuotedModel {
    const uncounted = this.#input - this.#inputOfCounted
    return {
      endpoint: this.endpoint,
      model: this.model,
      requests: this.#requests,
      batches: this.#batches,
      batchRequests: this.#batchRequests,
      directRequests: this.#requests - this.#batchRequests,
      bytes: this.#bytes,
      inputTokens: Math.round(this.#counted + uncounted * ratio(this.#counted, this.#inputOfCounted)),
      countedShare: this.#textBytes === 0 ? 1 : this.#countedBytes / this.#textBytes,
      estimate: { inputTokens: this.#input, inputCost: usd(this.#planned.estimated) },
      outputTokens: this.#output,
      mostOutputTokens: this.#unlimited > 0 ? undefined : this.#mostOutput,
      cost: this.#cost,
    }
  }

  get #cost(): QuotedCost {
    const planned = priceOf(this.#planned)
    const most = planned.input + usd(this.#planned.mostOutput)
    return {
      direct: priceOf(this.#ways.direct),
      batch: priceOf(this.#ways.batch),
      planned,
      most: this.#unlimited > 0 ? undefined : most,
    }
  }

  #waysOf({ tokens, counted }: QuotedLine): Ways {
    const { batch, direct } = this.#cards
    return { batch: sumsOf(tokens, counted, batch), direct: sumsOf(tokens, counted, direct) }
  }

  #seal(as: Sealing['as']): void {
    if (as === 'batch') {
      this.#batches++
      this.#batchRequests += this.#open.requests
    }
    this.#planned = plus(this.#planned, this.#openWays[as])
    const tokens = addForecasts(this.#forecasts[as], this.#open.tokens ?? noForecast)
    this.#forecasts = { ...this.#forecasts, [as]: tokens }
    this.#open = emptyFile(this.model)
    this.#openWays = NO_WAYS
  }

  get #file(): QueueFile {
    const { inputs, tokens, ...sizes } = this.#open
    const known = { ...(inputs !== undefined && { inputs }), ...(tokens && { tokens }) }
    return {
      phase: 'open',
      id: 0,
      endpoint: this.endpoint,
      live: this.#open.requests,
      passed: 0,
      ...sizes,
      ...known,
    }
  }
}

const emptyFile = (model: string): FileSize => ({ model, requests: 0, bytes: 0 })

const both = (a: Ways, b: Ways): Ways => ({
  batch: plus(a.batch, b.batch),
  direct: plus(a.direct, b.direct),
})

/** How wrong the estimate was, where that was looked at. */
const ratio = (counted: number, estimated: number): number => (estimated > 0 ? counted / estimated : 1)

const usd = (nanoUsd: number): number => nanoUsd / 1e9

function priceOf({ estimated, estimatedOfCounted, counted, output }: Sums): QuotedPrice {
  const uncounted = (estimated - estimatedOfCounted) * ratio(counted, estimatedOfCounted)
  const input = usd(counted + uncounted)
  return { input, output: usd(output), total: input + usd(output) }
}
