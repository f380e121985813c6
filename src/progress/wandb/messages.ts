import { z } from 'zod'
import { parsedJson } from '../../util/parsed-json.ts'

/** Messages between a runner and its sender: one JSON object a line, over the sender's standard input and output. */

const timingSchema = z.object({
  paceMs: z.number().nonnegative(),
  heartbeatMs: z.number().positive(),
  timeoutMs: z.number().positive(),
  backoffMs: z.number().nonnegative(),
  maxBackoffMs: z.number().nonnegative(),
  refusedMs: z.number().nonnegative(),
  graceMs: z.number().nonnegative(),
})

export const orderSchema = z.discriminatedUnion('order', [
  /** The first one. The key is in the environment, and nowhere else. */
  z.object({
    order: z.literal('start'),
    taskDir: z.string(),
    task: z.string(),
    /** Folder of `<name>_wandb.json` and its lock. */
    stateDir: z.string(),
    wishes: z.object({
      baseUrl: z.string(),
      entity: z.string().optional(),
      project: z.string(),
      runId: z.string().optional(),
      name: z.string(),
      group: z.string().optional(),
      tags: z.array(z.string()),
      config: z.record(z.string(), z.unknown()),
    }),
    timing: timingSchema,
    /** Lines in one post, at most. */
    postLines: z.int().positive().optional(),
  }),
  /** So many bytes of the history file may be sent. */
  z.object({ order: z.literal('durable'), bytes: z.int().nonnegative() }),
  /** The run is over: send the rest, tell W&B how it ended, and end. */
  z.object({ order: z.literal('end'), exitCode: z.int() }),
])

/** What a runner tells its sender. */
export type Order = z.infer<typeof orderSchema>

export const newsSchema = z.discriminatedUnion('news', [
  /** The run is there. */
  z.object({ news: z.literal('run'), url: z.string() }),
  /** The server has so many lines and bytes of the history file. */
  z.object({ news: z.literal('acked'), lines: z.int(), bytes: z.int() }),
  /** Something is wrong. Each code is told once. */
  z.object({ news: z.literal('trouble'), code: z.string(), message: z.string() }),
  /** All is delivered that ever was to be, or will not be by this sender. */
  z.object({ news: z.literal('done'), why: z.enum(['delivered', 'refused', 'unreachable', 'out-of-time']) }),
])

/** What a sender tells its runner. */
export type News = z.infer<typeof newsSchema>

/** The message in a line; undefined when it is none. */
export const readOrder = (line: string): Order | undefined => orderSchema.safeParse(parsedJson(line)).data
export const readNews = (line: string): News | undefined => newsSchema.safeParse(parsedJson(line)).data

export const messageLine = (message: Order | News): string => `${JSON.stringify(message)}\n`
