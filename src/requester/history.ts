import type { RequestState } from '../batch/request-table.ts'
import type { BatchFault, RequeueReason, WipeScope } from '../batch/steps.ts'

/** What one answer cost in nano-USD: null when its model has no known price, undefined when the ledger does not say. */
export type Cost = number | null | undefined

/** The server's reply that a verdict was about, as far as the ledger knows it. */
export interface JudgedReply {
  readonly requestId?: string
  /** In USD; null: no known price; absent: not told (a ledger of an older version). */
  readonly costUsd?: number | null
}

/** One thing that happened to a request, or to the queue file that held it at that time. */
export type HistoryEvent = { readonly at: string } & (
  | {
      readonly kind: 'added'
      /** 0: it went into no file, as it could never be sent, or waits. */
      readonly file: number
      readonly customId: string
      /** Number of the identical request whose answer it waits for. */
      readonly waitsFor?: number
    }
  | { readonly kind: 'sealed'; readonly file: number; readonly as: 'batch' | 'direct' | 'reused' }
  | {
      readonly kind: 'announced'
      readonly file: number
      readonly tag: string
      /** What the whole batch is expected to cost, in USD. */
      readonly expectedUsd?: number
    }
  | { readonly kind: 'uploaded'; readonly file: number; readonly inputFileId: string }
  | { readonly kind: 'create-in-doubt'; readonly file: number; readonly why: string }
  | { readonly kind: 'input-deleted'; readonly file: number }
  | { readonly kind: 'given-up'; readonly file: number; readonly why: string }
  | {
      readonly kind: 'batch-created'
      readonly file: number
      readonly batchId: string
      /** It was found at the server: its creation had got no clear answer. */
      readonly adopted: boolean
    }
  | { readonly kind: 'batch-status'; readonly file: number; readonly status: string }
  | {
      readonly kind: 'batch-ended'
      readonly file: number
      readonly status: string
      readonly faults: readonly BatchFault[]
    }
  | { readonly kind: 'stray-batch'; readonly batchId: string; readonly status: string }
  | { readonly kind: 'stray-received'; readonly batchId: string }
  | ({ readonly kind: 'sent'; readonly file: number } & SentCall)
  | {
      readonly kind: 'uncertain'
      readonly file: number
      /** The most that the lost answer can have cost, in USD: what is charged for it. */
      readonly chargedUsd?: number
    }
  | ({ readonly kind: 'received'; readonly file: number } & ReceivedReply)
  | ({
      readonly kind: 'queued-again'
      readonly why: RequeueReason
      readonly reason?: string
      /** The body was changed. */
      readonly repaired: boolean
      readonly file: number
      readonly customId: string
    } & JudgedReply)
  | ({
      readonly kind: 'accepted'
      /** The file that its output went to; absent when it has none, or the ledger does not tell. */
      readonly output?: string
    } & JudgedReply)
  | ({ readonly kind: 'rejected'; readonly reason: string } & JudgedReply)
  | { readonly kind: 'remembered'; readonly sample: string; readonly value: unknown }
  | { readonly kind: 'wipe-begun'; readonly scope: WipeScope }
  | { readonly kind: 'wiped'; readonly scope: WipeScope }
  | { readonly kind: 'restored' }
)

/** Known since release 0.3. */
interface SentCall {
  /** Asked for at this tier. */
  readonly tier?: 'flex'
  /** What it was expected to cost, in USD. */
  readonly expectedUsd?: number
}

/** But for `reused` known only for a reply that was received alone, as those to direct calls are. */
interface ReceivedReply {
  /** It was there already: an answer to the same request, used again. */
  readonly reused?: true
  readonly inputTokens?: number
  readonly outputTokens?: number
  readonly costUsd?: number | null
  /** It was answered, and priced, at this tier. */
  readonly tier?: 'flex'
  readonly expected?: {
    readonly inputTokens: number
    readonly outputTokens: number
    readonly costUsd: number
  }
}

/** What the answers of one life cost together. */
export interface LifeCost {
  /** In USD; a lower bound unless `unpriced` and `untold` are 0. */
  readonly usd: number
  /** The same in nano-USD (10^-9 USD), and exact. */
  readonly nanoUsd: number
  /** The most that answers can have cost that were lost, in USD; not in `usd`. */
  readonly uncertainUsd: number
  /** Answers of a model without a known price. */
  readonly unpriced: number
  /** Answers of which the ledger does not say what they cost. */
  readonly untold: number
}

/**
 * One life of a key, from being added to its end. A key that was wiped, or whose failure was restored, may be added
 * again: that is another life, with another number.
 */
export interface RequestLife {
  /** Its number in the ledger: `r<request>-<n>` is the `custom_id` of its lines. */
  readonly request: number
  readonly sample: string
  /** Version of the task's parameters it was made with, from 1. */
  readonly paramsVersion: number
  readonly meta?: unknown
  readonly state: RequestState
  /** The queue file that its present line is in; 0 when it is in none. */
  readonly file: number
  readonly endpoint: string | null
  readonly model: string | null
  /** The `custom_id` of its last line. */
  readonly customId: string
  /** Tries that came to a verdict: accepted, rejected or asked again. */
  readonly attempts: number
  readonly cost: LifeCost
  readonly events: readonly HistoryEvent[]
}
