import type { SendLimits } from '../batch/limits.ts'
import type { Spending } from '../batch/task-state.ts'
import { formatCount, formatUsd } from '../util/format.ts'
import type { QuotedCap } from './quote.ts'

/** What would be sent, as the limits count it; money in nano-USD. */
export interface QuotedLoad {
  readonly requests: number
  readonly tokens: number
  readonly nanoUsd: number
  /** What must be set aside to send all of it at once; undefined when nobody knows. */
  readonly mostNanoUsd: number | undefined
}

/** What was used of the hard cap already, in nano-USD: spent, set aside, or lost. */
export interface CapUse {
  readonly spending: Spending
  readonly usedNanoUsd: number
}

/** Limits that do not let all be sent, and the hard cap when there is one. How many fit goes by the average request. */
export function capsOf(load: QuotedLoad, use: CapUse, limits: SendLimits): readonly QuotedCap[] {
  const { sentRequests, sentInputTokens, sentNanoUsd } = use.spending
  const { requests, tokens, nanoUsd } = load
  const soft = [
    ['--max-task-requests', 'the task may send', requests, limits.maxTaskRequests - sentRequests],
    ['--max-task-ktokens', 'the task may send', tokens, limits.maxTaskTokens - sentInputTokens],
    ['--max-task-cost', 'the task may send', nanoUsd, limits.maxTaskNanoUsd - sentNanoUsd],
    ['--max-session-requests', 'one run may send', requests, limits.maxSessionRequests],
    ['--max-session-ktokens', 'one run may send', tokens, limits.maxSessionTokens],
    ['--max-session-cost', 'one run may send', nanoUsd, limits.maxSessionNanoUsd],
  ] as const
  const caps = soft.map(([flag, who, amount, room]) => {
    const fit = fitting(requests, amount, room)
    return { flag, requests: fit, text: `${who} ${countOf(fit, requests)}` }
  })
  return [...caps.filter((cap) => cap.requests < requests), ...hardCap(load, use, limits)]
}

function hardCap(load: QuotedLoad, use: CapUse, { maxSpendNanoUsd }: SendLimits): readonly QuotedCap[] {
  if (maxSpendNanoUsd === undefined) return []
  const room = Math.max(0, maxSpendNanoUsd - use.usedNanoUsd)
  return [{ flag: '--max-spend', ...spendText(load, room) }]
}

function spendText({ requests, nanoUsd, mostNanoUsd }: QuotedLoad, room: number) {
  const of = `of ${formatUsd(room)} that may still be spent`
  if (mostNanoUsd === undefined) return { requests: 0, text: `${of}: what all can cost at most is not known` }
  const worst = `all can cost ${formatUsd(mostNanoUsd)} at most`
  if (mostNanoUsd <= room) return { requests, text: `${of}: ${worst}, so all fit` }
  const atOnce = fitting(requests, mostNanoUsd, room)
  const fit = Math.max(atOnce, Math.min(fitting(requests, nanoUsd, room), requests))
  const text = `${of}: ${worst}, so about ${formatCount(atOnce)} are sent at first and others as answers turn out cheaper; at the expected cost ${countOf(fit, requests)}`
  return { requests: fit, text }
}

/** How many of the requests have so much together that it fits into some room. */
function fitting(requests: number, amount: number, room: number): number {
  if (amount <= room) return requests
  return Math.max(0, Math.floor((requests * Math.max(0, room)) / amount))
}

const countOf = (fit: number, requests: number): string =>
  fit >= requests ? `all ${formatCount(requests)}` : `about ${formatCount(fit)} of ${formatCount(requests)}`
