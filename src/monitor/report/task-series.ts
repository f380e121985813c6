import type { TaskState } from '../../batch/task-state.ts'
import { requestCounts } from '../../requester/context.ts'
import type { LedgerLine } from '../../state/ledger.ts'
import { type Row, ThinnedRows } from './thinned-rows.ts'

/** Columns of the tables, in their order. Costs are in nano-USD, and sums like everything but the places of requests. */
export const COLUMNS = {
  /** Where the requests are: they add up to all there are. */
  requests: ['succeeded', 'failed', 'received', 'inFlight', 'queued'],
  /** Verdicts. */
  verdicts: ['succeeded', 'failed', 'retried'],
  cost: ['real', 'expected', 'direct'],
  tokens: ['freshInput', 'cachedInput', 'visibleOutput', 'reasoning'],
} as const

export type SeriesName = keyof typeof COLUMNS

export type TaskSeries = Readonly<Record<SeriesName, readonly Row[]>>

/** Writes down how a task came to be what it is while its ledger is read. Memory does not grow with the ledger. */
export class SeriesLog {
  readonly #tables: Readonly<Record<SeriesName, ThinnedRows>> = {
    requests: new ThinnedRows(),
    verdicts: new ThinnedRows(),
    cost: new ThinnedRows(),
    tokens: new ThinnedRows(),
  }
  #verdicts = { succeeded: 0, failed: 0, retried: 0 }
  #before: TaskState | undefined

  take({ at }: LedgerLine, state: TaskState): void {
    const { requests, verdicts, cost, tokens } = this.#tables
    requests.add(at, placesOf(state))
    verdicts.add(at, this.#verdictsAfter(state))
    cost.add(at, costsOf(state))
    tokens.add(at, tokensOf(state))
    this.#before = state
  }

  /** `end`: what the last figures are known to hold for, in milliseconds since 1970. */
  upTo(end: number): TaskSeries {
    const { requests, verdicts, cost, tokens } = this.#tables
    return {
      requests: requests.upTo(end),
      verdicts: verdicts.upTo(end),
      cost: cost.upTo(end),
      tokens: tokens.upTo(end),
    }
  }

  /** Those that a wipe takes back were given all the same. */
  #verdictsAfter({ counters, tally }: TaskState): readonly number[] {
    const { counters: before = counters, tally: earlier = tally } = this.#before ?? {}
    const { succeeded, failed, retried } = this.#verdicts
    this.#verdicts = {
      succeeded: succeeded + rise(before.succeeded, counters.succeeded),
      failed: failed + rise(before.failed, counters.failed),
      retried: retried + rise(earlier.retries, tally.retries),
    }
    return [this.#verdicts.succeeded, this.#verdicts.failed, this.#verdicts.retried]
  }
}

const rise = (before: number, after: number): number => Math.max(0, after - before)

function placesOf(state: TaskState): readonly number[] {
  const { succeeded, failed, pending, queued, inFlight } = requestCounts(state)
  return [succeeded, failed, Math.max(0, pending - queued - inFlight), inFlight, queued]
}

const costsOf = ({ spending }: TaskState): readonly number[] => [
  spending.costNanoUsd,
  spending.expectedNanoUsd,
  spending.listNanoUsd,
]

const tokensOf = ({ spending }: TaskState): readonly number[] => [
  spending.inputTokens - spending.cachedInputTokens,
  spending.cachedInputTokens,
  spending.outputTokens - spending.reasoningTokens,
  spending.reasoningTokens,
]
