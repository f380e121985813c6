import { z } from 'zod'
import { jsonLines } from '../support/folder.ts'

/** Read by shapes of its own: the code that is tested must not be asked whether it is right. */
const Line = z.object({
  steps: z.array(
    z.looseObject({
      kind: z.string(),
      first: z.number().optional(),
      keys: z.array(z.string()).optional(),
      requests: z.array(z.number()).optional(),
      batchId: z.string().optional(),
    }),
  ),
})

/** What a ledger says about the calls of a job, by key. */
export interface LedgerFacts {
  /** Replies to direct calls. */
  readonly received: ReadonlyMap<string, number>
  /** Direct calls of which it is not known whether they were answered. */
  readonly uncertain: ReadonlyMap<string, number>
  /** Ids of batches that came of attempts that had been given up. */
  readonly strays: readonly string[]
}

export async function readLedgerFacts(path: string): Promise<LedgerFacts> {
  const keys = new Map<number, string>()
  const received = new Map<string, number>()
  const uncertain = new Map<string, number>()
  const strays: string[] = []
  const count = (counts: Map<string, number>, requests: readonly number[]): void => {
    for (const request of requests) {
      const key = keys.get(request) ?? `request ${request}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
  }
  const steps = (await jsonLines(path)).flatMap((line) => Line.parse(line).steps)
  for (const { kind, first = 0, keys: added = [], requests = [], batchId = '' } of steps) {
    if (kind === 'add') for (const [index, key] of added.entries()) keys.set(first + index, key)
    if (kind === 'received') count(received, requests)
    if (kind === 'uncertain') count(uncertain, requests)
    if (kind === 'stray') strays.push(batchId)
  }
  return { received, uncertain, strays }
}
