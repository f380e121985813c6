import type { Metrics } from '../batch/metrics.ts'

export type { Metrics }

/** Facts about a run, in the order they became durable. Reporters read them; nothing else depends on them. */
export type ProgressEvent =
  | {
      readonly kind: 'run-started'
      readonly task: string
      readonly counts: RequestCounts
      /** Those that are not as by default, as flags: `--max-spend 5`. */
      readonly options?: string
    }
  | { readonly kind: 'requests-added'; readonly added: number; readonly counts: RequestCounts }
  | {
      readonly kind: 'batch-changed'
      readonly file: number
      /**
       * The server's word, or, while there is no batch at the server: `uploading`; `sealed`, when an attempt was given up
       * and it waits for the next; `refused`, when it waits for a person. `requeued` is the last of it: its requests
       * are in other files now.
       */
      readonly status: string
      readonly model: string
      readonly requests: number
      readonly completed?: number
      readonly failed?: number
      readonly remoteId?: string
      /** When the batch came to be, and when it came into this state, by the server, in milliseconds since 1970. */
      readonly createdMs?: number
      readonly sinceMs?: number
    }
  | {
      readonly kind: 'direct-started'
      readonly file: number
      readonly model: string
      readonly requests: number
    }
  | {
      readonly kind: 'waiting'
      readonly reason: string
      readonly untilMs: number
      readonly counts: RequestCounts
    }
  | { readonly kind: 'judged'; readonly counts: RequestCounts }
  | {
      readonly kind: 'request-failed'
      readonly key: string
      readonly reason: string
      readonly final: boolean
    }
  | {
      readonly kind: 'direct-call'
      readonly key: string
      readonly ok: boolean
      /** Answered, but with something to look at: refused, cut off, filtered. */
      readonly warned: boolean
      readonly request: string
      readonly reply: string
    }
  | { readonly kind: 'warning'; readonly code: string; readonly message: string }
  /** What was to be forgotten (`--wipe-requests|failed|task`) now is; the counts are of what was. */
  | {
      readonly kind: 'wiped'
      readonly scope: 'requests' | 'failed' | 'task'
      readonly pending: number
      readonly failed: number
      readonly thrownAway: number
    }
  /** All figures of the task: once when a run starts, once before it ends, and between at most once a second. */
  | { readonly kind: 'sample'; readonly metrics: Metrics; readonly counts: RequestCounts }
  /** A batch, or a set of direct calls, is over: every request of it has its verdict, or is queued elsewhere. */
  | { readonly kind: 'batch-result'; readonly file: number; readonly metrics: Metrics }
  /** Where people can watch the run, at Weights & Biases. Told once W&B knows it. */
  | { readonly kind: 'monitored'; readonly url: string }
  /** The run is over, and everything of it closed; nothing is told after this, or after `run-failed`. */
  | { readonly kind: 'run-finished'; readonly outcome: string; readonly counts: RequestCounts }
  /** The run threw. `code`: of a NightshiftError, else `error`. `stack`: of what a hook of the task threw. */
  | {
      readonly kind: 'run-failed'
      readonly message: string
      readonly code: string
      readonly stack?: string
    }

/** Where the requests of a task are. `requests = succeeded + failed + pending`; `queued + inFlight <= pending`. */
export interface RequestCounts {
  readonly requests: number
  readonly succeeded: number
  readonly failed: number
  readonly pending: number
  /** In a local queue file and not sent, or waiting for the answer to an identical request. */
  readonly queued: number
  /** In a remote batch, or sent directly and not answered. */
  readonly inFlight: number
  /** Spent so far, in nano-USD (10^-9 USD); undefined while a price is unknown. */
  readonly costNanoUsd: number | undefined
}
