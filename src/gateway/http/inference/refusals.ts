import { assertNever } from '../../../util/exhaustive.ts'
import type { Acceptance } from '../../domain/arrival.ts'
import { comeBack, HttpError, STAY_AWAY } from '../http-error.ts'

export type Accepted = Extract<Acceptance, { readonly kind: 'new' | 'joined' | 'cached' }>

const FULL_SECONDS = 30
const UNSURE_SECONDS = 1
const usd = (nano: number): string => `${(nano / 1e9).toFixed(2)} USD`

/** What was accepted. Throws `HttpError` for what was not: nothing of it was stored. */
export function acceptedOf(acceptance: Acceptance): Accepted {
  switch (acceptance.kind) {
    case 'new':
    case 'joined':
    case 'cached':
      return acceptance
    case 'absent':
      throw notInCache(acceptance.pending)
    case 'conflict':
      throw new HttpError(
        409,
        'idempotency_key_reused',
        'This Idempotency-Key was used with another body. Use a new key, or send the same body.',
        { param: 'idempotency-key', headers: { ...STAY_AWAY, 'x-nightshift-request-id': acceptance.id } },
      )
    case 'unwanted':
      throw new HttpError(499, 'caller_gone', 'The caller went away before the request was put on record.')
    case 'unsure':
      throw new HttpError(
        503,
        'database_restarted',
        'The database was started a moment ago, and it is not known yet whether somebody waits for the same call. Send the request again.',
        { headers: comeBack(UNSURE_SECONDS) },
      )
    case 'full':
      throw new HttpError(
        429,
        'queue_full',
        `${acceptance.waiting} requests wait already, which is as many as this gateway takes. Try again later.`,
        { headers: comeBack(FULL_SECONDS) },
      )
    case 'over-limit':
      throw overLimit(acceptance)
    case 'unbounded':
      throw new HttpError(
        400,
        'cost_unbounded',
        'Spending is limited, and what this request may cost cannot be told: set a limit of output tokens, or use a model with a known price.',
        { headers: STAY_AWAY },
      )
    default:
      return assertNever(acceptance)
  }
}

function notInCache(pending: string | undefined): HttpError {
  const message =
    pending === undefined
      ? 'There is no stored answer for this request, and mode cache asks for no other.'
      : `There is no stored answer for this request yet: ${pending} is on its way.`
  return new HttpError(404, 'not_in_cache', message, {
    headers: { ...STAY_AWAY, ...(pending !== undefined && { 'x-nightshift-request-id': pending }) },
  })
}

/** More calls would not help: the limit has to be raised, or what is under way to end below its estimate. */
const overLimit = ({
  spent,
  reserved,
  limit,
}: Extract<Acceptance, { readonly kind: 'over-limit' }>): HttpError =>
  new HttpError(
    429,
    'insufficient_quota',
    `You exceeded your quota at this gateway: ${usd(spent)} of ${usd(limit)} are spent, and up to ${usd(reserved)} set aside for requests under way.`,
    { headers: STAY_AWAY },
  )
