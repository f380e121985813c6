import type { PricedApi } from '../tokens/prices.ts'
import type { QueueFile } from './queue-file.ts'
import type { SampleTally } from './request-table.ts'
import type { Spending, TaskState } from './task-state.ts'

/** What figures are made of: the state as it is on disk, and what only a running requester knows. */
export interface MetricFacts {
  readonly state: TaskState
  /** Spending when the run began. */
  readonly before: Spending
  /** The highest number that a request has been given. */
  readonly lastRequest: number
  readonly samples: SampleTally
  /** Requests that were added and are not committed yet. */
  readonly uncommitted: number
  /** Bytes of the output part being written. */
  readonly outputBytes: number
  /** What the server last said of the batches of queue files, by the files' ids. */
  readonly progress: ReadonlyMap<number, BatchProgress>
  /** What the lines of a queue file are expected to cost, in nano-USD; 0 where there is no price. */
  readonly expectedNanoUsd: (file: QueueFile, api: PricedApi) => number
  /** The hard cap; undefined without one. */
  readonly maxSpendNanoUsd: number | undefined
  /** Failed batches that this run has finished all the same. */
  readonly processedFailedBatches: number
  /** Passes over the generator that this run has begun. */
  readonly passes: number
  /** More requests may come by themselves. */
  readonly isProducing: boolean
  /** Verdicts a minute, of late; undefined while too little is known. */
  readonly requestsPerMinute: number | undefined
}

export interface BatchProgress {
  readonly completed: number
  readonly failed: number
}
