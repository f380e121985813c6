import type { SealLimits, SealSettings, Valuation } from '../batch/sealing.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { ProgressEvent } from '../progress/events.ts'
import type { PromptTokens } from '../tokens/counter.ts'
import { familyOf } from '../tokens/families.ts'
import { expectedNanoUsd, mostNanoUsd, type TokenForecast } from '../tokens/forecast.ts'
import type { BodyMeasure, ImageSizeOf } from '../tokens/measure.ts'
import { createPriceTable, type PricedApi, type PriceTable, type RateCard } from '../tokens/prices.ts'
import type { Clock } from '../util/clock.ts'
import { type Countable, measureOf } from './countable.ts'
import { PromptCounts } from './prompt-counts.ts'
import type { Cards } from './reply-totals.ts'
import { noCeiling, noMaximum, unknownPrice } from './request-refusals.ts'
import type { RequesterSettings } from './settings.ts'
import { TextSamples } from './text-samples.ts'

export type { Countable } from './countable.ts'

/** What a request without a maximum of output tokens is taken to be allowed. */
export const ASSUMED_MOST_OUTPUT = 2048
/** A request that may use up more than this share of the hard cap is counted exactly. */
const NEAR_CAP_SHARE = 1 / 1000
/** Added to an exact count for a ceiling: what the server may wrap a prompt in beyond what is known. */
const WRAPPING_TOKENS = 64
/** A price may change while a batch is waited for: what is set aside is the dearest of so many days. */
const PRICE_DAYS_MS = [0, 86_400_000, 2 * 86_400_000] as const

interface ForecastOptions {
  /** Counted, if `load` was called for its model. */
  readonly exact?: boolean
  /** The factor that a count is raised by for a ceiling. Default: `maxTokenSafety`. */
  readonly safety?: number | undefined
}

export interface ValuerOptions {
  readonly settings: Pick<
    RequesterSettings,
    'prices' | 'assumedCompletionRatio' | 'maxTokenSafety' | 'tokenEstimatorWarn' | 'limits' | 'seal'
  >
  readonly clock: Clock
  readonly emit: (event: ProgressEvent) => void
  /** Sizes of images by their URLs. */
  readonly sizeOf?: ImageSizeOf | undefined
  /** See `SealSettings.enqueuedCap`. */
  readonly enqueuedCap?: ((model: string) => number | undefined) | undefined
  /** See `SealSettings.enqueuedLimit`. */
  readonly enqueuedLimit?: ((model: string) => number | undefined) | undefined
  /** See `SealSettings.hurried`. */
  readonly isHurried?: (() => boolean) | undefined
}

/**
 * Knows what requests are worth: their tokens, by a ratio of bytes that is calibrated on a sample of the task's own
 * requests, and what those cost. Requests near the hard cap are counted exactly.
 */
export class Valuer implements Valuation {
  readonly #options: ValuerOptions
  readonly #prices: PriceTable
  readonly #counts: PromptCounts
  readonly #samples: TextSamples
  readonly #said = new Set<string>()
  #directOnly = false

  constructor(options: ValuerOptions) {
    this.#options = options
    this.#prices = createPriceTable(options.settings.prices)
    this.#counts = new PromptCounts(options.sizeOf)
    this.#samples = new TextSamples({
      counts: this.#counts,
      measure: (request) => this.measure(request),
      onAssumption: (assumption) => this.#say(assumption),
    })
  }

  card(model: string, api: PricedApi, at: number = this.#options.clock.now()): RateCard {
    return this.#prices.card({ model, api, at })
  }

  /** What answers of a model are priced by that were asked for at `at`, in milliseconds since 1970. */
  cards(model: string, api: PricedApi, at?: number): Cards {
    return { card: this.card(model, api, at), list: this.card(model, 'direct', at) }
  }

  /**
   * The most that one request can cost by some rates, in nano-USD: what is charged when its answer does not say. Not
   * more than was set aside for it. Needs `load`.
   */
  mostOf(request: Countable, card: RateCard, safety?: number): number | undefined {
    const most = mostNanoUsd(this.forecast(request, { exact: true, safety }), card)
    // What is set aside for many is rounded up once and has 2 on top for each; here each is rounded up, so it has 1.
    return most && most - 1
  }

  expectedNanoUsd(tokens: TokenForecast, model: string, api: PricedApi): number {
    return expectedNanoUsd(tokens, this.card(model, api))
  }

  /** At the dearest price of today and the days in which a batch may come back. */
  mostNanoUsd(tokens: TokenForecast, model: string, api: PricedApi): number | undefined {
    let most = 0
    const now = this.#options.clock.now()
    for (const ms of PRICE_DAYS_MS) {
      const cost = mostNanoUsd(tokens, this.card(model, api, now + ms))
      if (cost === undefined) return undefined
      most = Math.max(most, cost)
    }
    return most
  }

  /** The settings that lines are put together by, as of now. */
  get sealing(): SealSettings {
    const { settings, enqueuedCap = () => undefined, enqueuedLimit = enqueuedCap } = this.#options
    const { maxSpendNanoUsd } = settings.limits
    const hurried = this.#options.isHurried?.() ?? false
    const seal = this.#directOnly ? allDirect(settings.seal) : settings.seal
    return { ...seal, valuation: this, enqueuedCap, enqueuedLimit, maxSpendNanoUsd, hurried }
  }

  /** While on, everything goes directly, and what a batch may have is not too large for it. */
  sendDirectly(on: boolean): void {
    this.#directOnly = on
  }

  /** Makes ready for requests that come by: takes samples of them. To be called before they are valued. */
  sample(requests: readonly Countable[]): Promise<void> {
    return this.#samples.take(requests)
  }

  /** Loads what exact counts for a model need. */
  load(model: string): Promise<void> {
    return this.#counts.load(model)
  }

  /** Its measure, which is all that is kept of its body beside the text. */
  measured<Request extends Countable>(request: Request): Request {
    return { ...request, measure: this.measure(request), body: undefined }
  }

  measure(request: Countable): BodyMeasure {
    return measureOf(request, this.#options.sizeOf)
  }

  /** Expected tokens and ceilings of one request. `exact`: counted, if `load` was called for its model. */
  forecast(request: Countable, { exact = false, safety }: ForecastOptions = {}): TokenForecast {
    const { settings } = this.#options
    const measure = this.measure(request)
    const { maxOutputTokens: most, unbounded } = measure
    const estimate = this.#samples.estimate(request, measure.textBytes) + measure.imageTokens
    const mostInput = measure.mostInputTokens
    const forecast: TokenForecast = {
      requests: 1,
      input: Math.min(Math.ceil(estimate), mostInput),
      output: Math.round((most ?? ASSUMED_MOST_OUTPUT) * settings.assumedCompletionRatio),
      mostInput,
      mostOutput: most ?? 0,
      longest: mostInput,
      unbounded: most === undefined || unbounded !== undefined ? 1 : 0,
    }
    return exact || this.#isNearCap(forecast, request.model)
      ? this.#exactly(request, forecast, safety)
      : forecast
  }

  #isNearCap(forecast: TokenForecast, model: string): boolean {
    const { maxSpendNanoUsd } = this.#options.settings.limits
    if (maxSpendNanoUsd === undefined || forecast.unbounded > 0) return false
    const most = mostNanoUsd(forecast, this.card(model, 'direct'))
    return most !== undefined && most > maxSpendNanoUsd * NEAR_CAP_SHARE
  }

  #exactly(request: Countable, forecast: TokenForecast, safety?: number): TokenForecast {
    const counted = this.counted(request)
    if (!counted) return forecast
    const mostInput = Math.min(forecast.mostInput, this.#ceilingOf(request, counted, safety))
    return { ...forecast, input: counted.total, mostInput, longest: mostInput }
  }

  /** An exact count of the text is all but a ceiling; of an image, or for a model of which nothing is known, it is none. */
  #ceilingOf(
    request: Countable,
    { total, images }: PromptTokens,
    safety = this.#options.settings.maxTokenSafety,
  ): number {
    if (!familyOf(request.model).known) return Number.POSITIVE_INFINITY
    const text = Math.ceil((total - images) * safety) + WRAPPING_TOKENS
    return text + this.measure(request).mostImageTokens
  }

  /** Prompt tokens of one request, as exact as can be; undefined without `load` for its model. */
  counted(request: Countable): PromptTokens | undefined {
    return this.#counts.count(request)
  }

  /** Throws TaskError for a request whose price, or under a hard cap whose ceiling, is not known. */
  check(request: Countable): void {
    const { key, endpoint, model } = request
    if (!this.#isPriced(model, endpoint)) throw unknownPrice(key, model)
    if (this.#options.settings.limits.maxSpendNanoUsd === undefined) return
    const { maxOutputTokens, unbounded } = this.measure(request)
    if (maxOutputTokens === undefined) throw noMaximum(key, endpoint)
    if (unbounded !== undefined) throw noCeiling(key, unbounded)
  }

  #isPriced(model: string, endpoint: Endpoint): boolean {
    return (['batch', 'direct'] as const).every((api) => {
      const [tier] = this.card(model, api)
      return tier?.input !== undefined && (endpoint === '/v1/embeddings' || tier.output !== undefined)
    })
  }

  #say(assumption: string): void {
    const { tokenEstimatorWarn } = this.#options.settings
    if (tokenEstimatorWarn === 'never' || (tokenEstimatorWarn === 'once' && this.#said.has(assumption)))
      return
    this.#said.add(assumption)
    this.#options.emit({ kind: 'warning', code: 'estimate', message: `token estimates: ${assumption}` })
  }
}

const allDirect = (seal: SealLimits): SealLimits => ({
  ...seal,
  forceDirect: true,
  maxDirectTokens: Math.max(seal.maxDirectTokens, seal.maxBatchTokens),
  maxDirectNanoUsd: Math.max(seal.maxDirectNanoUsd, seal.maxBatchNanoUsd),
})
