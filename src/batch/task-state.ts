import type { Phase, QueueFile } from './queue-file.ts'
import type { WipeScope } from './steps.ts'
import type { AttemptAtLarge, Stray } from './stray.ts'

/** Identity of a task: what a later run is compared with to notice that its code has drifted. */
export interface TaskIdentity {
  /** Random, made once; the first part of every tag. */
  readonly taskId: string
  readonly className: string
  readonly endpoint: string
  /** Hash of the answer schema, empty without one. */
  readonly schema: string
}

export interface Counters {
  readonly requests: number
  readonly succeeded: number
  readonly failed: number
  readonly pending: number
}

/** What the replies received so far used and cost. Survives every wipe. */
export interface Spending {
  /** Requests put on the wire, by batch or directly, repeats included. */
  readonly sentRequests: number
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly cacheWriteTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
  /** By real usage, all ways of sending together. */
  readonly costNanoUsd: number
  /** Of it what direct calls cost at the full price, and at the flex tier; the rest came by batch. */
  readonly directNanoUsd: number
  readonly flexNanoUsd: number
  /** What verdicts have assigned to their requests; the rest was paid for answers that are not judged yet, or that no request used. */
  readonly judgedNanoUsd: number
  /** What the same tokens cost by direct calls. */
  readonly listNanoUsd: number
  /** The most that calls cost whose answers were lost: not in `costNanoUsd`, but counted against `maxSpend`. */
  readonly uncertainNanoUsd: number
  /** Estimates of what was sent, as the soft limits count it. */
  readonly sentInputTokens: number
  readonly sentNanoUsd: number
  /** What had been expected of the requests that were answered. */
  readonly expectedInputTokens: number
  readonly expectedOutputTokens: number
  readonly expectedNanoUsd: number
  /** What these answers reported. */
  readonly comparedInputTokens: number
  readonly comparedOutputTokens: number
  readonly comparedNanoUsd: number
  /** Replies whose model has no known price; while there are any, the cost is a lower bound. */
  readonly unpricedReplies: number
  /** Replies that said nothing of their tokens; they are charged the most they can have cost. */
  readonly unmeteredReplies: number
  /** Verdicts of ledgers of format 1, which do not say what their replies cost: `judgedNanoUsd` is without them. */
  readonly untoldVerdicts: number
  /** Requests that were given an answer that was there already, and what that saved. */
  readonly reusedReplies: number
  readonly savedNanoUsd: number
}

/** Tallies for the summary and for people; nothing is decided by them. */
export interface Tally {
  readonly batches: number
  readonly directSets: number
  readonly retries: number
  readonly expired: number
  readonly uncertain: number
  readonly strays: number
}

/**
 * Everything a run has to know beside the requests themselves. Small: it does not grow with their number. It is a
 * fold of the ledger's steps (`applyStep`) and is never changed in place.
 */
export interface TaskState {
  /** How the ledger is to be read; see ledger-format.ts. */
  readonly format: number
  readonly identity: TaskIdentity | undefined
  readonly account: string | undefined
  /** Versions of the task's parameters; the last one is in force. */
  readonly params: readonly unknown[]
  readonly files: ReadonlyMap<number, QueueFile>
  readonly lastFile: number
  readonly counters: Counters
  readonly spending: Spending
  readonly tally: Tally
  /** Remote files that are of no more use and are to be deleted. */
  readonly litter: ReadonlySet<string>
  /** Tags of attempts that were given up, and the queue file each was for. */
  readonly retiredTags: ReadonlyMap<string, number>
  /** Retired tags whose create may have reached the server, as far as is known: a batch of one may still turn up. */
  readonly atLarge: ReadonlyMap<string, AttemptAtLarge>
  /** Batches of retired tags that did turn up, by their ids. */
  readonly strays: ReadonlyMap<string, Stray>
  /**
   * Tags whose upload may have led to a file that nobody knows, and when that was last doubted, in milliseconds since
   * 1970. Such files are to be searched for once they can no longer appear.
   */
  readonly uploadDoubts: ReadonlyMap<string, number>
  /** What batches took from their creation to their end, in milliseconds: of the last that were worked on to the end. */
  readonly batchDurationsMs: readonly number[]
  /** Consecutive batches whose share of usable answers was too low. */
  readonly passFailures: number
  /** A wipe that was begun and not finished. */
  readonly wipe: WipeScope | undefined
  /** Answers that a wipe of the whole task has thrown away so far, beside those that had been accepted. */
  readonly thrownAway: number
  /** The output part being written and the lines in it. */
  readonly output: { readonly part: number; readonly lines: number }
}

export const initialState: TaskState = Object.freeze({
  // That of the ledgers that do not say.
  format: 1,
  identity: undefined,
  account: undefined,
  params: [],
  files: new Map(),
  lastFile: 0,
  counters: { requests: 0, succeeded: 0, failed: 0, pending: 0 },
  spending: {
    sentRequests: 0,
    inputTokens: 0,
    cachedInputTokens: 0,
    cacheWriteTokens: 0,
    outputTokens: 0,
    reasoningTokens: 0,
    costNanoUsd: 0,
    directNanoUsd: 0,
    flexNanoUsd: 0,
    judgedNanoUsd: 0,
    listNanoUsd: 0,
    uncertainNanoUsd: 0,
    sentInputTokens: 0,
    sentNanoUsd: 0,
    expectedInputTokens: 0,
    expectedOutputTokens: 0,
    expectedNanoUsd: 0,
    comparedInputTokens: 0,
    comparedOutputTokens: 0,
    comparedNanoUsd: 0,
    unpricedReplies: 0,
    unmeteredReplies: 0,
    untoldVerdicts: 0,
    reusedReplies: 0,
    savedNanoUsd: 0,
  },
  tally: { batches: 0, directSets: 0, retries: 0, expired: 0, uncertain: 0, strays: 0 },
  litter: new Set<string>(),
  retiredTags: new Map<string, number>(),
  atLarge: new Map<string, AttemptAtLarge>(),
  strays: new Map<string, Stray>(),
  uploadDoubts: new Map<string, number>(),
  batchDurationsMs: [],
  passFailures: 0,
  wipe: undefined,
  thrownAway: 0,
  output: { part: 1, lines: 0 },
})

/** Parameters in force: undefined before the task is created. */
export const currentParams = (state: TaskState): unknown => state.params.at(-1)

/** The open queue file of a group, if there is one. */
export const openFileOf = (state: TaskState, endpoint: string, model: string): QueueFile | undefined =>
  fileInPhase(state, 'open', endpoint, model)

/** The same for requests whose answers are there already. */
export const fillingFileOf = (state: TaskState, endpoint: string, model: string): QueueFile | undefined =>
  fileInPhase(state, 'filling', endpoint, model)

function fileInPhase(state: TaskState, phase: Phase, endpoint: string, model: string): QueueFile | undefined {
  for (const file of state.files.values()) {
    if (file.phase === phase && file.endpoint === endpoint && file.model === model) return file
  }
  return undefined
}
