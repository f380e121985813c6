import { flexRefusal, withFlexTier } from '../batch/flex.ts'
import type { Endpoint } from '../openai/wire.ts'
import type { Context } from './context.ts'
import type { DeadlineWatch } from './deadline-watch.ts'
import { type Answer, pushback } from './direct-call.ts'
import { Interrupted, Patience, WaitedTooLong } from './patience.ts'

/** A flex call may be queued at the server: its answer is waited for at least this long. */
export const LEAST_FLEX_TIMEOUT_MS = 15 * 60_000

/** What a call asks for. */
export interface Asked {
  readonly endpoint: Endpoint
  readonly model: string
  /** As JSON text, as it would be sent without a deadline. */
  readonly bodyText: string
}

export interface FlexCall extends Asked {
  /** What takes up the place on the wire. */
  readonly place: object
  readonly send: (bodyText: string, tier: 'flex' | 'direct') => Promise<Answer>
  /** The run ends while nothing of it is on the wire. */
  readonly onInterrupted: (reason: string) => Promise<void>
}

/** The body of a call that is to go by flex at present; undefined for one that is not. */
export const flexBody = (
  pace: DeadlineWatch | undefined,
  { endpoint, model, bodyText }: Asked,
): string | undefined => (pace?.asksForFlex(endpoint, model) ? withFlexTier(bodyText) : undefined)

/**
 * Makes one call in the way that the deadline asks for at present. What is refused for being a flex call is sent
 * again: by flex when there may be room, directly when flex does not work or takes too long. No attempt is used up.
 */
export async function callInPace(context: Context, pace: DeadlineWatch, call: FlexCall): Promise<Answer> {
  const { model, bodyText, place, send } = call
  const patience = new Patience(context, 'flex calls')
  for (;;) {
    const flexText = flexBody(pace, call)
    const tier = flexText === undefined ? 'direct' : 'flex'
    pace.began(place, tier, context.clock.now())
    // The mode may change while the call is on its way.
    const changed = pace.changed()
    const answer = await send(flexText ?? bodyText, tier)
    const { outcome } = answer
    const refusal = tier === 'flex' && outcome.kind === 'failure' ? flexRefusal(outcome.failure) : undefined
    if (refusal === undefined) return answer
    if (refusal === 'unknown') pace.noFlexFor(model)
    else await untilNextTry({ pace, patience, call, changed }, answer)
  }
}

interface Wait {
  readonly pace: DeadlineWatch
  readonly patience: Patience
  readonly call: FlexCall
  /** Resolves when the mode is another than the call was made in. */
  readonly changed: Promise<void>
}

/** Waits until there may be room, or until the call is to go in another way. */
async function untilNextTry({ pace, patience, call, changed }: Wait, answer: Answer): Promise<void> {
  const problem = pushback(answer)
  pace.note()
  try {
    await patience.afterFailure(problem, 0, changed)
  } catch (error) {
    if (error instanceof WaitedTooLong) return pace.giveUpFlex()
    if (error instanceof Interrupted) await call.onInterrupted(problem.message)
    throw error
  }
}
