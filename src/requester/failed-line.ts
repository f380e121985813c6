import { z } from 'zod'

/** A line of `<name>_failed.jsonl`: a request that failed for good. */
export const failedLineSchema = z.object({
  key: z.string(),
  reason: z.string(),
  attempts: z.number(),
  /** The last one that it got, as the server gave it. */
  reply: z.unknown().optional(),
})
