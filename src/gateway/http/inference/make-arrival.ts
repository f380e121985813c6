import type { TokenForecast } from '../../../tokens/forecast.ts'
import type { PreparedBody } from '../../body/prepare-body.ts'
import type { Arrival } from '../../domain/arrival.ts'
import type { Priority, Route } from '../../domain/request.ts'
import type { CallWishes } from '../call-wishes.ts'
import { HttpError, STAY_AWAY } from '../http-error.ts'

/** What a request is to be sent by, and may cost, as far as that can be told when it comes in. */
export interface RouteAdvice {
  route(facts: {
    readonly priority: Priority
    readonly deadlineAt: number | undefined
    readonly nowMs: number
  }): Route
  /** In nano-USD; undefined when nobody can say. */
  mostNanoUsd(model: string, route: Route, forecast: TokenForecast, at: number): number | undefined
}

export interface ArrivalFacts {
  readonly id: string
  readonly tenant: string
  readonly prepared: PreparedBody
  readonly wishes: CallWishes
  /** The replica that its caller waits at; undefined when it does not wait. */
  readonly holder: string | undefined
  readonly claimMs: number
  readonly nowMs: number
}

/** A call as it is put on record. Throws `HttpError` (400) for one that may cost more than its caller allows. */
export function makeArrival(facts: ArrivalFacts, advice: RouteAdvice): Arrival {
  const { id, tenant, prepared, wishes, holder, claimMs, nowMs } = facts
  const { endpoint, model, fingerprint, bodyText, lineBytes, inputs, tokens } = prepared
  const { deadlineAt, priority, mode, idempotencyKey, maxNanoUsd, webhook, cacheMs } = wishes
  const most = (route: Route) => advice.mostNanoUsd(model, route, tokens, nowMs)
  const [mostNanoUsd, mostDirectlyNanoUsd] = [most('batch'), most('direct')]
  const wanted = advice.route({ priority, deadlineAt, nowMs })
  const route = isWithin(maxNanoUsd, mostDirectlyNanoUsd) ? wanted : 'batch'
  if (!isWithin(maxNanoUsd, mostNanoUsd)) throw tooDear(maxNanoUsd, mostNanoUsd, model)
  return {
    id,
    tenant,
    endpoint,
    model,
    hasDeadline: deadlineAt !== undefined,
    fingerprint,
    bodyText,
    lineBytes,
    inputs,
    tokens,
    mostNanoUsd,
    mostDirectlyNanoUsd,
    idempotencyKey,
    mode,
    priority,
    route,
    deadlineAt,
    maxNanoUsd,
    webhook,
    holder,
    cacheMs,
    claimMs,
  }
}

/** What may cost more than its caller allows by a call goes by batch. */
const isWithin = (max: number | undefined, most: number | undefined): boolean =>
  max === undefined || (most !== undefined && most <= max)

const usd = (nano = 0): string => `${nano / 1e9} USD`

function tooDear(max: number | undefined, most: number | undefined, model: string): HttpError {
  const message =
    most === undefined
      ? `What the request may cost cannot be told: it has no limit of output tokens, or '${model}' has no known price. Set a limit, or leave out X-Nightshift-Max-Cost.`
      : `The request may cost up to ${usd(most)}, and X-Nightshift-Max-Cost allows ${usd(max)}. Set a lower limit of output tokens, or allow more.`
  return new HttpError(400, 'max_cost_exceeded', message, {
    param: 'x-nightshift-max-cost',
    headers: STAY_AWAY,
  })
}
