import { z } from 'zod'
import { COMMON, count, milliseconds } from './scenario-when.ts'

/** `file`: what was uploaded. */
const what = z.enum(['batch', 'file'])

/** A new batch or upload is not there yet, for some calls. It is counted when it is made. */
const listingLag = z
  .strictObject({
    ...COMMON,
    fault: z.literal('listing-lag'),
    what,
    /**
     * Which calls do not find it: `list`; `get` (of a file its content too; 404); `create` (a batch of that file;
     * 400); `delete` (of a file; 404) and `cancel` (of a batch; 404).
     */
    from: z
      .array(z.enum(['list', 'get', 'create', 'delete', 'cancel']))
      .min(1)
      .default(['list']),
    /** It is there after this time ... */
    ms: milliseconds.optional(),
    /** ... and after so many calls that did not find it. Give one of the two, or both. */
    calls: count.optional(),
  })
  .refine(({ ms, calls }) => ms !== undefined || calls !== undefined, { message: 'give ms, calls, or both' })

/**
 * Batches (ended) or files of other people, made right before and right after a new one. `{n}` in a text stands for
 * a number that is different for each.
 */
const listingCrowd = z.strictObject({
  ...COMMON,
  fault: z.literal('listing-crowd'),
  what,
  before: z.int().min(0).default(0),
  after: z.int().min(0).default(0),
  /** Of the files. */
  filename: z.string().min(1).default('other-{n}.jsonl'),
  /** Of the batches. */
  metadata: z.record(z.string(), z.string()).default({}),
})

/** Pages of a listing hold at most so many, whatever is asked for. */
const listingPages = z.strictObject({
  ...COMMON,
  fault: z.literal('listing-pages'),
  what,
  size: count,
})

export const listingFaultSchemas = [listingLag, listingCrowd, listingPages] as const

export type ListingFault = z.output<(typeof listingFaultSchemas)[number]>
export type What = z.output<typeof what>
export type LagFrom = 'list' | 'get' | 'create' | 'delete' | 'cancel'
