import type { BatchFault } from '../../batch/steps.ts'
import type { QueueGroup } from './request.ts'

/**
 * Where a batch is in its life. The phases up to `remote` are those of the submit protocol (`batch/submit.ts`):
 *
 *     sealed -> intended -> uploaded -> remote -> ended -> done
 *        ^                     |  \-> doubtful -> fenced
 *        +----- abandoned -----+----------+---------+        an adopted batch: doubtful/fenced -> remote
 */
export const BATCH_PHASES = [
  'sealed',
  'intended',
  'uploaded',
  'doubtful',
  'fenced',
  'remote',
  'ended',
  'done',
] as const
export type BatchPhase = (typeof BATCH_PHASES)[number]

/** A batch as it is kept. Times are in milliseconds since 1970, by the store's clock. */
export interface GatewayBatch extends QueueGroup {
  readonly number: number
  readonly phase: BatchPhase
  /** Lines in it. */
  readonly requests: number
  /** Lines whose request still waits for it. */
  readonly live: number
  readonly bytes: number
  /** Prompt tokens of all its lines, as estimated. */
  readonly tokens: number
  readonly createdAt: number
  /** When its phase was committed, and by which holder (see `epoch`): another one does not know what came after. */
  readonly phaseAt: number
  /** The epoch in which its present phase was committed. */
  readonly phaseEpoch: number
  /** Raised by one each time it is claimed: a change by an older epoch is refused. */
  readonly epoch: number
  /** Unique mark of the present attempt: in the upload's name and in the remote batch's metadata. */
  readonly tag: string | undefined
  /** An upload with this tag may be there without our having its answer. */
  readonly uploadInDoubt: boolean
  readonly inputFileId: string | undefined
  /** When the input file came to be, in seconds since 1970 by the server's clock. */
  readonly since: number | undefined
  readonly fencedAt: number | undefined
  /** Remote id. */
  readonly batchId: string | undefined
  /** It was found in a listing, not answered for. */
  readonly adopted: boolean
  /** The server's word for its state. */
  readonly status: string | undefined
  /** The remote batch object as the server last gave it, JSON text. */
  readonly remote: string | undefined
  readonly outputFileId: string | undefined
  readonly errorFileId: string | undefined
  readonly faults: readonly BatchFault[]
  /** Times it was seen ended without the files it must have. */
  readonly looks: number
  /** Failures in a row of what is being tried. */
  readonly failures: number
  /** Somebody asked for its cancellation: `caller` ends its unanswered requests, `deadline` sends them another way. */
  readonly cancel: 'caller' | 'deadline' | undefined
  /** The earliest deadline among its requests. */
  readonly deadlineAt: number | undefined
  /** When it is to be looked at next. */
  readonly nextAt: number
  /** Why it is where it is, for people. */
  readonly note: string | undefined
}

/** What may be changed of a batch, all in one commit. A field that is absent stays; `undefined` clears it. */
export type BatchChange = Partial<
  Omit<
    GatewayBatch,
    | 'number'
    | 'requests'
    | 'live'
    | 'bytes'
    | 'tokens'
    | 'createdAt'
    | 'phaseAt'
    | 'phaseEpoch'
    | 'epoch'
    | keyof QueueGroup
  >
> & {
  /** Remote files that are of no more use, to be deleted. */
  readonly litter?: readonly string[]
  /** A tag that was given up: a batch that still comes of it is a stray. */
  readonly retire?: RetiredTag
}

/** An attempt to create a batch that was given up, of which a batch may still come. */
export interface RetiredTag {
  readonly tag: string
  readonly batch: number
  readonly inputFileId: string | undefined
  /** When the input file came to be, in seconds since 1970 by the server's clock. */
  readonly since: number
}

/** Requests of one group that wait to be batched. */
export interface QueueLoad extends QueueGroup {
  readonly requests: number
  readonly bytes: number
  /** Prompt tokens, as estimated. */
  readonly tokens: number
  /** Since when the oldest of them waits: since it came, or may be sent again. */
  readonly oldestAt: number
  readonly deadlineAt: number | undefined
}

/** What one batch may have. */
export interface CutLimits {
  readonly requests: number
  readonly bytes: number
  readonly tokens: number
  /** Embedding inputs. */
  readonly inputs: number
}
