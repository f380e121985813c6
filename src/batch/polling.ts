/** How to learn the states of remote batches with the fewest calls. */
export type PollMethod = 'list' | 'retrieve'

/** Pages a listing may hold, and so how many batches one call can tell about. */
export const LIST_PAGE = 100

export interface PollFacts {
  /** Batches whose state is wanted. */
  readonly outstanding: number
  /** Pages the last complete listing took; undefined before the first. */
  readonly lastListPages: number | undefined
}

/** Listing costs as many calls as it takes pages until all are seen, other people's batches included. */
export function pollMethod({ outstanding, lastListPages }: PollFacts): PollMethod {
  const pages = lastListPages ?? Math.ceil(outstanding / LIST_PAGE)
  return pages < outstanding ? 'list' : 'retrieve'
}

/** Longest stretch of the poll interval, as a multiple of the shortest. */
export const MAX_STRETCH = 6
const SHARE_OF_AGE = 1 / 30

/**
 * Milliseconds until the next poll. Young batches are looked at every `baseMs`; the interval grows to a thirtieth of
 * the youngest batch's age, so that waiting longer costs fewer calls and at most 3 % more time, but not beyond `mostMs`.
 */
export const pollIntervalMs = (
  baseMs: number,
  youngestAgeMs: number,
  mostMs: number = baseMs * MAX_STRETCH,
): number => Math.min(Math.max(youngestAgeMs * SHARE_OF_AGE, baseMs), Math.max(baseMs, mostMs))

const TERMINAL = ['completed', 'failed', 'expired', 'cancelled'] as const

/** The status if it is final. An unknown word means "not finished". */
export const terminalStatus = (status: string): (typeof TERMINAL)[number] | undefined =>
  TERMINAL.find((one) => one === status)

/** Looks at an ended batch before its missing file ids are believed: they may come a moment later. */
export const MAX_FILE_ID_LOOKS = 5

export interface EndedFacts {
  readonly status: string
  readonly hasOutput: boolean
  readonly hasErrors: boolean
  /** `request_counts`, undefined when the server does not say. */
  readonly counts: { readonly total: number; readonly completed: number; readonly failed: number } | undefined
  readonly looks: number
}

/**
 * True when a batch says it is over but should be asked again, since answers without a file cannot be. Counts only
 * say whether it is worth to ask: what they promise is not believed for ever.
 */
export function awaitsFileIds({ status, hasOutput, hasErrors, counts, looks }: EndedFacts): boolean {
  if (looks >= MAX_FILE_ID_LOOKS) return false
  const mustHaveSome = status === 'completed' || (!counts && status !== 'failed')
  if (mustHaveSome && !hasOutput && !hasErrors) return true
  return counts !== undefined && ((counts.completed > 0 && !hasOutput) || (counts.failed > 0 && !hasErrors))
}
