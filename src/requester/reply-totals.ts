import type { WireResultLine } from '../openai/wire.ts'
import type { CostQuery, PriceTable } from '../tokens/prices.ts'
import { addUsage, readUsage, zeroUsage } from '../tokens/usage.ts'

/** What replies used and cost together, in the words of a `received` step. */
export interface ReplyTotals {
  usage: typeof zeroUsage
  costNanoUsd: number
  /** Replies whose model has no known price; they are missing in the cost. */
  unpriced: number
}

export const emptyTotals = (): ReplyTotals => ({ usage: zeroUsage, costNanoUsd: 0, unpriced: 0 })

/** Adds one result line. A line that tells of no usage adds nothing. */
export function addReply(
  totals: ReplyTotals,
  line: WireResultLine,
  prices: PriceTable,
  query: CostQuery,
): void {
  const body = line.response?.body
  const said = typeof body === 'object' && body !== null && 'usage' in body ? body.usage : undefined
  const usage = readUsage(said)
  if (!usage) return
  const cost = prices.costNanoUsd(usage, query)
  totals.usage = addUsage(totals.usage, usage)
  if (cost === undefined) totals.unpriced++
  else totals.costNanoUsd += cost
}
