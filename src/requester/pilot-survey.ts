import { setImmediate as nextTurn } from 'node:timers/promises'
import { Spread } from '../util/spread.ts'
import type { Context } from './context.ts'
import { Interrupted } from './patience.ts'
import { type QuotedRest, restAfter } from './pilot-rest.ts'
import type { NewRequest, PrepareOptions } from './prepare.ts'
import type { PreparedRequest } from './queue.ts'
import { Quoter } from './quoter.ts'
import { type AnyRequests, newRequests, type SurveyedRequest } from './survey.ts'

export interface PilotSurvey {
  /** Some of the new requests, evenly spread over all of them. */
  readonly picked: readonly NewRequest[]
  readonly rest: QuotedRest
}

export interface PilotSurveyOptions {
  readonly requests: AnyRequests
  /** How many to pick. */
  readonly count: number
  readonly prepare: PrepareOptions
}

/** See `GPTRequester.survey`. */
export async function surveyForPilot(
  context: Context,
  { requests, count, prepare }: PilotSurveyOptions,
): Promise<PilotSurvey | undefined> {
  const { store, valuer, stop, settings } = context
  const spread = new Spread<SurveyedRequest>(count)
  const isCommitted = (key: string): boolean => store.head.requests.find(key) !== undefined
  const onChunk = async (): Promise<void> => {
    await nextTurn()
    if (stop.aborted) throw new Interrupted()
  }
  const whole = new Quoter({ valuer, counts: false, onChunk })
  const picked = new Quoter({ valuer, counts: false })
  try {
    for await (const one of newRequests({ requests, prepare, isCommitted })) {
      await whole.add(one.prepared)
      if (mayBeSentDirectly(one.prepared, context)) spread.add(one)
    }
    await whole.finish()
  } catch (error) {
    if (error instanceof Interrupted) return undefined
    throw error
  }
  for (const { prepared } of spread.items) await picked.add(prepared)
  await picked.finish()
  return {
    picked: spread.items.map(({ request }) => request),
    rest: restAfter(whole.models, picked.models, settings.seal.minBatchRequests),
  }
}

/** Under a hard cap there may be requests that only half the price leaves room for. */
function mayBeSentDirectly(request: PreparedRequest, { valuer, settings }: Context): boolean {
  const { maxSpendNanoUsd } = settings.limits
  if (maxSpendNanoUsd === undefined) return true
  const most = valuer.mostNanoUsd(valuer.forecast(request), request.model, 'direct')
  return most !== undefined && most <= maxSpendNanoUsd
}
