import type { SealLimits, SealSettings, Valuation } from '../batch/sealing.ts'
import { TaskError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { ProgressEvent } from '../progress/events.ts'
import {
  type Calibration,
  estimateText,
  isSampled,
  noCalibration,
  sampleWeight,
  withSample,
} from '../tokens/calibration.ts'
import { loadTokenCounter, type PromptTokens, type TokenCounter } from '../tokens/counter.ts'
import { familyOf } from '../tokens/families.ts'
import { expectedNanoUsd, mostNanoUsd, type TokenForecast } from '../tokens/forecast.ts'
import { type BodyMeasure, type ImageSizeOf, measureBody } from '../tokens/measure.ts'
import { createPriceTable, type PricedApi, type PriceTable, type RateCard } from '../tokens/prices.ts'
import type { Clock } from '../util/clock.ts'
import type { Cards } from './reply-totals.ts'
import type { RequesterSettings } from './settings.ts'

/** What a request without a maximum of output tokens is taken to be allowed. */
export const ASSUMED_MOST_OUTPUT = 2048
/** A request that may use up more than this share of the hard cap is counted exactly. */
const NEAR_CAP_SHARE = 1 / 1000
/** Added to an exact count for a ceiling: what the server may wrap a prompt in beyond what is known. */
const WRAPPING_TOKENS = 64
/** A price may change while a batch is waited for: what is set aside is the dearest of so many days. */
const PRICE_DAYS_MS = [0, 86_400_000, 2 * 86_400_000] as const

/** A request as it will be sent, as far as its tokens are concerned. */
export interface Countable {
  readonly key: string
  readonly endpoint: Endpoint
  readonly model: string
  /** As JSON text. */
  readonly bodyText: string
  /** The same as an object, when somebody has it. */
  readonly body?: object | undefined
  /** What was measured of it before. */
  readonly measure?: BodyMeasure | undefined
}

interface ForecastOptions {
  /** Counted, as far as the tokenizer is loaded. */
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
  readonly #calibrations = new Map<string, Calibration>()
  /** Requests of each group that came by so far. */
  readonly #seen = new Map<string, number>()
  readonly #said = new Set<string>()
  #directOnly = false
  /** Models that the counter can count for. */
  readonly #countable = new Set<string>()
  #counter: TokenCounter | undefined
  #loading: Promise<void> = Promise.resolve()

  constructor(options: ValuerOptions) {
    this.#options = options
    this.#prices = createPriceTable(options.settings.prices)
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
    // What is set aside for many is rounded up once, and on top has 2 for each: so much each of them may be rounded up by.
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
  async sample(requests: readonly Countable[]): Promise<void> {
    for (const request of requests) {
      const group = groupOf(request)
      const seen = this.#seen.get(group) ?? 0
      this.#seen.set(group, seen + 1)
      if (isSampled(seen)) await this.#take(group, request, sampleWeight(seen))
    }
  }

  /** Loads what exact counts for a model need: 0.1 s and some 50 MB for each of the two encodings there are. */
  async load(model: string): Promise<void> {
    if (!this.#countable.has(model)) {
      this.#countable.add(model)
      const models = [...this.#countable]
      this.#loading = this.#loading.then(async () => {
        this.#counter = await loadTokenCounter(models)
      })
    }
    await this.#loading
  }

  async #take(group: string, request: Countable, weight: number): Promise<void> {
    await this.load(request.model)
    const { textBytes } = this.measure(request)
    const counted = this.#count(request)
    if (!counted) return
    const calibration = this.#calibrations.get(group) ?? noCalibration
    const tokens = counted.total - counted.images
    this.#calibrations.set(group, withSample(calibration, textBytes, tokens, weight))
    for (const assumption of counted.assumptions) this.#say(assumption)
  }

  /** Its measure, which is all that is kept of its body beside the text. */
  measured<Request extends Countable>(request: Request): Request {
    return { ...request, measure: this.measure(request), body: undefined }
  }

  measure({ endpoint, model, bodyText, body, measure }: Countable): BodyMeasure {
    if (measure) return measure
    const facts = { model, bodyBytes: Buffer.byteLength(bodyText), sizeOf: this.#options.sizeOf }
    return measureBody(endpoint, body ? { ...body } : parsed(bodyText), facts)
  }

  /** Expected tokens and ceilings of one request. `exact`: counted, as far as the tokenizer is loaded. */
  forecast(request: Countable, { exact = false, safety }: ForecastOptions = {}): TokenForecast {
    const { settings } = this.#options
    const measure = this.measure(request)
    const { maxOutputTokens: most, unbounded } = measure
    const calibration = this.#calibrations.get(groupOf(request)) ?? noCalibration
    const estimate = estimateText(calibration, measure.textBytes) + measure.imageTokens
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
    const counted = this.#count(request)
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

  /** Prompt tokens of one request, as exact as can be; undefined while nothing is loaded for counting. */
  counted(request: Countable): PromptTokens | undefined {
    return this.#count(request)
  }

  #count({ endpoint, model, bodyText }: Countable) {
    const { sizeOf } = this.#options
    return this.#counter?.count({ endpoint, model, body: parsed(bodyText), sizeOf })
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

const groupOf = ({ endpoint, model }: Countable): string => `${endpoint} ${model}`

/** Bodies were checked when they came: they are objects. */
function parsed(bodyText: string): Readonly<Record<string, unknown>> {
  const body: unknown = JSON.parse(bodyText)
  return typeof body === 'object' && body !== null ? { ...body } : {}
}

const OUTPUT_FIELD = {
  '/v1/chat/completions': 'max_completion_tokens',
  '/v1/responses': 'max_output_tokens',
  '/v1/embeddings': 'none',
} as const satisfies Record<Endpoint, string>

const refused = (code: string, key: string, why: string): TaskError =>
  new TaskError(code, `request ${JSON.stringify(key)}: ${why}. The request was not added.`)

const unknownPrice = (key: string, model: string): TaskError =>
  refused(
    'unknown_price',
    key,
    `model ${JSON.stringify(model)} has no known price; give it in USD per million tokens with --cost-input-direct-mtoken and --cost-output-direct-mtoken (0 for a server that charges nothing; batches cost half unless --cost-input-batch-mtoken and --cost-output-batch-mtoken say otherwise)`,
  )

const noMaximum = (key: string, endpoint: Endpoint): TaskError =>
  refused(
    'no_output_limit',
    key,
    `under --max-spend every request needs a maximum of output tokens, or nobody can say what it may cost; set body.${OUTPUT_FIELD[endpoint]}`,
  )

const noCeiling = (key: string, why: string): TaskError =>
  refused('no_ceiling', key, `under --max-spend it must be known what a request may cost at most: ${why}`)
