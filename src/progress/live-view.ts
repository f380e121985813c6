import type { Metrics, RequestCounts } from './events.ts'
import type { TimeLeft } from './time-left.ts'

/** A batch that is not over: its answers are not there, or not judged. */
export interface LiveBatch {
  readonly file: number
  /** The server's word for its state, or that of `batch-changed`. */
  readonly status: string
  /** For how long it is in this state, as far as this run saw it, in milliseconds. */
  readonly statusMs: number
  readonly model: string
  readonly requests: number
  /** Answered, with success or without; undefined while the server does not say. */
  readonly answered: number | undefined
}

/** Calls that are made one by one. */
export interface LiveDirect {
  readonly sets: number
  readonly requests: number
  /** Since the oldest of these sets was begun, in milliseconds. */
  readonly ms: number
}

/** All that the live display shows, as of one moment. */
export interface LiveView {
  readonly task: string
  readonly elapsedMs: number
  /** How the run stands: `running`, what it waits for, or how it ended. */
  readonly state: string
  /** More about it, where there is room; empty when there is nothing more. */
  readonly stateDetail: string
  readonly warnings: number
  readonly counts: RequestCounts | undefined
  /** Requests added by this run. */
  readonly added: number
  /** Whether more may be added; undefined while that is not known. */
  readonly isProducing: boolean | undefined
  /** Requests that got their verdict per minute, of late; undefined while there are too few. */
  readonly perMinute: number | undefined
  /** Batches that are not over, in the order of their files. */
  readonly batches: readonly LiveBatch[]
  /** Batches that this run saw through. */
  readonly batchesOver: number
  readonly direct: LiveDirect | undefined
  readonly metrics: Metrics
  readonly left: TimeLeft | undefined
}
