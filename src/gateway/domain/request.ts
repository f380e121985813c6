import type { Endpoint } from '../../openai/wire.ts'
import type { TokenForecast } from '../../tokens/forecast.ts'
import type { TokenUsage } from '../../tokens/usage.ts'

/** How a caller waits for its answer; chosen per server and per request (`X-Nightshift-Mode`). */
export const MODES = ['sync', 'async', 'poll', 'cache'] as const
export type Mode = (typeof MODES)[number]

/** `high` does not wait for a batch; `low` is never sent but by batch, whatever its deadline. */
export const PRIORITIES = ['low', 'normal', 'high'] as const
export type Priority = (typeof PRIORITIES)[number]

/** The rungs of the ladder, the cheapest first. */
export const ROUTES = ['batch', 'flex', 'direct'] as const
export type Route = (typeof ROUTES)[number]

/** What goes into one batch: one tenant, one endpoint, one model (a batch of two models is refused whole). */
export interface QueueGroup {
  readonly tenant: string
  readonly endpoint: Endpoint
  readonly model: string
  /** Requests with a deadline are batched apart, so that calling them back costs the others nothing. */
  readonly hasDeadline: boolean
}

/**
 * Where a request is in its life:
 *
 *     queued -> batched -> done         its line is in a batch
 *        ^  \-> calling -> done         it is on the wire by itself (flex or direct)
 *        +---------+                    it comes back: expired, cancelled with its batch, or a failure that may pass
 *
 * A request is accepted once and ends once: nothing leaves `done`.
 */
export type RequestState = 'queued' | 'batched' | 'calling' | 'done'

/** How a request that is done ended: with an answer, with its own error, or by its caller's wish. */
export type Ending = 'succeeded' | 'failed' | 'cancelled'

/** A request as it is kept, without its body and its answer. Times are in milliseconds since 1970, by the store's clock. */
export interface StoredRequest extends QueueGroup {
  /** `req_` and 1 to 59 of `a-z A-Z 0-9 _ -`: also the `custom_id` of its lines. */
  readonly id: string
  readonly state: RequestState
  readonly fingerprint: string
  readonly idempotencyKey: string | undefined
  readonly mode: Mode
  readonly priority: Priority
  /** When its answer is wanted. */
  readonly deadlineAt: number | undefined
  /** The most that the caller lets it cost, in nano-USD; undefined: whatever the tenant has. */
  readonly maxNanoUsd: number | undefined
  readonly webhook: string | undefined
  readonly route: Route
  /** Bytes of its line in a batch file, line break included. */
  readonly lineBytes: number
  readonly tokens: TokenForecast
  /** The most that can still be charged for it, in nano-USD: set aside from what its tenant may spend. */
  readonly reservedNanoUsd: number
  /** Number of the batch that has its line; undefined unless `batched`. */
  readonly batch: number | undefined
  /** Attempts used up: it was tried and failed. */
  readonly attempts: number
  /** Times it came back without having been tried. */
  readonly expiries: number
  readonly createdAt: number
  /** It is not sent before. */
  readonly readyAt: number
  readonly finishedAt: number | undefined
  readonly deliveredAt: number | undefined
  /** For `done`. */
  readonly ending: Ending | undefined
  readonly costNanoUsd: number | undefined
}

/** What a caller gets for a request that is done: the server's own answer, or an error. */
export interface StoredAnswer {
  readonly id: string
  readonly ending: Ending
  readonly status: number
  /** JSON text, as the server wrote it. */
  readonly body: string
  /** The server's own id of the call. */
  readonly requestId: string | undefined
  readonly route: Route
  /** Remote id of the batch that it came from. */
  readonly batchId: string | undefined
  readonly finishedAt: number
}

/** What became of a line or a call, to be put on record. */
export type Outcome =
  | {
      /** It ends. `ending` is `succeeded` for a 2xx answer. */
      readonly kind: 'ended'
      readonly id: string
      readonly ending: Ending
      readonly status: number
      readonly body: string
      readonly requestId?: string | undefined
      readonly usage?: TokenUsage | undefined
      /** Undefined for a model without a known price. */
      readonly costNanoUsd?: number | undefined
      readonly route: Route
    }
  | {
      /** It is queued once more. */
      readonly kind: 'again'
      readonly id: string
      /** What is used up: an attempt when it was tried, an expiry when it was not; `nothing` when it was never sent. */
      readonly uses: 'attempt' | 'expiry' | 'nothing'
      readonly readyAt: number
      readonly route: Route
      /** What the try was charged all the same, in nano-USD. */
      readonly costNanoUsd?: number | undefined
    }
