import type { BreakerSettings } from '../batch/breaker.ts'
import { limitBytes, type SendLimits } from '../batch/limits.ts'
import type { SealSettings } from '../batch/sealing.ts'
import type { ResolvedOptions } from '../util/options.ts'

/** The options a requester works by, in the units it works in. */
export interface RequesterSettings {
  readonly seal: SealSettings
  readonly limits: SendLimits
  readonly breaker: BreakerSettings
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

export function requesterSettings(options: ResolvedOptions): RequesterSettings {
  const bytes = (megabytes: number) => limitBytes(megabytes, options.maxMbSafety)
  return {
    seal: {
      forceDirect: options.forceDirect,
      minBatchRequests: options.minBatchRequests,
      maxBatchRequests: options.maxBatchRequests,
      maxBatchBytes: bytes(options.maxBatchMb),
      maxDirectRequests: options.maxDirectRequests,
    },
    limits: {
      maxTaskRequests: options.maxTaskRequests,
      maxSessionRequests: options.maxSessionRequests,
      maxRemoteBatches: options.maxRemoteBatches,
      maxRemoteRequests: options.maxRemoteRequests,
      maxRemoteBytes: bytes(options.maxRemoteMb),
    },
    breaker: { minPassRatio: options.minPassRatio, maxPassFailures: options.maxPassFailures },
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
