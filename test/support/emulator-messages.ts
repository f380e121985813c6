import { z } from 'zod'

/** A moment in a program's life, as its server sees it. */
export const momentSchema = z.object({
  /**
   * Beginning of method and path, ids written as `:id`, such as `GET /v1/files/:id/content`; with a `$` at the end all
   * of it. Default: any request.
   */
  request: z.string().default(''),
  /** Which of those, counted from the order on. */
  nth: z.int().min(1),
  /**
   * `before`: the server does not act at all. `late`: it acts, but only `lateMs` after the kill. `after`: it has acted,
   * and its reply is still to be sent. `in-upload` and `in-reply`: a part of the request's or of the reply's body is
   * through.
   */
  when: z.enum(['before', 'late', 'after', 'in-upload', 'in-reply']),
  /** In milliseconds. */
  lateMs: z.int().min(0).default(0),
})
export type Moment = z.input<typeof momentSchema>

/** What a server process is told. */
export const orderSchema = z.discriminatedUnion('do', [
  z.object({
    do: z.literal('kill'),
    pid: z.int().min(2),
    signal: z.enum(['SIGINT', 'SIGTERM', 'SIGKILL']),
    at: momentSchema,
  }),
  /** Direct calls wait, unanswered; each is announced. */
  z.object({ do: z.literal('hold') }),
  z.object({ do: z.literal('release') }),
  z.object({ do: z.literal('report') }),
  z.object({ do: z.literal('close') }),
])
export type Order = z.input<typeof orderSchema>

export const reportSchema = z.object({
  /** Every batch that was ever created. */
  batches: z.array(
    z.object({
      status: z.string(),
      requests: z.number(),
      tag: z.string(),
      /** Number of the queue file it was made of. */
      file: z.string(),
      /** Hash of its input. */
      input: z.string(),
    }),
  ),
  /** Files that are still there. */
  files: z.array(z.string()),
  /** How often each last message was answered. */
  inBatches: z.record(z.string(), z.number()),
  directly: z.record(z.string(), z.number()),
  /** How often each line of a batch, by its `custom_id`, was answered. */
  lines: z.record(z.string(), z.number()),
})
export type Report = z.infer<typeof reportSchema>

/** What a server process tells. */
export const newsSchema = z.discriminatedUnion('news', [
  z.object({ news: z.literal('ready'), url: z.string() }),
  z.object({ news: z.literal('held'), calls: z.number() }),
  z.object({ news: z.literal('report'), report: reportSchema }),
])
export type News = z.infer<typeof newsSchema>
