import type { BreakerSettings } from '../batch/breaker.ts'
import { limitBytes, limitTokens, nanoUsd, type SendLimits } from '../batch/limits.ts'
import type { SealLimits } from '../batch/sealing.ts'
import type { PriceOverrides } from '../tokens/prices.ts'
import type { ResolvedOptions } from '../util/options.ts'

/** The options a requester works by, in the units it works in. */
export interface RequesterSettings {
  readonly seal: SealLimits
  readonly limits: SendLimits
  readonly breaker: BreakerSettings
  readonly prices: PriceOverrides
  readonly assumedCompletionRatio: number
  readonly maxTokenSafety: number
  readonly warnPredictedInputFactor: number
  readonly warnAssumedCompletionFactor: number
  readonly tokenEstimatorWarn: 'never' | 'once' | 'always'
  readonly onlyProcess: boolean
  readonly maxRetries: number
  readonly maxExpiries: number
  readonly retryFatalRequests: boolean
  readonly processFailedBatches: number
  readonly maxUnpushedBatches: number
  readonly pollBaseMs: number
  readonly createGraceMs: number
  readonly directConcurrency: number
  readonly requestTimeoutMs: number
  readonly maxWaitMs: number
}

/** Limits of what is sent together are never smaller than one ordinary request. */
const LEAST_TOKENS = 1000

const pricesOf = (options: ResolvedOptions): PriceOverrides => ({
  inputPerMtok: options.costInputDirectMtoken,
  cachedPerMtok: options.costInputCachedMtoken,
  cacheWritePerMtok: options.costInputCacheWriteMtoken,
  outputPerMtok: options.costOutputDirectMtoken,
  batchInputPerMtok: options.costInputBatchMtoken,
  batchCachedPerMtok: options.costInputCachedBatchMtoken,
  batchCacheWritePerMtok: options.costInputCacheWriteBatchMtoken,
  batchOutputPerMtok: options.costOutputBatchMtoken,
})

export function requesterSettings(options: ResolvedOptions): RequesterSettings {
  const bytes = (megabytes: number) => limitBytes(megabytes, options.maxMbSafety)
  const tokens = (kiloTokens: number, least: number) => limitTokens(kiloTokens, options.maxTokenSafety, least)
  return {
    seal: {
      forceDirect: options.forceDirect,
      minBatchRequests: options.minBatchRequests,
      maxBatchRequests: options.maxBatchRequests,
      maxBatchBytes: bytes(options.maxBatchMb),
      maxBatchTokens: tokens(options.maxBatchKtokens, LEAST_TOKENS),
      maxBatchNanoUsd: nanoUsd(options.maxBatchCost),
      maxDirectRequests: options.maxDirectRequests,
      maxDirectTokens: tokens(options.maxDirectKtokens, LEAST_TOKENS),
      maxDirectNanoUsd: nanoUsd(options.maxDirectCost),
    },
    limits: {
      maxTaskRequests: options.maxTaskRequests,
      maxTaskTokens: tokens(options.maxTaskKtokens, 0),
      maxTaskNanoUsd: nanoUsd(options.maxTaskCost),
      maxSessionRequests: options.maxSessionRequests,
      maxSessionTokens: tokens(options.maxSessionKtokens, 0),
      maxSessionNanoUsd: nanoUsd(options.maxSessionCost),
      maxRemoteBatches: options.maxRemoteBatches,
      maxRemoteRequests: options.maxRemoteRequests,
      maxRemoteBytes: bytes(options.maxRemoteMb),
      maxRemoteTokens: tokens(options.maxRemoteKtokens, LEAST_TOKENS),
      maxRemoteNanoUsd: nanoUsd(options.maxRemoteCost),
      maxSpendNanoUsd: options.maxSpend === undefined ? undefined : nanoUsd(options.maxSpend),
    },
    breaker: { minPassRatio: options.minPassRatio, maxPassFailures: options.maxPassFailures },
    prices: pricesOf(options),
    assumedCompletionRatio: options.assumedCompletionRatio,
    maxTokenSafety: options.maxTokenSafety,
    warnPredictedInputFactor: options.warnPredictedInputFactor,
    warnAssumedCompletionFactor: options.warnAssumedCompletionFactor,
    tokenEstimatorWarn: options.tokenEstimatorWarn,
    onlyProcess: options.onlyProcess,
    maxRetries: options.maxRetries,
    maxExpiries: options.maxExpiries,
    retryFatalRequests: options.retryFatalRequests,
    processFailedBatches: options.processFailedBatches,
    maxUnpushedBatches: options.maxUnpushedBatches,
    pollBaseMs: options.remoteUpdateInterval * 1000,
    createGraceMs: options.createGraceMs,
    directConcurrency: options.directConcurrency,
    requestTimeoutMs: options.requestTimeoutMs,
    maxWaitMs: options.maxWait * 1000,
  }
}
