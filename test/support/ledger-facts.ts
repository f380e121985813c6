import { z } from 'zod'
import type { LedgerStep } from './task-harness.ts'

const addSchema = z.object({ kind: z.literal('add'), first: z.number(), keys: z.array(z.string()) })
const uncertainSchema = z.object({ kind: z.literal('uncertain'), requests: z.array(z.number()) })
const requeueSchema = z.object({
  kind: z.literal('requeue'),
  why: z.string(),
  reason: z.string().optional(),
  requests: z.array(z.number()),
})

/** What the ledger says about each request, by key. */
export interface LedgerFacts {
  /** Direct calls whose answer was lost. */
  readonly uncertain: ReadonlyMap<string, number>
  /** Attempts that were used up and followed by another. */
  readonly retried: ReadonlyMap<string, number>
  /** How often requests were queued again, by reason. */
  readonly requeued: Readonly<Record<string, number>>
}

export function ledgerFacts(steps: readonly LedgerStep[]): LedgerFacts {
  const keys = new Map<number, string>()
  const uncertain = new Map<string, number>()
  const retried = new Map<string, number>()
  const requeued: Record<string, number> = {}
  const count = (counts: Map<string, number>, request: number): void => {
    const key = keys.get(request) ?? ''
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  for (const step of steps) {
    if (step.kind === 'add') {
      const { first, keys: added } = addSchema.parse(step)
      for (const [index, key] of added.entries()) keys.set(first + index, key)
    } else if (step.kind === 'uncertain') {
      for (const request of uncertainSchema.parse(step).requests) count(uncertain, request)
    } else if (step.kind === 'requeue') {
      const { why, requests } = requeueSchema.parse(step)
      requeued[why] = (requeued[why] ?? 0) + requests.length
      if (why === 'retry') for (const request of requests) count(retried, request)
    }
  }
  return { uncertain, retried, requeued }
}
