import { z } from 'zod'
import { COMMON, count, MESSAGE, milliseconds } from './scenario-when.ts'

/** All calls that a fault can be about. */
export const ROUTES = [
  'POST /v1/files',
  'GET /v1/files',
  'GET /v1/files/{id}',
  'GET /v1/files/{id}/content',
  'DELETE /v1/files/{id}',
  'POST /v1/batches',
  'GET /v1/batches',
  'GET /v1/batches/{id}',
  'POST /v1/batches/{id}/cancel',
  'GET /v1/models',
  'GET /v1/models/{id}',
  'POST /v1/chat/completions',
  'POST /v1/responses',
  'POST /v1/embeddings',
] as const
export type Route = (typeof ROUTES)[number]

const routeSchema = z.enum(ROUTES)

const CALL = {
  ...COMMON,
  /** Which calls. Without it: all. */
  route: z.union([routeSchema, z.array(routeSchema).min(1)]).optional(),
  /** Only calls whose body has this text in it. */
  contains: z.string().min(1).optional(),
  /** Only calls whose body names this model; of an upload, its first line. */
  model: z.string().min(1).optional(),
}

/**
 * Whether the server does what it was asked for: not at all, at once (before the fault), or so many milliseconds
 * after the call arrived.
 */
const acts = z.union([z.boolean(), z.strictObject({ afterMs: milliseconds })]).default(false)

/** An error as the API words it, in an answer's `error`. */
const apiErrorSchema = z.strictObject({
  message: z.string().default(MESSAGE),
  /** @default server_error from status 500 on, else invalid_request_error */
  type: z.string().optional(),
  code: z.string().nullable().default(null),
  param: z.string().nullable().default(null),
})

/** Names are taken in small letters, as HTTP does not tell them apart. */
const headers = z
  .record(z.string().regex(/^[A-Za-z0-9-]+$/), z.string())
  .transform((given) =>
    Object.fromEntries(Object.entries(given).map(([name, value]) => [name.toLowerCase(), value])),
  )
  .default({})

const body = {
  error: apiErrorSchema.optional(),
  json: z.json().optional(),
  text: z.string().optional(),
  headers,
}

/** The body of an answer: an error, any JSON, or any text. Without one of these it is empty. */
export const BODY = body
export type Body = z.output<z.ZodObject<typeof body>>

export const ONE_BODY = { message: 'give at most one of error, json and text' }
export const hasOneBody = ({ error, json, text }: Body): boolean =>
  [error, json, text].filter((one) => one !== undefined).length <= 1

/** The caller gets this answer instead of the server's. Text is `text/plain` unless the headers say otherwise. */
const httpAnswer = z
  .strictObject({
    ...CALL,
    fault: z.literal('http-answer'),
    status: z.int().min(200).max(599),
    ...BODY,
    acts,
  })
  .refine(hasOneBody, ONE_BODY)

/** The connection breaks, without an answer. */
const httpLose = z.strictObject({ ...CALL, fault: z.literal('http-lose'), acts })

/** No answer ever comes; the call ends when the caller gives up. */
const httpHang = z.strictObject({ ...CALL, fault: z.literal('http-hang'), acts })

/** The call waits, then goes on; with `acts` true, it is the answer that waits. */
const httpDelay = z.strictObject({
  ...CALL,
  fault: z.literal('http-delay'),
  ms: milliseconds,
  acts: z.boolean().default(false),
})

/** The answer's body ends after so many bytes. */
const httpCut = z.strictObject({
  ...CALL,
  fault: z.literal('http-cut'),
  bytes: z.int().min(0),
  /** Whether the answer says how long it is. */
  contentLength: z.boolean().default(true),
  /** `broken`: the connection breaks there. `clean`: the answer looks like a whole one. */
  ends: z.enum(['broken', 'clean']).default('broken'),
})

/** Bytes of the answer's body are overwritten with 0xFF, which is no UTF-8. */
const httpGarble = z.strictObject({
  ...CALL,
  fault: z.literal('http-garble'),
  /** Of the first one, from 0. */
  from: z.int().min(0).default(0),
  bytes: count.default(16),
})

export const callFaultSchemas = [httpAnswer, httpLose, httpHang, httpDelay, httpCut, httpGarble] as const

export type CallFault = z.output<(typeof callFaultSchemas)[number]>
export type Acts = z.output<typeof acts>
