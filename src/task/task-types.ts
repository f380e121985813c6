import type { Choice, ReplyWarning, ToolCall } from '../batch/reply.ts'
import type { Remembered } from '../batch/request-table.ts'
import type { Endpoint, EndpointBodies } from '../openai/wire.ts'
import type { PilotReport } from '../requester/pilot-report.ts'
import type { Quote } from '../requester/quote.ts'
import type { Receipt } from '../requester/receipt.ts'
import type { TokenUsage } from '../requester/request-result.ts'
import type { RunOutcome } from '../requester/requester.ts'

/** A request as `generateRequests` yields it. */
export interface TaskRequest<E extends Endpoint = '/v1/chat/completions'> {
  /** Unique in the task and the same in every run: a key that was committed before is skipped. */
  readonly key: string
  /** The body of the endpoint. It reaches the server as given, but for the answer schema and `stream`. */
  readonly body: EndpointBodies[E]
  /** Groups several requests. Default: `key`. */
  readonly sample?: string
  /** Any JSON value; comes back with the response. */
  readonly meta?: unknown
}

/** What every attempt has, answered or not. */
export interface TaskAttempt<E extends Endpoint = Endpoint> {
  readonly key: string
  readonly sample: string
  /** As given with the request; undefined without one. */
  readonly meta: unknown
  /** The task's parameters that the request was generated with. */
  readonly params: unknown
  /** The body as it was sent. */
  readonly body: EndpointBodies[E]
  /** Which attempt this is, from 1. Attempts that expired are not counted. */
  readonly attempt: number
  /** Undefined when the server did not say. */
  readonly usage: TokenUsage | undefined
  /** In USD; undefined for a model without a known price, 0 when nothing was used. */
  readonly cost: number | undefined
}

/** A usable reply, as `processResponse` gets it. */
export interface TaskResponse<Answer = unknown, E extends Endpoint = Endpoint> extends TaskAttempt<E> {
  /** The body of the server's answer, as it came. */
  readonly reply: unknown
  /** Text of the first choice. */
  readonly text: string
  /** The text, parsed and checked by the answer schema; undefined only when the task has none. */
  readonly answer: Answer
  readonly choices: readonly Choice[]
  /** Of the first choice. */
  readonly toolCalls: readonly ToolCall[]
  /** One vector per input; undefined for other endpoints than embeddings. */
  readonly embeddings: readonly (readonly number[])[] | undefined
  /** What is odd about the reply, such as a cut or a refusal. With an answer schema those are failures instead. */
  readonly warnings: readonly ReplyWarning[]
}

/** A failed attempt, as `processFailure` gets it. */
export interface TaskFailure<E extends Endpoint = Endpoint> extends TaskAttempt<E> {
  /**
   * What went wrong: the server's own code, `http_<status>`, or one of `refusal`, `length`, `content_filter`,
   * `invalid_json`, `invalid_answer`, `no_answer` (a tool was called instead), `missing_line`, `batch_expired`,
   * `batch_cancelled`.
   */
  readonly code: string
  readonly message: string
  /** HTTP status, where there was one. */
  readonly status: number | undefined
  /** The same request may succeed when it is sent again. */
  readonly retryable: boolean
  /** Attempts that may still follow; a `retry` with none left is a reject. */
  readonly attemptsLeft: number
  /** The server's answer, when there was one. */
  readonly reply: unknown
  /** Text of the first choice, empty without one. */
  readonly text: string
  readonly choices: readonly Choice[]
  readonly toolCalls: readonly ToolCall[]
}

/** What is known about a sample, the reply in hand counted as answered. */
export interface SampleView {
  readonly pending: number
  readonly succeeded: number
  readonly failed: number
  /** What verdicts on this sample's requests asked to remember, in the order of the verdicts. */
  readonly remembered: readonly Remembered[]
}

/** The samples of a task. */
export interface Samples {
  /** Zeros and an empty list for a sample nobody has heard of. */
  get(sample: string): SampleView
  has(sample: string): boolean
}

/** How a run ended, and where the task stands. */
export interface RunSummary {
  readonly name: string
  /** Nothing is left to do: every request has succeeded or failed for good. */
  readonly complete: boolean
  /** `only-process`, `limits`, `failed-batches`, `pass-ratio`, `pilot` and `interrupted` can be resumed by running again. */
  readonly outcome: RunOutcome | 'no-run' | 'dry-run' | 'quote' | 'pilot'
  /** More about the outcome, for people. */
  readonly details: readonly string[]
  /** Requests committed so far, over all runs. */
  readonly requests: number
  readonly succeeded: number
  readonly failed: number
  readonly pending: number
  /** Requests added by this run. */
  readonly added: number
  /** Verdicts of this run. */
  readonly judged: number
  /** Tokens used so far, over all runs. */
  readonly usage: TokenUsage
  /** USD spent so far, over all runs; a lower bound when replies came from models without a known price. */
  readonly cost: number
  /** What the task and this run of it used, cost and saved, exactly. */
  readonly receipt: Receipt
  readonly batches: number
  readonly directSets: number
  readonly retries: number
  readonly elapsedMs: number
  /** Of a run with `quote`. */
  readonly quote?: Quote
  /** Of a run with `pilot` whose pilot was completed. */
  readonly pilot?: PilotReport
  /** Files of the output, in order; empty before the first line. */
  readonly output: readonly string[]
  /** The file of failed requests, when there are any. */
  readonly failedFile: string | undefined
}

/** What a schema may depend on. */
export interface RequestInHand {
  readonly key: string
  readonly sample: string
  readonly meta: unknown
}
