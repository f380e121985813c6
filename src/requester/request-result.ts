import type { LineOutcome } from '../batch/line-outcome.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { TokenUsage } from '../tokens/usage.ts'

export type { TokenUsage }

/** One answer, or one failed attempt, of one request. It is durable already; `judge` says what becomes of it. */
export interface RequestResult {
  /** The request's number in the ledger. */
  readonly request: number
  readonly key: string
  readonly sample: string
  /** As given with the request; undefined without one. */
  readonly meta: unknown
  /** Attempts used up before this one, from 0. */
  readonly attempt: number
  /** The task's parameters it was generated with. */
  readonly params: unknown
  readonly endpoint: Endpoint
  readonly model: string
  /** The queue file it came from, and how it was sent. `reused`: it was not, its answer was there already. */
  readonly file: number
  readonly via: 'batch' | 'direct' | 'reused'
  /** The body that was sent, as JSON text. */
  readonly bodyText: string
  readonly outcome: LineOutcome
  /** Undefined when the server did not say. */
  readonly usage: TokenUsage | undefined
  /** In nano-USD (10^-9 USD); undefined for a model without a known price, 0 for an attempt that used no tokens. */
  readonly costNanoUsd: number | undefined
}
