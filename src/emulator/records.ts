import { z } from 'zod'
import { StateError } from '../errors.ts'
import { batchErrorSchema, ENDPOINTS } from '../openai/wire.ts'
import { batchFaultSchema } from './scenario-batch.ts'
import type { RecordKind, Storage } from './storage.ts'

/** A file as it is kept. Times are in milliseconds since 1970. */
export const fileRecordSchema = z.object({
  id: z.string(),
  /** Counts up: files made in the same millisecond keep their order. */
  seq: z.number(),
  filename: z.string(),
  purpose: z.string(),
  bytes: z.number(),
  createdMs: z.number(),
  expiresMs: z.number().optional(),
  /** Its lines carry marks, and take their form when they are read. */
  marked: z.boolean().optional(),
})
export type FileRecord = Readonly<z.infer<typeof fileRecordSchema>>

/** What a number of answered lines comes to. `succeeded` and `failed` count lines; bytes are those of the two files. */
export const totalsSchema = z.object({
  succeeded: z.number(),
  failed: z.number(),
  outputBytes: z.number(),
  errorBytes: z.number(),
  input: z.number(),
  cached: z.number(),
  output: z.number(),
  reasoning: z.number(),
})
export type Totals = Readonly<z.infer<typeof totalsSchema>>

export const STATUSES = [
  'validating',
  'failed',
  'in_progress',
  'finalizing',
  'completed',
  'expired',
  'cancelling',
  'cancelled',
] as const
export type BatchStatus = (typeof STATUSES)[number]

/** A batch as it is kept. The file ids are reserved when it is created; they are files only in the end. */
export const batchRecordSchema = z.object({
  id: z.string(),
  seq: z.number(),
  endpoint: z.enum(ENDPOINTS),
  inputFileId: z.string(),
  outputFileId: z.string(),
  errorFileId: z.string(),
  outputExpiresAfterSeconds: z.number().optional(),
  metadata: z.record(z.string(), z.string()).nullable(),
  status: z.enum(STATUSES),
  createdMs: z.number(),
  /** When each further status was entered. */
  since: z.partialRecord(z.enum(STATUSES), z.number()),
  errors: z.array(batchErrorSchema).optional(),
  model: z.string().optional(),
  /** Prompt tokens, as the enqueued-token limit counts them. */
  tokens: z.number().optional(),
  /** Lines of the input file, known once it has been validated. */
  total: z.number().optional(),
  /** How the batch will end, once it is finalizing. */
  ending: z.enum(['completed', 'expired', 'cancelled', 'failed']).optional(),
  /** What is kept of the answers, once that is decided. */
  kept: totalsSchema.optional(),
  /** What the scenario does to it. */
  faults: z.array(batchFaultSchema).optional(),
  /** Its answers may carry marks. */
  marked: z.boolean().optional(),
})
export type BatchRecord = Readonly<z.infer<typeof batchRecordSchema>>

/** All records of a kind, oldest first. Throws `StateError` naming the file that is not what it should be. */
export function loadRecords<Item extends { readonly seq: number }>(
  storage: Storage,
  kind: RecordKind,
  schema: z.ZodType<Item>,
): readonly Item[] {
  const items = storage.load(kind).map(({ place, text }) => {
    try {
      return schema.parse(JSON.parse(text))
    } catch (error) {
      const message = `${place} is not a record of the emulator: restore it, or remove it to go on without it`
      throw new StateError('emulator_record_invalid', message, { cause: error })
    }
  })
  return items.sort((a, b) => a.seq - b.seq)
}
