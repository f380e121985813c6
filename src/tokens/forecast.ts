import { type RateCard, tierFor } from './prices.ts'

/** Tokens that some requests are expected to take, and the most they can take. Whole numbers; sums of many requests. */
export interface TokenForecast {
  readonly requests: number
  /** Expected prompt tokens. */
  readonly input: number
  /** Expected output tokens: the maximum times the assumed completion ratio. */
  readonly output: number
  /** Ceiling of the prompt tokens. */
  readonly mostInput: number
  /** Ceiling of the output tokens. */
  readonly mostOutput: number
  /** `mostInput` of the longest request: the price tier that any of them can reach. */
  readonly longest: number
  /** Requests that have no ceiling, such as those without a maximum of output tokens. */
  readonly unbounded: number
}

export const noForecast: TokenForecast = Object.freeze({
  requests: 0,
  input: 0,
  output: 0,
  mostInput: 0,
  mostOutput: 0,
  longest: 0,
  unbounded: 0,
})

export const addForecasts = (a: TokenForecast, b: TokenForecast): TokenForecast => ({
  requests: a.requests + b.requests,
  input: a.input + b.input,
  output: a.output + b.output,
  mostInput: a.mostInput + b.mostInput,
  mostOutput: a.mostOutput + b.mostOutput,
  longest: Math.max(a.longest, b.longest),
  unbounded: a.unbounded + b.unbounded,
})

const PICO_PER_NANO = 1000
/** Each of the four token classes of a reply is rounded by itself, by half a nano-USD at most. */
const ROUNDING_NANO_PER_REQUEST = 2

/** Expected cost in nano-USD, at the tier of an average prompt; 0 where the price is not known. */
export function expectedNanoUsd(forecast: TokenForecast, card: RateCard): number {
  const { requests, input, output } = forecast
  if (requests === 0) return 0
  const tier = tierFor(card, input / requests)
  return Math.round((input * (tier?.input ?? 0) + output * (tier?.output ?? 0)) / PICO_PER_NANO)
}

/**
 * The most that the requests can cost, in nano-USD: every prompt token at the dearest rate there is for one (a cache
 * write may cost more than plain input), at the dearest tier the longest request can reach. Undefined when one of them
 * has no ceiling, or no price is known. No sum of `costOf` over their replies exceeds it.
 */
export function mostNanoUsd(forecast: TokenForecast, card: RateCard): number | undefined {
  const { requests, mostInput, mostOutput, longest, unbounded } = forecast
  if (unbounded > 0) return undefined
  const reachable = card.filter(({ above }) => longest > above)
  const perInput = dearest(reachable.flatMap(({ input, cached, cacheWrite }) => [input, cached, cacheWrite]))
  const perOutput = mostOutput === 0 ? 0 : dearest(reachable.map(({ output }) => output))
  if (perInput === undefined || perOutput === undefined) return requests === 0 ? 0 : undefined
  const cost = (mostInput * perInput + mostOutput * perOutput) / PICO_PER_NANO
  // What costs nothing is not rounded either: a server without a price fits under any cap, also one of 0.
  if (cost === 0) return 0
  // Sums beyond 2^53 lose their last digits: some more is added than could be lost.
  return Math.ceil(cost * (1 + 1e-12)) + ROUNDING_NANO_PER_REQUEST * requests
}

function dearest(rates: readonly (number | undefined)[]): number | undefined {
  let most: number | undefined
  for (const rate of rates) {
    if (rate === undefined) return undefined
    most = Math.max(most ?? 0, rate)
  }
  return most
}
