import { mostNanoUsd, type TokenForecast } from '../../../tokens/forecast.ts'
import {
  type CostQuery,
  costOf,
  createPriceTable,
  type PriceOverrides,
  type RateCard,
} from '../../../tokens/prices.ts'
import type { TokenUsage } from '../../../tokens/usage.ts'
import type { Route } from '../../domain/request.ts'

/**
 * What requests cost, in whole nano-USD (10^-9 USD). `at`: milliseconds since 1970, when the request was or will be
 * sent; its UTC day chooses the price. Batch and flex cost half of the listed price.
 */
export interface Valuer {
  /** What an answer cost on the route that it was given on. Undefined when a price is not known. */
  costNanoUsd(model: string, route: Route, usage: TokenUsage, at: number): number | undefined
  /** What the same answer would have cost by a direct call. Undefined when a price is not known. */
  directNanoUsd(model: string, usage: TokenUsage, at: number): number | undefined
  /**
   * The most that a request can be charged on a route, whenever it is sent in the days after `at`. Undefined when it
   * has no ceiling, or no price is known.
   */
  mostNanoUsd(model: string, route: Route, forecast: TokenForecast, at: number): number | undefined
}

const DAY_MS = 86_400_000
/** A price may change while a request waits: what is set aside is the dearest of so many days. */
const PRICE_DAYS_MS = [0, DAY_MS, 2 * DAY_MS] as const

/** Throws `UsageError` (`bad_price`) for an override that is no price. Prices are looked up once per model and day. */
export function createValuer(overrides: PriceOverrides = {}): Valuer {
  const cardOf = cards(overrides)
  const costNanoUsd: Valuer['costNanoUsd'] = (model, api, usage, at) =>
    costOf(usage, cardOf({ model, api, at }))
  return {
    costNanoUsd,
    directNanoUsd: (model, usage, at) => costNanoUsd(model, 'direct', usage, at),
    mostNanoUsd: (model, route, forecast, at) => {
      const api = dearestTier(route)
      return dearest(PRICE_DAYS_MS.map((ms) => mostNanoUsd(forecast, cardOf({ model, api, at: at + ms }))))
    },
  }
}

/** Models are named by callers, and days go by: what is looked up is not kept for ever. */
const MOST_KEPT = 5_000

function cards(overrides: PriceOverrides): (query: CostQuery) => RateCard {
  let prices = createPriceTable(overrides)
  const kept = new Set<string>()
  return (query) => {
    const key = `${Math.floor(Number(query.at) / DAY_MS)} ${query.model}`
    if (!kept.has(key) && kept.size >= MOST_KEPT) {
      prices = createPriceTable(overrides)
      kept.clear()
    }
    kept.add(key)
    return prices.card(query)
  }
}

/** Nobody has to answer a flex call at the tier that was asked for: an answer at the default one costs the full price. */
const dearestTier = (route: Route): Route => (route === 'flex' ? 'direct' : route)

function dearest(costs: readonly (number | undefined)[]): number | undefined {
  let most = 0
  for (const cost of costs) {
    if (cost === undefined) return undefined
    most = Math.max(most, cost)
  }
  return most
}
