/**
 * What a refusal is about, when it is not about the request: `account`, it is exhausted for now (waiting, or paying,
 * helps); `key`, it may not be used at all.
 */
export type Refusal = 'account' | 'key'

/** What a server said, by whatever way it came: an HTTP answer, a result line, an entry of a batch's `errors`. */
export interface RefusalFacts {
  readonly status?: number | undefined
  /** `error.code` or `error.type`. */
  readonly code?: string | undefined
  readonly message?: string | undefined
}

/** Codes and texts vary by deployment, so both are looked at (reference/batch-api.md 3.1). */
const EXHAUSTED =
  /insufficient_quota|billing_(hard_limit|not_active)|token_limit_exceeded|enqueued token limit|exceeded your current quota/i
/** A 403 that speaks of one model or one text lets the others pass. */
const OWN_FAULT = /model|moderat|flagged|content|policy/i
/** A 429 about one request that is larger than all that is allowed in a minute: waiting cannot help it. */
const TOO_LARGE = /request too large|must be reduced/i
const KEY_CODE = /invalid_api_key|account_deactivated|invalid_(organization|project)|unsupported_country/i

/** Undefined when what was said is about the request, or about nothing known. */
export function refusalOf({ status, code = '', message = '' }: RefusalFacts): Refusal | undefined {
  if (KEY_CODE.test(code)) return 'key'
  if (TOO_LARGE.test(message)) return undefined
  if (status === 402 || status === 429 || EXHAUSTED.test(code) || EXHAUSTED.test(message)) return 'account'
  if (status === 401) return 'key'
  return status === 403 && !OWN_FAULT.test(code) && !OWN_FAULT.test(message) ? 'key' : undefined
}
