/** What is known when a request is to be asked again. */
export interface RetryFacts {
  /** Attempts used up before this one, from 0. */
  readonly attempt: number
  readonly maxRetries: number
  /** How often it came back expired or cancelled before. */
  readonly expiries: number
  readonly maxExpiries: number
  /** This attempt came back expired or cancelled: it was not made, so it uses up nothing. */
  readonly lapsed: boolean
}

export type RetryRuling = { readonly kind: 'again' } | { readonly kind: 'exhausted'; readonly why: string }

const AGAIN: RetryRuling = { kind: 'again' }

/** An expiry uses up no attempt, but a request that only ever expires is given up too. */
export function ruleOnRetry(facts: RetryFacts): RetryRuling {
  const { attempt, maxRetries, expiries, maxExpiries, lapsed } = facts
  if (lapsed) {
    if (expiries < maxExpiries) return AGAIN
    return { kind: 'exhausted', why: `expired or was cancelled ${expiries + 1} times` }
  }
  return attempt < maxRetries ? AGAIN : { kind: 'exhausted', why: `failed ${attempt + 1} times` }
}
