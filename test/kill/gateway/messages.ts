import { z } from 'zod'
import { momentSchema } from '../../support/emulator-messages.ts'

/** What the emulator's process is told. */
export const orderSchema = z.discriminatedUnion('do', [
  /** Kills a gateway at one of its calls. `door`: the address that it calls. Takes the place of the order before. */
  z.object({ do: z.literal('kill'), door: z.int(), pid: z.int().min(2), at: momentSchema }),
  z.object({ do: z.literal('spare'), door: z.int() }),
  z.object({ do: z.literal('report') }),
  z.object({ do: z.literal('close') }),
])
export type Order = z.input<typeof orderSchema>

const batchSchema = z.object({
  status: z.string(),
  tag: z.string(),
  /** When it was created, in milliseconds since 1970. */
  at: z.number(),
  /** Serial numbers of its lines. */
  serials: z.array(z.number()),
})

const callSchema = z.object({
  serial: z.number(),
  door: z.number(),
  isFlex: z.boolean(),
  /** When it came, and when it was answered or its caller was gone, in milliseconds since 1970. */
  from: z.number(),
  to: z.number().optional(),
})
export type Call = z.infer<typeof callSchema>

export const reportSchema = z.object({
  /** Every batch that was ever created, oldest first. */
  batches: z.array(batchSchema),
  /** Flex and direct calls. */
  calls: z.array(callSchema),
  /** Names of files that are still there. */
  files: z.array(z.string()),
})
export type Report = z.infer<typeof reportSchema>

/** What the emulator's process tells. */
export const newsSchema = z.discriminatedUnion('news', [
  /** Without a path, one for each door. */
  z.object({ news: z.literal('ready'), urls: z.array(z.string()) }),
  z.object({ news: z.literal('report'), report: reportSchema }),
])
export type News = z.infer<typeof newsSchema>
