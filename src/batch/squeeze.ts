/**
 * How far a task stays below what an account is known to allow. A batch that is refused although by all that is known
 * there was room for it says that its tokens are more than estimated, or that somebody unknown uses the account: then
 * smaller batches may still get through.
 */
export interface Squeeze {
  /** Such refusals in a row. */
  readonly refusals: number
  /** Batches in a row that were let in. */
  readonly letIn: number
  /** Prompt tokens that a batch may have, and what that began with; undefined: as many as the account allows. */
  readonly cap?: { readonly tokens: number; readonly from: number }
}

export const UNSQUEEZED: Squeeze = { refusals: 0, letIn: 0 }

/** The first such refusal may be by chance. */
const FORGIVEN = 1
/** As small as it gets, against what it began with. */
const LEAST_SHARE = 1 / 16
/** What made batches smaller mostly lasts for some time: trying larger ones at once would only have them refused. */
const LET_IN_BEFORE_RELAXED = 4

/** After a refusal that nothing explains, of a batch of so many prompt tokens. */
export function squeezed({ refusals, cap }: Squeeze, tokens: number): Squeeze {
  const row = refusals + 1
  if (row <= FORGIVEN) return { refusals: row, letIn: 0, ...(cap && { cap }) }
  const from = cap?.from ?? tokens
  const half = Math.floor(Math.min(cap?.tokens ?? tokens, tokens) / 2)
  return { refusals: row, letIn: 0, cap: { tokens: Math.max(1, half, Math.ceil(from * LEAST_SHARE)), from } }
}

/** After a batch that was let in: after some of them twice as much may be tried, up to all. */
export function relaxed({ letIn, cap }: Squeeze): Squeeze {
  if (!cap) return UNSQUEEZED
  if (letIn + 1 < LET_IN_BEFORE_RELAXED) return { refusals: 0, letIn: letIn + 1, cap }
  const tokens = cap.tokens * 2
  return tokens >= cap.from ? UNSQUEEZED : { refusals: 0, letIn: 0, cap: { ...cap, tokens } }
}
