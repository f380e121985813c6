import type { Fetch } from '../util/fetch.ts'
import type { Secret } from '../util/secret.ts'
import type { Mode } from './domain/request.ts'

/** Who may call. */
export type Access =
  /** Anybody who reaches the port: on loopback without a key, or where `--no-auth --i-trust-this-network` says so. */
  | { readonly kind: 'open'; readonly why: 'loopback' | 'trusted' }
  /** Who has a key: the one of the environment, or one that `nightshift gateway keys add` gave. */
  | { readonly kind: 'keys'; readonly key: Secret | undefined }

export type StorePlace =
  | { readonly kind: 'sqlite'; readonly dataDir: string }
  | { readonly kind: 'postgres'; readonly url: Secret }

/** The server that does the work: from the gateway's own configuration, never from a caller. */
export interface Upstream {
  readonly apiKey: Secret
  /** With its version part; default: OpenAI's. */
  readonly baseUrl: string | undefined
  readonly organization: string | undefined
  readonly project: string | undefined
  /** Default: the global one. */
  readonly fetch: Fetch | undefined
}

/** All that a gateway is told, resolved: nothing is optional any more but what may truly be absent. */
export interface GatewaySettings {
  readonly store: StorePlace
  readonly upstream: Upstream
  readonly access: Access
  /** Only programs of this machine reach it (it listens on loopback alone), so webhooks may lead to this machine. Absent: others may, too. */
  readonly isLocal?: boolean | undefined
  /** How callers wait who do not say. */
  readonly mode: Mode
  /** A batch is cut so long after the first request of its group, in milliseconds. */
  readonly windowMs: number
  readonly maxBatchRequests: number
  readonly maxBatchBytes: number
  /** Prompt tokens, as estimated. */
  readonly maxBatchTokens: number
  readonly pollMinMs: number
  readonly pollMaxMs: number
  /** Groups with fewer requests than this when their window ends are called directly, at full price; 0: none are. */
  readonly directBelow: number
  /** How long answers serve identical calls, in milliseconds; 0: they do not. */
  readonly cacheMs: number
  /** How long a delivered answer is given again to `poll` and `async`. */
  readonly claimMs: number
  /** A held call ends after so long at most, whatever its client would bear. */
  readonly maxHoldMs: number
  /** Between two signs of life on a stream, in milliseconds. */
  readonly heartbeatMs: number
  readonly maxBodyBytes: number
  /** Requests that may wait at once. */
  readonly maxQueued: number
  /** Flex and direct calls at once. */
  readonly callConcurrency: number
  /** Times a request is tried before its failure is given to its caller. */
  readonly maxAttempts: number
  /** Times a request may come back without having been tried. */
  readonly maxExpiries: number
  readonly requestTimeoutMs: number
  /** How long a create in doubt is waited for, in milliseconds, before it is begun anew. */
  readonly createGraceMs: number
  /** How long what is done is kept. */
  readonly retentionMs: number
  /** Signs webhooks; undefined: callers may not ask for any. */
  readonly webhookSecret: Secret | undefined
}
