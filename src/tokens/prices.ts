import { createRequire } from 'node:module'
import type { ModelPrice } from '@pydantic/genai-prices'
import { UsageError } from '../errors.ts'
import type { TokenUsage } from './usage.ts'

/** How a request is sent. Batch and flex cost half of the listed (direct) price. */
export type PricedApi = 'batch' | 'direct' | 'flex'

/**
 * Prices that replace the table's, in USD per million tokens; they apply at every prompt length. The `batch…`
 * ones hold for batch and flex; without them those cost half of the direct override.
 */
export interface PriceOverrides {
  readonly inputPerMtok?: number | undefined
  /** Where neither this nor the table says anything: the input price. */
  readonly cachedPerMtok?: number | undefined
  /** Where neither this nor the table says anything: the input price. */
  readonly cacheWritePerMtok?: number | undefined
  readonly outputPerMtok?: number | undefined
  readonly batchInputPerMtok?: number | undefined
  readonly batchCachedPerMtok?: number | undefined
  readonly batchCacheWritePerMtok?: number | undefined
  readonly batchOutputPerMtok?: number | undefined
}

export interface CostQuery {
  readonly model: string
  readonly api: PricedApi
  /** When the request was made; its UTC day chooses the price. */
  readonly at: Date | number
}

/**
 * What one token of each class costs, in pico-USD (10^-12 USD); undefined: not known. The card that is kept with what
 * it priced, so that the same answer always costs the same.
 */
export interface Rates {
  readonly input?: number | undefined
  readonly cached?: number | undefined
  readonly cacheWrite?: number | undefined
  readonly output?: number | undefined
}

/** Rates of prompts that are longer than `above` tokens; a card is a list of them, by rising `above`, the first below every prompt. */
export interface RateTier extends Rates {
  readonly above: number
}
export type RateCard = readonly RateTier[]

/** Looks prices up once per model and day; made once per run, asked for every request. */
export interface PriceTable {
  /** The rates of a model on a day. */
  card(query: CostQuery): RateCard
}

interface Cards {
  readonly listed: RateCard
  readonly batch: RateCard
}

const DAY_MS = 86_400_000
const PICO_PER_NANO = 1000

/** Throws `UsageError` (`bad_price`) for an override that is not a number of zero or more. */
export function createPriceTable(overrides: PriceOverrides = {}): PriceTable {
  checkOverrides(overrides)
  const days = new Map<string, Map<number, Cards>>()
  const cardsOf = (model: string, day: number): Cards => {
    const known = days.get(model)?.get(day)
    if (known) return known
    const cards = loadCards(model, day, overrides)
    const byDay = days.get(model) ?? new Map<number, Cards>()
    days.set(model, byDay.set(day, cards))
    return cards
  }
  return {
    card: ({ model, api, at }) => {
      const day = Math.floor((typeof at === 'number' ? at : at.getTime()) / DAY_MS)
      const cards = cardsOf(model, day)
      return api === 'direct' ? cards.listed : cards.batch
    },
  }
}

/**
 * What `usage` costs by a card, in whole nano-USD (10^-9 USD). Each token class is rounded half up by itself, so sums
 * over requests are exact. Undefined when a class that has tokens has no known price.
 */
export function costOf(usage: TokenUsage, card: RateCard): number | undefined {
  const tier = tierFor(card, usage.input)
  return tier && cost(usage, tier)
}

function checkOverrides(overrides: PriceOverrides): void {
  for (const [name, value] of Object.entries(overrides)) {
    if (value === undefined || (Number.isFinite(value) && value >= 0)) continue
    throw new UsageError(
      'bad_price',
      `${name} is ${value}; give a price in USD per million tokens, zero or more`,
    )
  }
}

function cost(usage: TokenUsage, rates: Rates): number | undefined {
  const plain = Math.max(0, usage.input - usage.cachedInput - usage.cacheWrite)
  const input = classCost(plain, rates.input)
  const cached = classCost(usage.cachedInput, rates.cached)
  const written = classCost(usage.cacheWrite, rates.cacheWrite)
  const output = classCost(usage.output, rates.output)
  if (input === undefined || cached === undefined || written === undefined || output === undefined)
    return undefined
  return input + cached + written + output
}

function classCost(tokens: number, picoPerToken: number | undefined): number | undefined {
  if (tokens === 0) return 0
  if (picoPerToken === undefined) return undefined
  const pico = tokens * picoPerToken + PICO_PER_NANO / 2
  return (pico - (pico % PICO_PER_NANO)) / PICO_PER_NANO
}

/** The tier that a prompt of so many tokens is charged at. */
export function tierFor(tiers: RateCard, inputTokens: number): RateTier | undefined {
  let found: RateTier | undefined
  for (const tier of tiers) if (inputTokens > tier.above) found = tier
  return found
}

function loadCards(model: string, day: number, given: PriceOverrides): Cards {
  const price = listedPrice(model, new Date(day * DAY_MS))
  const tiers = tierStarts(price).map((above) => {
    const listed = replaced(price ? ratesAbove(price, above) : {}, {
      input: given.inputPerMtok,
      cached: given.cachedPerMtok,
      cacheWrite: given.cacheWritePerMtok,
      output: given.outputPerMtok,
    })
    const batch = replaced(halved(listed), {
      input: given.batchInputPerMtok,
      cached: given.batchCachedPerMtok,
      cacheWrite: given.batchCacheWritePerMtok,
      output: given.batchOutputPerMtok,
    })
    return { above, listed: withDefaults(listed), batch: withDefaults(batch) }
  })
  return {
    listed: tiers.map(({ above, listed }) => ({ above, ...listed })),
    batch: tiers.map(({ above, batch }) => ({ above, ...batch })),
  }
}

type ListedPrices = typeof import('@pydantic/genai-prices')

/** 800 KB of code, and 9 MB of memory, which whoever asks for no price does without. Node keeps it once it is there. */
const loadTable = (): ListedPrices => createRequire(import.meta.url)('@pydantic/genai-prices')

/**
 * A snapshot the table does not list is priced as its model. A fine-tuned model never is: it costs more than
 * the model it was made from, so without a listed price its cost is unknown.
 */
function listedPrice(model: string, timestamp: Date): ModelPrice | undefined {
  const options = { providerId: 'openai', timestamp }
  const { calcPrice } = loadTable()
  const found = calcPrice({}, model, options)
  const general = model.replace(/-\d{4}-\d{2}-\d{2}$/, '')
  return (found ?? (general === model ? null : calcPrice({}, general, options)))?.model_price
}

const PRICE_FIELDS = ['input_mtok', 'cache_read_mtok', 'cache_write_mtok', 'output_mtok'] as const

/** Prompt lengths at which a price changes, ascending; the first one lies below every prompt. */
function tierStarts(price: ModelPrice | undefined): readonly number[] {
  const starts = new Set([-1])
  for (const field of PRICE_FIELDS) {
    const value = price?.[field]
    if (typeof value === 'object') for (const tier of value.tiers) starts.add(tier.start)
  }
  return [...starts].sort((a, b) => a - b)
}

/** The whole request is charged at the tier that its prompt reaches, the completion included. */
const ratesAbove = (price: ModelPrice, above: number): Rates => ({
  input: picoPerToken(priceAbove(price.input_mtok, above)),
  cached: picoPerToken(priceAbove(price.cache_read_mtok, above)),
  cacheWrite: picoPerToken(priceAbove(price.cache_write_mtok, above)),
  output: picoPerToken(priceAbove(price.output_mtok, above)),
})

function priceAbove(value: ModelPrice[string], above: number): number | undefined {
  if (typeof value !== 'object') return value
  return value.tiers.filter((tier) => tier.start <= above).at(-1)?.price ?? value.base
}

/** USD per million tokens to pico-USD per token: only the scale changes, by a power of ten. */
const picoPerToken = (perMtok: number | undefined): number | undefined =>
  perMtok === undefined ? undefined : Math.round(perMtok * 1e6)

const halved = (rates: Rates): Rates => ({
  input: half(rates.input),
  cached: half(rates.cached),
  cacheWrite: half(rates.cacheWrite),
  output: half(rates.output),
})

const half = (rate: number | undefined): number | undefined => (rate === undefined ? undefined : rate / 2)

const replaced = (rates: Rates, perMtok: Rates): Rates => ({
  input: picoPerToken(perMtok.input) ?? rates.input,
  cached: picoPerToken(perMtok.cached) ?? rates.cached,
  cacheWrite: picoPerToken(perMtok.cacheWrite) ?? rates.cacheWrite,
  output: picoPerToken(perMtok.output) ?? rates.output,
})

/** Cache traffic that has no price of its own is ordinary input. */
const withDefaults = (rates: Rates): Rates => ({
  ...rates,
  cached: rates.cached ?? rates.input,
  cacheWrite: rates.cacheWrite ?? rates.input,
})
