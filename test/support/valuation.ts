import type { SendLimits } from '../../src/batch/limits.ts'
import type { SealLimits, SealSettings, Valuation } from '../../src/batch/sealing.ts'
import { Valuer, type ValuerOptions } from '../../src/requester/valuer.ts'
import { noForecast, type TokenForecast } from '../../src/tokens/forecast.ts'
import { VirtualClock } from './virtual-clock.ts'

const MUCH = Number.POSITIVE_INFINITY

/** A prompt token is worth 1 nano-USD and an output token 4; a batch costs half. A ceiling counts both ceilings. */
export const plainValuation: Valuation = {
  expectedNanoUsd: ({ input, output }, _, api) => (input + 4 * output) / (api === 'batch' ? 2 : 1),
  mostNanoUsd: ({ mostInput, mostOutput, unbounded }, _, api) =>
    unbounded > 0 ? undefined : (mostInput + 4 * mostOutput) / (api === 'batch' ? 2 : 1),
}

/** What one request of so many prompt tokens is expected to take, with ceilings twice as high. */
export const tokensOf = (input: number, over: Partial<TokenForecast> = {}): TokenForecast => ({
  ...noForecast,
  requests: 1,
  input,
  mostInput: 2 * input,
  longest: 2 * input,
  ...over,
})

export const unlimitedSeal: SealLimits = {
  forceDirect: false,
  minBatchRequests: 1,
  maxBatchRequests: MUCH,
  maxBatchBytes: MUCH,
  maxBatchTokens: MUCH,
  maxBatchNanoUsd: MUCH,
  maxDirectRequests: MUCH,
  maxDirectTokens: MUCH,
  maxDirectNanoUsd: MUCH,
}

export const sealSettings = (over: Partial<SealSettings> = {}): SealSettings => ({
  ...unlimitedSeal,
  valuation: plainValuation,
  enqueuedCap: () => undefined,
  maxSpendNanoUsd: undefined,
  ...over,
})

export const unlimitedSend: SendLimits = {
  maxTaskRequests: MUCH,
  maxTaskTokens: MUCH,
  maxTaskNanoUsd: MUCH,
  maxSessionRequests: MUCH,
  maxSessionTokens: MUCH,
  maxSessionNanoUsd: MUCH,
  maxRemoteBatches: MUCH,
  maxRemoteRequests: MUCH,
  maxRemoteBytes: MUCH,
  maxRemoteTokens: MUCH,
  maxRemoteNanoUsd: MUCH,
  maxSpendNanoUsd: undefined,
}

interface PlainValuerOptions extends Partial<Omit<ValuerOptions, 'settings'>> {
  readonly seal?: Partial<SealLimits>
  readonly limits?: Partial<SendLimits>
  readonly tokenEstimatorWarn?: ValuerOptions['settings']['tokenEstimatorWarn']
}

/** A real valuer with one price for all models: 1 USD per million prompt tokens, 4 for output, half in batches. */
export function plainValuer(options: PlainValuerOptions = {}): Valuer {
  const { seal, limits, tokenEstimatorWarn = 'never', ...over } = options
  return new Valuer({
    settings: {
      prices: { inputPerMtok: 1, outputPerMtok: 4 },
      assumedCompletionRatio: 0.5,
      maxTokenSafety: 1.1,
      tokenEstimatorWarn,
      limits: { ...unlimitedSend, ...limits },
      seal: { ...unlimitedSeal, ...seal },
    },
    clock: new VirtualClock(),
    emit: () => {},
    ...over,
  })
}
