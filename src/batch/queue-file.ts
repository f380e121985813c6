import type { Endpoint } from '../openai/wire.ts'
import type { TokenForecast } from '../tokens/forecast.ts'
import type { RateCard } from '../tokens/prices.ts'
import type { TokenUsage } from '../tokens/usage.ts'
import type { BatchFault, TerminalStatus } from './steps.ts'

/** What every queue file has, whatever became of it. Sizes are of the local file. */
export interface QueueFileBase {
  readonly id: number
  readonly endpoint: Endpoint
  readonly model: string
  /** Lines in the file. */
  readonly requests: number
  readonly bytes: number
  /** Embedding inputs of all its lines together; only known where a batch has a limit of them. */
  readonly inputs?: number
  /** What all its lines are expected to take. Versions before 0.3 did not say. */
  readonly tokens?: TokenForecast
  /** What its present attempt is expected to cost, in nano-USD. */
  readonly expectedNanoUsd?: number
  /** The most that can still be charged for it, in nano-USD: set aside from `maxSpend`. */
  readonly reserved?: number
  /** When its attempt began, in milliseconds since 1970: the day whose prices its batch has. */
  readonly pricedAt?: number
  /** Its batch was cancelled for a deadline: what it leaves unanswered uses nothing up. */
  readonly recalled?: true
  /** Requests whose current line is here: neither judged nor queued again elsewhere. */
  readonly live: number
  /** Requests of this file that were accepted, or came back expired or cancelled: what the pass ratio counts. */
  readonly passed: number
  /** What came of it so far; absent before anything did. For people: nothing is decided by it. */
  readonly results?: FileResults
}

/** What came of the lines of a queue file: `requests` of the file is their sum when the file is done. */
export interface FileResults {
  readonly succeeded: number
  /** For good. */
  readonly failed: number
  /** Queued again after an answer that was not good. */
  readonly retried: number
  /** Queued again because they came back expired or cancelled. */
  readonly expired: number
  /** Queued again for any other reason, such as that they were not sent after all. */
  readonly untried: number
  /** Of all answers to it. */
  readonly usage: TokenUsage
  /** A lower bound where a price is not known. */
  readonly costNanoUsd: number
}

/** How many of the live requests of a direct set are not `queued` any more; absent before the first is sent. */
export interface DirectCalls {
  /** On the wire: sent, and not answered. */
  readonly sent: number
  /** Answered, and without a verdict. */
  readonly received: number
}

interface Intended {
  /** Unique mark of one attempt to create a batch: in the upload's name and in the batch's metadata. */
  readonly tag: string
}

interface Uploaded extends Intended {
  readonly inputFileId: string
  /** When the input file came to be, in seconds since 1970 by the server's clock. */
  readonly since?: number
}

interface Created extends Uploaded {
  readonly batchId: string
  /** The batch was found, not answered for: its input file may have been deleted before the server read it. */
  readonly adopted?: true
}

/**
 * A queue file and its place in life:
 *
 *     open -> sealed -> intended -> uploaded -> remote -> ended -> received -> (dropped)
 *                ^                     |  \-> doubtful -> fenced
 *                +--- abandoned <------+----------+---------+       an adopted batch: doubtful/fenced -> remote
 *     open -> direct -> (dropped)                                   a stray that is adopted: sealed/intended -> remote
 *     filling -> reused -> (dropped)                                each line is added with its answer, none is sent
 */
export type QueueFile =
  | (QueueFileBase & { readonly phase: 'open' })
  | (QueueFileBase & { readonly phase: 'sealed' })
  | (QueueFileBase & Intended & { readonly phase: 'intended' })
  | (QueueFileBase & Uploaded & { readonly phase: 'uploaded' })
  | (QueueFileBase & Uploaded & { readonly phase: 'doubtful' })
  | (QueueFileBase & Uploaded & { readonly phase: 'fenced'; readonly fencedAt: number })
  | (QueueFileBase & Created & { readonly phase: 'remote'; readonly status: string })
  | (QueueFileBase & Created & EndedBatch & { readonly phase: 'ended' })
  | (QueueFileBase &
      Created &
      EndedBatch & {
        readonly phase: 'received'
        readonly answers?: number
        /** What its answers were priced by. */
        readonly rates?: RateCard
        /** The factor by which counts were raised for the most that answers can have cost that do not say. */
        readonly safety?: number
      })
  | (QueueFileBase & { readonly phase: 'direct'; readonly calls?: DirectCalls })
  | (QueueFileBase & { readonly phase: 'filling' })
  | (QueueFileBase & { readonly phase: 'reused' })

export interface EndedBatch {
  readonly status: TerminalStatus
  readonly outputFileId?: string
  readonly errorFileId?: string
  readonly faults: readonly BatchFault[]
  /** Tokens of the whole batch by the server's own count. */
  readonly usage?: TokenUsage
  /** From its creation to its end, in milliseconds, as far as the server says. */
  readonly tookMs?: number
  /** The server does not know it any more. */
  readonly gone?: true
}

/** Of how a batch ended what its cost depends on. */
interface Ending extends Pick<EndedBatch, 'status'> {
  readonly outputFileId?: string | undefined
  readonly errorFileId?: string | undefined
  readonly usage?: TokenUsage | undefined
}

/** The server counts tokens for it, whatever came of them. */
export const isWorkedOn = ({ usage }: Pick<Ending, 'usage'>): boolean => (usage?.input ?? 0) > 0

/** Whether a batch that is over may have cost something: one that failed without an answer was never worked on. */
export function mayHaveCost(batch: Ending): boolean {
  const { status, outputFileId, errorFileId } = batch
  return status !== 'failed' || Boolean(outputFileId ?? errorFileId) || isWorkedOn(batch)
}

export type Phase = QueueFile['phase']
export type FileIn<P extends Phase> = Extract<QueueFile, { phase: P }>

export const inPhase =
  <P extends Phase>(...phases: readonly P[]) =>
  (file: QueueFile): file is FileIn<P> =>
    phases.some((phase) => phase === file.phase)

/** Its lines wait to be sent, or it is not known that they were. */
export const isQueued = inPhase('open', 'sealed', 'intended', 'uploaded', 'doubtful', 'fenced')
/** Sealed as a batch but not yet known to exist remotely. */
export const isUnpushed = inPhase('sealed', 'intended', 'uploaded', 'doubtful', 'fenced')
/** The server is, or may be, working on it, or its result is not here yet. */
export const isRemote = inPhase('remote', 'ended')

/** Its requests are answered already, by answers that were there before. */
export const holdsReused = inPhase('filling', 'reused')

/** A batch in a message: `batch 3 (batch_2c32)`, by the number that it has everywhere and by the server's id. */
export const batchName = ({ id, batchId }: { readonly id: number; readonly batchId: string }): string =>
  `batch ${id} (${batchId})`

/** The remote files of a batch that is over. */
export const remoteFilesOf = ({ inputFileId, outputFileId, errorFileId }: FileIn<'ended'>): string[] =>
  [inputFileId, outputFileId, errorFileId].filter((id) => id !== undefined)
