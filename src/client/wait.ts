import { NightshiftError, UsageError } from '../errors.ts'
import type { Clock } from '../util/clock.ts'
import { assertNever } from '../util/exhaustive.ts'
import type { Asked } from './ask.ts'
import { mayPass, pauseAfter } from './trouble.ts'

export interface WaitOptions {
  /** Ends the wait, which then rejects with the signal's reason. The gateway goes on with the request. */
  readonly signal?: AbortSignal | undefined
  /**
   * Ends the wait after so long, in milliseconds, with a last look: it rejects with a `NightshiftError`, code
   * `wait_timeout`. The gateway goes on with the request. Default: as long as it takes.
   */
  readonly timeoutMs?: number | undefined
  /** Called after each look that found no answer. What it throws ends the wait. */
  readonly onPoll?: ((poll: Poll) => void) | undefined
}

/** A look at a request that found no answer yet. */
export interface Poll {
  readonly requestId: string
  /** Looks so far, from 1. */
  readonly polls: number
  /** Since the wait began, in milliseconds. */
  readonly waitedMs: number
  /** Until the next look, in milliseconds. */
  readonly retryAfterMs: number
  /** Why the gateway could not be asked; undefined when it said that the answer is on its way. */
  readonly error: unknown
}

/** Asks once more, with the same body and key. `timeoutMs`: when to give up on a gateway that says nothing. */
export type AskAgain<Reply> = (options: {
  readonly signal: AbortSignal | undefined
  readonly timeoutMs: number
}) => Promise<Asked<Reply>>

export interface WaitFacts<Reply> {
  readonly requestId: string
  readonly retryAfterMs: number
  readonly again: AskAgain<Reply>
  readonly clock: Clock
}

type Answered<Reply> = Extract<Asked<Reply>, { readonly kind: 'answered' }>
/** What a look came to. */
type Look<Reply> = Asked<Reply> | { readonly kind: 'trouble'; readonly error: unknown }

/** A look takes no time at the gateway: one that says nothing for so long is not there. */
const LOOK_MS = 60_000
const LEAST_LOOK_MS = 1000
/** A gateway that cannot be reached for so long will not come back by itself. */
const MOST_OUTAGE_MS = 3_600_000

/**
 * Asks again and again until there is an answer, as often as the gateway asks for. Trouble on the way to it (no
 * connection, a gateway that restarts or has too much to do) is borne for an hour in a row; a request that failed
 * throws its own error at once.
 */
export async function waitFor<Reply>(
  facts: WaitFacts<Reply>,
  options: WaitOptions,
): Promise<Answered<Reply>> {
  const { clock, again } = facts
  const { signal, onPoll } = options
  const startedAt = clock.now()
  const endsAt = startedAt + timeoutOf(options)
  let { requestId, retryAfterMs } = facts
  let trouble: Trouble | undefined
  for (let polls = 1; ; polls++) {
    await clock.sleep(Math.min(retryAfterMs, Math.max(0, endsAt - clock.now())), signal)
    signal?.throwIfAborted()
    const timeoutMs = Math.min(LOOK_MS, Math.max(LEAST_LOOK_MS, endsAt - clock.now()))
    const look = await lookOnce(() => again({ signal, timeoutMs }), signal)
    if (look.kind === 'answered') return look
    const now = clock.now()
    trouble = troubleAfter(trouble, look, now)
    if (look.kind === 'pending') requestId = look.requestId
    retryAfterMs = pauseUntilNext(look, trouble)
    if (now >= endsAt) throw timedOut(requestId, now - startedAt, trouble?.error)
    onPoll?.({ requestId, polls, waitedMs: now - startedAt, retryAfterMs, error: trouble?.error })
  }
}

function timeoutOf({ timeoutMs = Number.POSITIVE_INFINITY }: WaitOptions): number {
  if (timeoutMs >= 0) return timeoutMs
  throw new UsageError(
    'bad_option',
    `timeoutMs is ${timeoutMs}: give the most milliseconds to wait, 0 or more`,
  )
}

async function lookOnce<Reply>(
  look: () => Promise<Asked<Reply>>,
  signal: AbortSignal | undefined,
): Promise<Look<Reply>> {
  try {
    return await look()
  } catch (error) {
    signal?.throwIfAborted()
    if (!mayPass(error)) throw error
    return { kind: 'trouble', error }
  }
}

/** Looks in a row that could not be made. */
interface Trouble {
  readonly error: unknown
  readonly since: number
  readonly count: number
}

/** Throws what went wrong when that has lasted too long. */
function troubleAfter<Reply>(
  before: Trouble | undefined,
  look: Look<Reply>,
  now: number,
): Trouble | undefined {
  if (look.kind !== 'trouble') return undefined
  const { error } = look
  const { since, count } = before ?? { since: now, count: 0 }
  if (now - since >= MOST_OUTAGE_MS) throw error
  return { error, since, count: count + 1 }
}

function pauseUntilNext<Reply>(look: Look<Reply>, trouble: Trouble | undefined): number {
  switch (look.kind) {
    case 'pending':
      return look.retryAfterMs
    case 'trouble':
      return pauseAfter(look.error, trouble?.count ?? 1)
    case 'answered':
      return 0
    default:
      return assertNever(look)
  }
}

const timedOut = (requestId: string, waitedMs: number, cause: unknown): NightshiftError =>
  new NightshiftError(
    'wait_timeout',
    `the answer to ${requestId} did not come within ${waitedMs} ms; the gateway goes on with it: ` +
      'send the same request again, or wait longer',
    { retryable: true, cause },
  )
