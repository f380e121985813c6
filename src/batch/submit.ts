import { assertNever } from '../util/exhaustive.ts'
import type { QueueFile } from './queue-file.ts'

/** What the protocol looks at: a queue file, or a batch that is kept otherwise. */
export type SubmitSubject =
  | { readonly phase: 'sealed'; readonly live: number; readonly requests: number }
  | { readonly phase: 'intended' | 'uploaded' | 'doubtful' }
  | { readonly phase: 'fenced'; readonly fencedAt: number }
  | { readonly phase: Exclude<QueueFile['phase'], SubmitPhase> | 'done' }
type SubmitPhase = 'sealed' | 'intended' | 'uploaded' | 'doubtful' | 'fenced'

/** What this process knows about a queue file beside the file's committed phase. */
export interface SubmitFacts {
  /** Limits allow a new batch, or still allow the one that is intended, and nobody asked to stop. */
  readonly mayStart: boolean
  /** Smaller files would be allowed, where this one never will be. */
  readonly mustShrink: boolean
  /** The hard cap leaves too little for all its lines, and may leave enough for some. */
  readonly mayCarve: boolean
  /** The present phase was committed by an earlier process: what it did after that commit is unknown. */
  readonly resumed: boolean
  /** The ledger says that an upload with this tag may have been carried out without an answer. */
  readonly uploadInDoubt: boolean
  /** All remote files were searched for an upload with this tag since it was last in doubt, and there was none. */
  readonly uploadAbsent: boolean
  /** All remote batches were searched since the phase began (for `fenced`: since the grace ended), and there was no match. */
  readonly batchAbsent: boolean
  /** For `fenced`: this process has waited for the grace to end, whatever the clock says. */
  readonly graceWaited: boolean
  readonly nowMs: number
  readonly graceMs: number
}

/** The next call or wait that the submit protocol asks for. */
export type SubmitAction =
  | { readonly do: 'nothing' }
  | { readonly do: 'intend' }
  | { readonly do: 'requeue' }
  | { readonly do: 'carve' }
  | { readonly do: 'doubt-upload' }
  | { readonly do: 'find-upload' }
  | { readonly do: 'upload' }
  | { readonly do: 'create' }
  | { readonly do: 'find-batch' }
  | { readonly do: 'delete-input' }
  | { readonly do: 'wait'; readonly untilMs: number }
  | { readonly do: 'abandon' }

const does = <Do extends Exclude<SubmitAction['do'], 'wait'>>(what: Do) => ({ do: what })

/**
 * The submit protocol. An upload may be repeated under its tag, but not before it is on record that another file may
 * be there, and looked for. A create is sent once per tag, only by the process that has just committed the upload, and is
 * repeated under a new tag only when no batch of the old tag exists or can still come to exist: its input file is
 * gone, a grace has passed, and a second search found nothing.
 */
export function nextSubmitAction(file: SubmitSubject, facts: SubmitFacts): SubmitAction {
  switch (file.phase) {
    case 'sealed':
      return sealed(file, facts)
    case 'intended':
      if (facts.resumed) return does('doubt-upload')
      // An upload that may be there is swept.
      if (!facts.mayStart) return does('abandon')
      return does(facts.uploadInDoubt && !facts.uploadAbsent ? 'find-upload' : 'upload')
    case 'uploaded':
      return facts.resumed ? afterDoubt(facts) : does('create')
    case 'doubtful':
      return afterDoubt(facts)
    case 'fenced':
      return afterFence(file.fencedAt, facts)
    case 'open':
    case 'direct':
    case 'filling':
    case 'reused':
    case 'remote':
    case 'ended':
    case 'received':
    case 'done':
      return does('nothing')
    default:
      return assertNever(file)
  }
}

type Lines = Extract<SubmitSubject, { phase: 'sealed' }>

/** Lines that a stray has answered meanwhile are not sent again: the others go with another file. */
function sealed({ live, requests }: Lines, facts: SubmitFacts): SubmitAction {
  const { mayStart, mustShrink, mayCarve } = facts
  if (live === 0 || mustShrink) return does('requeue')
  if (mayCarve) return does('carve')
  if (!mayStart) return does('nothing')
  return does(live < requests ? 'requeue' : 'intend')
}

const afterDoubt = (facts: SubmitFacts): SubmitAction =>
  does(facts.batchAbsent ? 'delete-input' : 'find-batch')

function afterFence(fencedAt: number, facts: SubmitFacts): SubmitAction {
  // With a clock that was set back the grace is waited for once more, in whole, and then believed.
  const untilMs = Math.min(fencedAt, facts.nowMs) + facts.graceMs
  if (!facts.graceWaited && fencedAt + facts.graceMs > facts.nowMs) return { do: 'wait', untilMs }
  return does(facts.batchAbsent ? 'abandon' : 'find-batch')
}
