import { z } from 'zod'
import { COMMON, count, MESSAGE, milliseconds, shareOf } from './scenario-when.ts'

const BATCH = {
  ...COMMON,
  /** Only batches of this model. */
  model: z.string().min(1).optional(),
  /** Only batches whose input file has this text in it. */
  contains: z.string().min(1).optional(),
}

const file = z.enum(['output', 'error', 'both'])

/** For so many looks (calls that show the batch) it is this way. Without it: for ever. */
const looks = count.optional()

const validationError = z.strictObject({
  code: z.string().nullable().default(null),
  message: z.string().nullable().default(MESSAGE),
  /** Of the input file, from 1; `found`: the first one with the text that the fault is about. */
  line: z
    .union([z.int().min(1), z.literal('found')])
    .nullable()
    .default(null),
  param: z.string().nullable().default(null),
})

/** The batch ends otherwise than by having all its answers. */
const batchEnd = z.strictObject({
  ...BATCH,
  fault: z.literal('batch-end'),
  as: z.enum(['failed', 'expired', 'cancelled']),
  /** Share of its requests that are answered before that. A failed one has an output file only if there are any. */
  answered: shareOf.default(0),
  /** The batch's `errors`: null, a list, or a list of none. */
  errors: z.array(validationError).nullable().default(null),
})

/** The batch stays longer in a state. */
const batchStuck = z.strictObject({
  ...BATCH,
  fault: z.literal('batch-stuck'),
  in: z.enum(['validating', 'in_progress', 'finalizing', 'cancelling']),
  ms: milliseconds,
})

/** The batch's `status` is another word. */
const batchStatus = z.strictObject({ ...BATCH, fault: z.literal('batch-status'), says: z.string(), looks })

/** The id of a file of an ended batch is null or an empty text, though there may be a file. */
const batchFileId = z.strictObject({
  ...BATCH,
  fault: z.literal('batch-file-id'),
  file,
  is: z.enum(['null', 'empty']),
  looks,
})

/** The file is there and has no bytes, whatever was answered. */
const batchFileEmpty = z.strictObject({ ...BATCH, fault: z.literal('batch-file-empty'), file })

/** The batch's `request_counts` are wrong: `missing`, or as given. */
const batchCounts = z.strictObject({
  ...BATCH,
  fault: z.literal('batch-counts'),
  are: z.union([
    z.literal('missing'),
    z.strictObject({
      total: z.int().optional(),
      completed: z.int().optional(),
      failed: z.int().optional(),
    }),
  ]),
})

/** The batch's `usage` is not there, or null. */
const batchUsage = z.strictObject({
  ...BATCH,
  fault: z.literal('batch-usage'),
  is: z.enum(['missing', 'null']),
})

export const batchFaultSchemas = [
  batchEnd,
  batchStuck,
  batchStatus,
  batchFileId,
  batchFileEmpty,
  batchCounts,
  batchUsage,
] as const

/** Kept with the batch that it happens to. */
export const batchFaultSchema = z.discriminatedUnion('fault', batchFaultSchemas)
export type BatchFault = z.output<typeof batchFaultSchema>
