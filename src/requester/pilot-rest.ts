import type { QuotedModel, QuotedPrice } from './quote.ts'

/** The new requests of a task without those that its pilot sends. Costs in USD, as estimated beforehand. */
export interface QuotedRest {
  readonly requests: number
  /** Requests that would go in batches; the others go directly. */
  readonly batchRequests: number
  readonly cost: Readonly<Record<Way, QuotedPrice>>
  /** What of `cost` is for the requests that would go that way, in USD. */
  readonly planned: Readonly<Record<Way, number>>
}

type Way = 'batch' | 'direct'

/** `whole` without `picked`; a group that gets too small for a batch by that goes directly. */
export function restAfter(
  whole: readonly QuotedModel[],
  picked: readonly QuotedModel[],
  minBatchRequests: number,
): QuotedRest {
  const groups = whole.map((group) => {
    const part = picked.find(({ endpoint, model }) => endpoint === group.endpoint && model === group.model)
    return withoutPart(group, part, minBatchRequests)
  })
  return groups.reduce(plus, NOTHING)
}

function withoutPart(
  group: QuotedModel,
  part: QuotedModel | undefined,
  minBatchRequests: number,
): QuotedRest {
  const requests = group.requests - (part?.requests ?? 0)
  const isBatch = group.batches > 1 || requests >= minBatchRequests
  const batchRequests = isBatch ? Math.min(requests, group.batchRequests) : 0
  const share = requests > 0 ? batchRequests / requests : 0
  const batch = minus(group.cost.batch, part?.cost.batch)
  const direct = minus(group.cost.direct, part?.cost.direct)
  return {
    requests,
    batchRequests,
    cost: { batch, direct },
    planned: { batch: batch.total * share, direct: direct.total * (1 - share) },
  }
}

const FREE: QuotedPrice = { input: 0, output: 0, total: 0 }
const NOTHING: QuotedRest = {
  requests: 0,
  batchRequests: 0,
  cost: { batch: FREE, direct: FREE },
  planned: { batch: 0, direct: 0 },
}

const plus = (a: QuotedRest, b: QuotedRest): QuotedRest => ({
  requests: a.requests + b.requests,
  batchRequests: a.batchRequests + b.batchRequests,
  cost: { batch: sum(a.cost.batch, b.cost.batch), direct: sum(a.cost.direct, b.cost.direct) },
  planned: {
    batch: a.planned.batch + b.planned.batch,
    direct: a.planned.direct + b.planned.direct,
  },
})

const sum = (a: QuotedPrice, b: QuotedPrice): QuotedPrice => ({
  input: a.input + b.input,
  output: a.output + b.output,
  total: a.total + b.total,
})

/** Never below 0: sums of the same numbers in another order may differ in their last digits. */
function minus(a: QuotedPrice, b: QuotedPrice = FREE): QuotedPrice {
  const input = Math.max(0, a.input - b.input)
  const output = Math.max(0, a.output - b.output)
  return { input, output, total: input + output }
}
