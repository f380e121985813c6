import type { TokenForecast } from '../../tokens/forecast.ts'
import type { Mode, Priority, QueueGroup, Route } from './request.ts'

/** A call as it came in, checked and ready to be put on record. */
export interface Arrival extends QueueGroup {
  /** The id that it has if it turns out to be a new request. */
  readonly id: string
  /** Digest of endpoint and body, by which an identical call is known. */
  readonly fingerprint: string
  /** JSON text on one line, as it goes into the batch line. */
  readonly bodyText: string
  readonly lineBytes: number
  readonly tokens: TokenForecast
  /** The most that it can be charged by batch, in nano-USD; undefined when nobody can say. */
  readonly mostNanoUsd: number | undefined
  /** The most that it can be charged when it is called by itself (flex or direct), in nano-USD; absent: no more than `mostNanoUsd`. */
  readonly mostDirectlyNanoUsd?: number | undefined
  /** Embedding inputs in it; absent: none. */
  readonly inputs?: number | undefined
  readonly idempotencyKey: string | undefined
  readonly mode: Mode
  readonly priority: Priority
  readonly route: Route
  readonly deadlineAt: number | undefined
  readonly maxNanoUsd: number | undefined
  readonly webhook: string | undefined
  /** The replica whose live caller waits for it; undefined when nobody does (`async`, `poll`, `cache`). */
  readonly holder: string | undefined
  /** An answer of this age at most, in milliseconds, serves instead of a new request; 0: none does. */
  readonly cacheMs: number
  /** An answer that was delivered this long ago at most, in milliseconds, is given again in `poll` and `async`. */
  readonly claimMs: number
}

/** What became of a call. */
export type Acceptance =
  /** It is on disk, under the id it came with. `route`: it goes by this, since its tenant cannot pay for the one it came with. */
  | { readonly kind: 'new'; readonly id: string; readonly route?: Route }
  /** It is the same as a request that is there already, which it now waits for, or whose answer is there. */
  | { readonly kind: 'joined'; readonly id: string; readonly isDone: boolean }
  /** An answer that serves from the cache. */
  | { readonly kind: 'cached'; readonly id: string }
  /** Mode `cache`: nothing is stored. `pending`: the id of the request that will answer it. */
  | { readonly kind: 'absent'; readonly pending: string | undefined }
  /** The idempotency key was used with another body. */
  | { readonly kind: 'conflict'; readonly id: string }
  /** Its caller was gone before it could be put on record: nothing is stored. */
  | { readonly kind: 'unwanted' }
  /** Whether it is new cannot be told yet: nothing is stored. */
  | { readonly kind: 'unsure' }
  /** As many requests wait as may. */
  | { readonly kind: 'full'; readonly waiting: number }
  /** The tenant would pass what it may spend. Amounts in nano-USD. */
  | { readonly kind: 'over-limit'; readonly spent: number; readonly reserved: number; readonly limit: number }
  /** The tenant has a limit, and what the request may cost cannot be told. */
  | { readonly kind: 'unbounded'; readonly limit: number }

/** Limits that hold for whatever is accepted. */
export interface AcceptLimits {
  /** Requests that may wait at once, all tenants together. */
  readonly maxQueued: number
}
