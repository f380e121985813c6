import type { Endpoint } from '../openai/wire.ts'
import type { BatchFault, TerminalStatus } from './steps.ts'

/** What every queue file has, whatever became of it. Sizes are of the local file. */
export interface QueueFileBase {
  readonly id: number
  readonly endpoint: Endpoint
  readonly model: string
  /** Lines in the file. */
  readonly requests: number
  readonly bytes: number
  /** Requests whose current line is here: neither judged nor queued again elsewhere. */
  readonly live: number
  /** Requests of this file that were accepted, or came back expired: what the pass ratio counts. */
  readonly passed: number
}

interface Intended {
  /** Unique mark of one attempt to create a batch: in the upload's name and in the batch's metadata. */
  readonly tag: string
}

interface Uploaded extends Intended {
  readonly inputFileId: string
}

/**
 * A queue file and its place in life:
 *
 *     open -> sealed -> intended -> uploaded -> remote -> ended -> received -> (dropped)
 *                ^                     |  \-> doubtful -> fenced
 *                +--- abandoned <------+----------+---------+       an adopted batch: doubtful/fenced -> remote
 *     open -> direct -> (dropped)
 */
export type QueueFile =
  | (QueueFileBase & { readonly phase: 'open' })
  | (QueueFileBase & { readonly phase: 'sealed' })
  | (QueueFileBase & Intended & { readonly phase: 'intended' })
  | (QueueFileBase & Uploaded & { readonly phase: 'uploaded' })
  | (QueueFileBase & Uploaded & { readonly phase: 'doubtful' })
  | (QueueFileBase & Uploaded & { readonly phase: 'fenced'; readonly fencedAt: number })
  | (QueueFileBase &
      Uploaded & { readonly phase: 'remote'; readonly batchId: string; readonly status: string })
  | (QueueFileBase & Uploaded & EndedBatch & { readonly phase: 'ended' })
  | (QueueFileBase & Uploaded & EndedBatch & { readonly phase: 'received' })
  | (QueueFileBase & { readonly phase: 'direct' })

export interface EndedBatch {
  readonly batchId: string
  readonly status: TerminalStatus
  readonly outputFileId?: string
  readonly errorFileId?: string
  readonly faults: readonly BatchFault[]
}

export type Phase = QueueFile['phase']
export type FileIn<P extends Phase> = Extract<QueueFile, { phase: P }>

export const inPhase =
  <P extends Phase>(...phases: readonly P[]) =>
  (file: QueueFile): file is FileIn<P> =>
    phases.some((phase) => phase === file.phase)

/** Sealed as a batch but not yet known to exist remotely. */
export const isUnpushed = inPhase('sealed', 'intended', 'uploaded', 'doubtful', 'fenced')
/** The server is, or may be, working on it, or its result is not here yet. */
export const isRemote = inPhase('remote', 'ended')
