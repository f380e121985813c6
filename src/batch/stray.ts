import type { RateCard } from '../tokens/prices.ts'
import type { TerminalStatus } from './steps.ts'

interface StrayBase {
  readonly batchId: string
  readonly tag: string
  /** The queue file whose lines it was made of; 0 when that is not known. */
  readonly file: number
  /** Its place among the task's strays, from 1: the name of its local file. */
  readonly place: number
  /** Model of its requests, when that was still known. */
  readonly model?: string
  readonly inputFileId?: string
  /** The most it can cost, in nano-USD, and the day whose prices it has. */
  readonly reserved?: number
  readonly pricedAt?: number
}

/**
 * A batch beside the one that its queue file has, and its place in life:
 *
 *     live -> ended -> received -> settled
 *                \------------------^       one that answered nothing
 *
 * It is cancelled, waited for, and what it answered is taken like any other answer.
 */
export type Stray = StrayBase &
  (
    | { readonly phase: 'live' }
    | {
        readonly phase: 'ended'
        readonly status: TerminalStatus
        readonly outputFileId?: string
        readonly errorFileId?: string
        /** The server does not know it any more. */
        readonly gone?: true
      }
    | {
        readonly phase: 'received'
        /** What its answers were priced by. */
        readonly rates?: RateCard
        readonly safety?: number
      }
    | { readonly phase: 'settled' }
  )

export type StrayIn<Phase extends Stray['phase']> = Extract<Stray, { phase: Phase }>

export const isStrayIn =
  <Phase extends Stray['phase']>(phase: Phase) =>
  (stray: Stray): stray is StrayIn<Phase> =>
    stray.phase === phase

/** An attempt that was given up without knowing whether its create ever reached the server. */
export interface AttemptAtLarge {
  readonly inputFileId: string
  /** When that file came to be, in seconds since 1970 by the server's clock; 0 when not known. */
  readonly since: number
  /** What had been reserved for it, in nano-USD, and the day whose prices its batch would have. */
  readonly reserved?: number
  readonly pricedAt?: number
  /** What it was expected to cost, in nano-USD. */
  readonly expectedNanoUsd?: number
}
