import { budgetOf, roomNanoUsd } from '../batch/budget.ts'
import type { Counters, Spending, TaskState } from '../batch/task-state.ts'
import type { PricedApi } from '../tokens/prices.ts'
import type { TokenUsage } from '../tokens/usage.ts'
import { usageSoFar } from './context.ts'

/** An amount of money. `nanoUsd` (10^-9 USD) is exact: sums of it are, too. */
export interface Money {
  readonly nanoUsd: number
  readonly usd: number
}

/** What had been expected, and what the answers reported. */
export interface Estimate {
  readonly expected: number
  readonly reported: number
  /** By how much the expectation was too high, in percent of what was reported; null when nothing was. */
  readonly percentOff: number | null
}

/** What requests came to, what they used, and what that cost. */
export interface Account {
  readonly requests: {
    /** Put on the wire, repeats included. */
    readonly sent: number
    readonly succeeded: number
    /** For good. */
    readonly failed: number
    /** Asked for again after an answer that was not good. */
    readonly retries: number
    /** Came back expired or cancelled. */
    readonly expired: number
  }
  /** Of all answers, by class. `cachedInput` and `cacheWrite` are part of `input`, `reasoning` is part of `output`. */
  readonly tokens: TokenUsage
  /** By real usage. A lower bound while `unpricedReplies` is not 0. */
  readonly cost: Money
  /** The same by how it was sent: these add up to `cost`. */
  readonly costBy: Readonly<Record<PricedApi, Money>>
  /** Of `cost`, what was paid for the answers that verdicts were about: the sum of the costs of all requests. */
  readonly judged: Money
  /** The rest: for answers that are not judged yet, or that no request used (`awaitingVerdict` is 0 then). */
  readonly withoutVerdict: Money
  /**
   * Direct calls whose answers were lost, and the most that these, and lines of batches that were worked on and never
   * came, can have cost. Not in `cost`.
   */
  readonly uncertain: { readonly calls: number; readonly most: Money }
  /** What the same tokens cost by direct calls, and what was saved against it. */
  readonly direct: { readonly cost: Money; readonly saved: Money; readonly percentSaved: number | null }
  /** Requests that were given an answer that was there already, and what that saved. */
  readonly reused: { readonly replies: number; readonly saved: Money }
  /** Of answers that something had been expected of. Costs in nano-USD. */
  readonly estimates: { readonly input: Estimate; readonly output: Estimate; readonly cost: Estimate }
  /** Replies of models without a known price: not in `cost`. */
  readonly unpricedReplies: number
  /** Replies that said nothing of their tokens: charged the most that they can have cost. */
  readonly unmeteredReplies: number
  /** Verdicts of release 0.1, which did not note what they were about: part of `withoutVerdict`. */
  readonly untoldVerdicts: number
}

/** What a task cost, and one of its runs. */
export interface Receipt {
  readonly task: Account
  /** Null when it is not about a run. */
  readonly run: Account | null
  readonly pending: number
  /** Requests whose answer is here and waits for a verdict. */
  readonly awaitingVerdict: number
  /** The most that what is on the wire can still cost; only known under a hard cap. */
  readonly reserved: Money
  /** The hard cap, and what may still be set aside of it; null without one. */
  readonly maxSpend: { readonly cap: Money; readonly left: Money } | null
}

/** Where a run began: what is counted from there on is the run's. */
export type Beginning = Pick<TaskState, 'counters' | 'spending' | 'tally'>

export interface ReceiptOptions {
  readonly before?: Beginning | undefined
  readonly maxSpendNanoUsd?: number | undefined
  /** Requests whose answer is here and waits for a verdict; see request-places.ts. */
  readonly awaitingVerdict: number
}

/** Adds a task's books up: a fold of its ledger and nothing else. */
export function receiptOf(state: TaskState, options: ReceiptOptions): Receipt {
  const { before, maxSpendNanoUsd, awaitingVerdict } = options
  return {
    task: accountOf(state),
    run: before ? accountOf(since(before, state)) : null,
    pending: state.counters.pending,
    awaitingVerdict,
    reserved: money(budgetOf(state).reservedNanoUsd),
    maxSpend:
      maxSpendNanoUsd === undefined
        ? null
        : { cap: money(maxSpendNanoUsd), left: money(roomNanoUsd(state, maxSpendNanoUsd)) },
  }
}

const NANO = 1e9

export const money = (nanoUsd: number): Money => ({ nanoUsd, usd: nanoUsd / NANO })

const since = (before: Beginning, now: Beginning): Beginning => ({
  counters: minus(now.counters, before.counters),
  spending: minus(now.spending, before.spending),
  tally: minus(now.tally, before.tally),
})

function minus<Sums extends Counters | Spending | TaskState['tally']>(now: Sums, before: Sums): Sums
function minus(now: Readonly<Record<string, number>>, before: Readonly<Record<string, number>>) {
  return Object.fromEntries(Object.entries(now).map(([name, amount]) => [name, amount - (before[name] ?? 0)]))
}

function accountOf({ counters, spending, tally }: Beginning): Account {
  const { costNanoUsd, directNanoUsd, flexNanoUsd, judgedNanoUsd, listNanoUsd } = spending
  const saved = listNanoUsd - costNanoUsd
  return {
    requests: {
      sent: spending.sentRequests,
      succeeded: counters.succeeded,
      failed: counters.failed,
      retries: tally.retries,
      expired: tally.expired,
    },
    tokens: usageSoFar({ spending }),
    cost: money(costNanoUsd),
    costBy: {
      batch: money(costNanoUsd - directNanoUsd - flexNanoUsd),
      direct: money(directNanoUsd),
      flex: money(flexNanoUsd),
    },
    judged: money(judgedNanoUsd),
    withoutVerdict: money(costNanoUsd - judgedNanoUsd),
    uncertain: { calls: tally.uncertain, most: money(spending.uncertainNanoUsd) },
    direct: { cost: money(listNanoUsd), saved: money(saved), percentSaved: percent(saved, listNanoUsd) },
    reused: { replies: spending.reusedReplies, saved: money(spending.savedNanoUsd) },
    estimates: {
      input: estimate(spending.expectedInputTokens, spending.comparedInputTokens),
      output: estimate(spending.expectedOutputTokens, spending.comparedOutputTokens),
      cost: estimate(spending.expectedNanoUsd, spending.comparedNanoUsd),
    },
    unpricedReplies: spending.unpricedReplies,
    unmeteredReplies: spending.unmeteredReplies,
    untoldVerdicts: spending.untoldVerdicts,
  }
}

const estimate = (expected: number, reported: number): Estimate => ({
  expected,
  reported,
  percentOff: percent(expected - reported, reported),
})

const percent = (part: number, whole: number): number | null => (whole === 0 ? null : (100 * part) / whole)
