import { flexRefusal, withFlexTier } from '../batch/flex.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { Context } from './context.ts'
import type { DeadlineWatch } from './deadline-watch.ts'
import { type Answer, pushback } from './direct-call.ts'
import { Interrupted, Patience, WaitedTooLong } from './patience.ts'

/** A flex call may be queued at the server: its answer is waited for at least this long. */
export const LEAST_FLEX_TIMEOUT_MS = 15 * 60_000

export interface FlexCall {
  readonly endpoint: Endpoint
  readonly model: string
  /** As JSON text, as it would be sent without a deadline. */
  readonly bodyText: string
  /** What takes up the place on the wire. */
  readonly place: object
  readonly send: (bodyText: string, tier: 'flex' | 'direct') => Promise<Answer>
  /** The run ends while nothing of it is on the wire. */
  readonly onInterrupted: (reason: string) => Promise<void>
}

/**
 * Makes one call in the way that the deadline asks for at present. What is refused for being a flex call is sent
 * again: by flex when there may be room, directly when flex does not work or takes too long. No attempt is used up.
 */
export async function callInPace(context: Context, pace: DeadlineWatch, call: FlexCall): Promise<Answer> {
  const { endpoint, model, bodyText, place, send } = call
  const patience = new Patience(context, 'flex calls')
  for (;;) {
    const isFlex = pace.asksForFlex(endpoint, model)
    const flexText = isFlex ? withFlexTier(bodyText) : undefined
    const tier = flexText === undefined ? 'direct' : 'flex'
    pace.began(place, tier, context.clock.now())
    const answer = await send(flexText ?? bodyText, tier)
    const { outcome } = answer
    const refusal = tier === 'flex' && outcome.kind === 'failure' ? flexRefusal(outcome.failure) : undefined
    if (refusal === undefined) return answer
    if (refusal === 'unknown') pace.noFlexFor(model)
    else await untilNextTry({ pace, patience, call }, answer)
  }
}

interface Wait {
  readonly pace: DeadlineWatch
  readonly patience: Patience
  readonly call: FlexCall
}

/** Waits until there may be room, or until the call is to go in another way. */
async function untilNextTry({ pace, patience, call }: Wait, answer: Answer): Promise<void> {
  const problem = pushback(answer)
  const changed = pace.changed()
  pace.note()
  try {
    await patience.afterFailure(problem, 0, changed)
  } catch (error) {
    if (error instanceof WaitedTooLong) return pace.giveUpFlex()
    if (error instanceof Interrupted) await call.onInterrupted(problem.message)
    throw error
  }
}
