import { roomNanoUsd } from '../batch/budget.ts'
import type { TaskState } from '../batch/task-state.ts'
import { costOf, type RateCard } from '../tokens/prices.ts'
import { zeroUsage } from '../tokens/usage.ts'
import type { QuotedRest } from './pilot-rest.ts'
import type { PilotSample, SampledReply, SampledRequest } from './pilot-sample.ts'
import {
  type Interval,
  type Observation,
  type Rest,
  restInterval,
  shareInterval,
} from './pilot-statistics.ts'

/** What came of a task's pilot. Money in USD; intervals hold in about 95 of 100 cases. */
export interface PilotReport {
  /** Requests with a final verdict, those of earlier runs included. */
  readonly asked: number
  readonly accepted: number
  /** Share of them that was accepted. */
  readonly passRate: Interval
  /** Means for each request that was sent directly, all its attempts together; undefined when there is none. */
  readonly mean:
    | { readonly inputTokens: number; readonly outputTokens: number; readonly cost: number }
    | undefined
  /** What the task has cost so far. */
  readonly spent: number
  readonly rest: PilotRest
  /** The hard cap, when there is one, and what may still be spent under it. */
  readonly maxSpend: { readonly cap: number; readonly left: number } | undefined
}

/** The requests that are not asked yet. */
export interface PilotRest {
  readonly requests: number
  /** How they would be sent: all by batch, all directly, or some each way. */
  readonly way: 'batch' | 'direct' | 'both'
  /** By what the pilot showed, or, when fewer than two of its requests were answered and paid for, as estimated beforehand. */
  readonly isMeasured: boolean
  readonly planned: Interval
  readonly batch: Interval
  readonly direct: Interval
}

export interface PilotFacts {
  readonly state: TaskState
  readonly sample: PilotSample
  readonly rest: QuotedRest
  readonly card: (model: string, api: 'batch' | 'direct') => RateCard
  readonly maxSpendNanoUsd: number | undefined
}

const NANO = 1e9

export function pilotReport({ state, sample, rest, card, maxSpendNanoUsd }: PilotFacts): PilotReport {
  const { succeeded, failed } = state.counters
  const asked = succeeded + failed
  return {
    asked,
    accepted: succeeded,
    passRate: shareInterval(succeeded, asked),
    mean: meanOf(sample),
    spent: state.spending.costNanoUsd / NANO,
    rest: restOf(sample, rest, card),
    maxSpend:
      maxSpendNanoUsd === undefined
        ? undefined
        : { cap: maxSpendNanoUsd / NANO, left: roomNanoUsd(state, maxSpendNanoUsd) / NANO },
  }
}

function meanOf(sample: PilotSample): PilotReport['mean'] {
  const n = sample.length
  if (n === 0) return undefined
  const replies = sample.flatMap((one) => one.replies)
  const mean = (of: (reply: SampledReply) => number): number =>
    replies.reduce((sum, reply) => sum + of(reply), 0) / n
  return {
    inputTokens: mean(({ usage }) => usage.input),
    outputTokens: mean(({ usage }) => usage.output),
    cost: mean(({ costNanoUsd }) => costNanoUsd) / NANO,
  }
}

function restOf(sample: PilotSample, quote: QuotedRest, card: PilotFacts['card']): PilotRest {
  const { requests, cost, planned, batchRequests } = quote
  const measured = (api: 'batch' | 'direct'): Interval | undefined => {
    const rest: Rest = { requests, expectedInput: cost[api].input * NANO }
    const observations = sample.map((one) => observed(one, card(one.model, api), card(one.model, 'direct')))
    const interval = restInterval(observations, rest)
    return interval && scaled(interval, 1 / NANO)
  }
  const [byBatch, directly] = [measured('batch'), measured('direct')]
  const batch = byBatch ?? certain(cost.batch.total)
  const direct = directly ?? certain(cost.direct.total)
  return {
    requests,
    way: batchRequests === requests ? 'batch' : batchRequests === 0 ? 'direct' : 'both',
    isMeasured: byBatch !== undefined && directly !== undefined,
    // By cost, not by number: a few that go directly may cost more than all others.
    planned: added(
      scaled(batch, share(planned.batch, cost.batch.total)),
      scaled(direct, share(planned.direct, cost.direct.total)),
    ),
    batch,
    direct,
  }
}

const share = (part: number, whole: number): number => (whole > 0 ? part / whole : 0)

const certain = (value: number): Interval => ({ value, low: value, high: value })

const scaled = ({ value, low, high }: Interval, by: number): Interval => ({
  value: value * by,
  low: low * by,
  high: high * by,
})

/** Both ways rest on the same answers: they err together. */
const added = (a: Interval, b: Interval): Interval => ({
  value: a.value + b.value,
  low: a.low + b.low,
  high: a.high + b.high,
})

/** What a request of the pilot would have cost by some rates, in nano-USD; `list`: those of direct calls. */
function observed({ replies, expectedInput }: SampledRequest, rates: RateCard, list: RateCard): Observation {
  const expected = costOf({ ...zeroUsage, input: expectedInput }, rates) ?? 0
  const share = (rates[0]?.input ?? 1) / (list[0]?.input || 1)
  let [input, output, billed] = [0, 0, 0]
  for (const { usage, costNanoUsd } of replies) {
    const prompt = costOf({ ...usage, output: 0, reasoning: 0 }, rates) ?? 0
    // Replies that say nothing of their tokens are charged all the same.
    const unmetered = Math.max(0, costNanoUsd - (costOf(usage, list) ?? 0))
    input += prompt
    if (costNanoUsd > 0) billed++
    output += (costOf(usage, rates) ?? prompt) - prompt + unmetered * share
  }
  return { expectedInput: expected, input, output, replies: billed }
}
