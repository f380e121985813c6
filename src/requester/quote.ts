import type { Endpoint } from '../openai/wire.ts'

/** An amount in USD, and what of it is for prompts and for answers. */
export interface QuotedPrice {
  readonly input: number
  readonly output: number
  readonly total: number
}

/** Costs in USD, each as if all requests were sent that way; every request once, nothing cached. */
export interface QuotedCost {
  readonly direct: QuotedPrice
  readonly batch: QuotedPrice
  /** As it would be sent by the present options: large groups as batches, remnants directly. */
  readonly planned: QuotedPrice
  /** `planned`, if every answer were as long as it may be; undefined when a request sets no maximum. */
  readonly most: number | undefined
}

/** What requests amount to. Tokens are those of one attempt for each. */
export interface QuotedAmounts {
  readonly requests: number
  readonly batches: number
  /** Requests that would go in batches; the others go directly. */
  readonly batchRequests: number
  readonly directRequests: number
  /** Size of the lines they are sent as. */
  readonly bytes: number
  /** Prompt tokens: counted with the model's tokenizer, as far as text was counted (`countedShare`). */
  readonly inputTokens: number
  /** Share of the text that was counted, from 0 to 1; the rest is estimated, and corrected by how wrong that was. */
  readonly countedShare: number
  /** What the limits take for the same: tokens by bytes of text, calibrated on a sample; and the cost of these prompts as planned. */
  readonly estimate: { readonly inputTokens: number; readonly inputCost: number }
  /** As assumed: the maximum times `assumedCompletionRatio`. */
  readonly outputTokens: number
  /** Undefined when a request sets no maximum. */
  readonly mostOutputTokens: number | undefined
  readonly cost: QuotedCost
}

export interface QuotedModel extends QuotedAmounts {
  readonly endpoint: Endpoint
  readonly model: string
}

/** A limit that does not let all requests be sent, or the hard cap. */
export interface QuotedCap {
  /** `--max-task-cost`. */
  readonly flag: string
  /** About how many of the new requests it lets be sent. */
  readonly requests: number
  /** For people. */
  readonly text: string
}

/** What sending a task's new requests would take, before anything is sent. Money in USD. */
export interface Quote extends QuotedAmounts {
  readonly models: readonly QuotedModel[]
  /** Requests of earlier runs that have no answer yet; they are in no other figure. */
  readonly pending: number
  readonly caps: readonly QuotedCap[]
  /** What all this rests on, in sentences for people. */
  readonly assumptions: readonly string[]
}
