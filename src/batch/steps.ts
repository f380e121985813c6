import { z } from 'zod'
import { ENDPOINTS } from '../openai/wire.ts'

/**
 * The steps a ledger line is made of: everything that ever happened to a task, in the words of the domain.
 * Requests are named by their number, queue files by their id. Columns (`keys`, `hashes`, ...) keep a line with
 * a thousand requests short and quick to read back. Bodies, replies and outputs never enter a step.
 */

const number = z.number().int().nonnegative()
const numbers = z.array(number)
const text = z.string()

/**
 * Columns beside the requests of a judgement: the server's id of each reply, and what it cost in nano-USD (null
 * where either is unknown). Ledgers of format 1 have none.
 */
const replyColumns = {
  ids: z.array(text.nullable()).optional(),
  costs: z.array(z.number().nullable()).optional(),
}

/** What the tokens of some replies added up to; see `TokenUsage` in tokens/usage.ts. */
const usageSchema = z.object({
  input: z.number(),
  cachedInput: z.number(),
  cacheWrite: z.number(),
  output: z.number(),
  reasoning: z.number(),
})

/** Expected tokens and ceilings of the lines that a step adds; see `TokenForecast` in tokens/forecast.ts. Ledgers before format 3 have none. */
const forecastSchema = z.object({
  requests: number,
  input: z.number(),
  output: z.number(),
  mostInput: z.number(),
  mostOutput: z.number(),
  longest: z.number(),
  unbounded: number,
})

/** What priced the answers of a batch, kept so that each of them always costs the same; see `RateCard` in tokens/prices.ts. */
const rateCardSchema = z.array(
  z.object({
    above: z.number(),
    input: z.number().optional(),
    cached: z.number().optional(),
    cacheWrite: z.number().optional(),
    output: z.number().optional(),
  }),
)

/** What a `received` step says beside usage and cost, all of it optional; money in nano-USD. */
const receiptColumns = {
  /** What the same tokens cost by direct calls. */
  listNanoUsd: z.number().optional(),
  /** What had been expected of the requests that were answered. */
  expected: z.object({ input: z.number(), output: z.number(), costNanoUsd: z.number() }).optional(),
  /** Answers that said nothing of their tokens, and are charged the most they can have cost. */
  unmetered: number.optional(),
  /** The factor by which their counts were raised for that: kept so that each of them always costs the same. */
  safety: z.number().optional(),
  /** The most that answers can have cost that the server worked on and never gave; see `uncertainNanoUsd`. */
  lostNanoUsd: z.number().optional(),
}

export const WIPE_SCOPES = ['requests', 'failed', 'task'] as const
export type WipeScope = (typeof WIPE_SCOPES)[number]

const requeueReasons = [
  'retry',
  'expired',
  'cancelled',
  'recalled',
  'refused',
  'healed',
  'unsent',
  'uncertain',
  'unfit',
  'shared',
  'alone',
] as const
/**
 * Why a line was queued again. Only `retry` uses up an attempt. `refused`: the account or the key was. `unfit`: an
 * answer that was used again did not do, so the request is asked for itself. `shared`, `alone`: it waited for the
 * answer to an identical one, and is given that, or asked for itself. `recalled`: its batch was cancelled for a deadline.
 */
export type RequeueReason = (typeof requeueReasons)[number]

const terminalSchema = z.enum(['completed', 'failed', 'expired', 'cancelled'])
export type TerminalStatus = z.infer<typeof terminalSchema>

const batchFaultSchema = z.object({ code: text, message: text, line: number.optional() })
/** One entry of a failed batch's `errors.data`. `line` counts from 1 in the input file. */
export type BatchFault = z.infer<typeof batchFaultSchema>

/** The server does not know a batch any more: how far it got is not known, so it is charged the most it can have cost. */
const gone = z.literal(true).optional()

export const stepSchema = z.discriminatedUnion('kind', [
  // --- the task itself
  z.object({
    kind: z.literal('task'),
    version: z.literal(1),
    taskId: text,
    className: text,
    endpoint: text,
    schema: text,
    params: z.unknown(),
  }),
  /** How the ledger is to be read from here on; see ledger-format.ts. No release may change what this step looks like. */
  z.object({ kind: z.literal('format'), version: z.int().min(1), needs: text }),
  z.object({ kind: z.literal('drift'), className: text, endpoint: text, schema: text }),
  z.object({ kind: z.literal('params'), params: z.unknown() }),
  z.object({ kind: z.literal('account'), account: text }),
  // --- the queue
  z.object({
    kind: z.literal('open'),
    file: number,
    endpoint: z.enum(ENDPOINTS),
    model: text,
    /** `reuse`: for requests whose answers are there already; nothing of it is ever sent. */
    for: z.literal('reuse').optional(),
  }),
  z.object({
    kind: z.literal('add'),
    file: number,
    first: number,
    keys: z.array(text),
    hashes: z.array(text),
    bytes: number,
    inputs: number.optional(),
    tokens: forecastSchema.optional(),
    /** The request that each of these waits behind for an answer to both; they have no lines, and `file` is 0. */
    after: numbers.optional(),
    samples: z.array(text.nullable()).optional(),
    metas: z.array(z.unknown()).optional(),
  }),
  z.object({
    kind: z.literal('requeue'),
    file: number,
    why: z.enum(requeueReasons),
    requests: numbers,
    bytes: number,
    inputs: number.optional(),
    tokens: forecastSchema.optional(),
    /** Of a direct call that was not made after all: what had been reserved for it, in nano-USD. */
    released: z.number().optional(),
    /** Of such a call: the expected prompt tokens and cost that it had been counted with as sent. */
    takenBack: z.object({ input: z.number(), nanoUsd: z.number() }).optional(),
    reason: text.optional(),
    repaired: z.literal(true).optional(),
    /** The request behind which these waited, one behind the other; who waits behind the last goes on waiting. */
    of: number.optional(),
    ...replyColumns,
  }),
  z.object({ kind: z.literal('seal'), file: number, as: z.enum(['batch', 'direct', 'reused']) }),
  // --- the submit protocol
  z.object({
    kind: z.literal('intent'),
    file: number,
    tag: text,
    /** When it was, in milliseconds since 1970: the day whose prices the batch has. */
    at: z.number().optional(),
    /** What it is expected to cost, in nano-USD. */
    expectedNanoUsd: z.number().optional(),
    /** The most it can cost, in nano-USD; only under `maxSpend`. */
    reserved: z.number().optional(),
  }),
  /** Sets what is reserved for a file: one that was sent before there was a hard cap, or of which nothing can be charged any more. */
  z.object({
    kind: z.literal('reserve'),
    file: number,
    reserved: z.number(),
    /** Id of the stray that it is for, rather than for what the file itself has under way. */
    stray: text.optional(),
  }),
  z.object({
    kind: z.literal('uploaded'),
    file: number,
    inputFileId: text,
    /** When the server says that the upload came to be, in seconds since 1970. */
    since: z.number().optional(),
  }),
  z.object({ kind: z.literal('upload-doubt'), tag: text, at: number, why: text }),
  z.object({ kind: z.literal('swept'), tags: z.array(text), litter: z.array(text) }),
  z.object({ kind: z.literal('doubt'), file: number, why: text }),
  z.object({ kind: z.literal('fenced'), file: number, at: number }),
  z.object({ kind: z.literal('abandoned'), file: number, why: text, litter: z.array(text) }),
  z.object({
    kind: z.literal('created'),
    file: number,
    batchId: text,
    inputFileId: text,
    adopted: z.literal(true).optional(),
    /** The batch came of this earlier attempt, which had been given up. */
    tag: text.optional(),
  }),
  z.object({
    kind: z.literal('remote'),
    file: number,
    status: text,
    /** It is cancelled for a deadline: what it does not answer goes again, and nothing is used up by that. */
    recalled: z.literal(true).optional(),
  }),
  z.object({
    kind: z.literal('ended'),
    file: number,
    status: terminalSchema,
    outputFileId: text.optional(),
    errorFileId: text.optional(),
    faults: z.array(batchFaultSchema).optional(),
    /** Tokens of the whole batch by the server's own count. */
    usage: usageSchema.optional(),
    /** From its creation to its end, in milliseconds; only of one that was worked on to its end. */
    tookMs: number.optional(),
    gone,
  }),
  // --- batches that came of attempts that had been given up
  z.object({
    kind: z.literal('stray'),
    tag: text,
    batchId: text,
    status: text,
    litter: z.array(text),
    file: number.optional(),
    model: text.optional(),
    inputFileId: text.optional(),
  }),
  z.object({
    kind: z.literal('stray-ended'),
    batchId: text,
    status: terminalSchema,
    outputFileId: text.optional(),
    errorFileId: text.optional(),
    gone,
  }),
  z.object({
    kind: z.literal('stray-received'),
    batchId: text,
    usage: usageSchema,
    costNanoUsd: z.number().optional(),
    unpriced: number.optional(),
    ...receiptColumns,
    rates: rateCardSchema.optional(),
    litter: z.array(text),
  }),
  z.object({ kind: z.literal('stray-settled'), batchId: text, litter: z.array(text) }),
  // --- direct calls
  z.object({
    kind: z.literal('sent'),
    file: number,
    requests: numbers,
    tokens: forecastSchema.optional(),
    /** What they were expected to cost, in nano-USD. */
    expectedNanoUsd: z.number().optional(),
    /** The most they can cost, in nano-USD; only under `maxSpend`. */
    reserved: z.number().optional(),
    /** Sent with this `service_tier`. */
    tier: z.literal('flex').optional(),
  }),
  z.object({
    kind: z.literal('uncertain'),
    file: number,
    requests: numbers,
    /** The most that the lost answers can have cost, in nano-USD. */
    charged: z.number().optional(),
    /** What had been reserved for these calls. */
    released: z.number().optional(),
  }),
  // --- answers: received, then judged
  z.object({
    kind: z.literal('received'),
    file: number,
    requests: numbers.optional(),
    usage: usageSchema,
    costNanoUsd: z.number().optional(),
    unpriced: number.optional(),
    oddLines: number.optional(),
    ...receiptColumns,
    /** What priced a batch. */
    rates: rateCardSchema.optional(),
    /** The tier that a direct call was answered and priced at. */
    tier: z.literal('flex').optional(),
    /** What had been reserved for a direct call. */
    released: z.number().optional(),
    /**
     * Answers that were there already, and what they would have cost as a batch, in nano-USD. `of`: the request whose
     * answer it was; without it they come from the cache.
     */
    reused: z.object({ replies: number, savedNanoUsd: z.number(), of: number.optional() }).optional(),
    /** Good answers among the lines. */
    answers: number.optional(),
    litter: z.array(text).optional(),
  }),
  z.object({ kind: z.literal('accepted'), requests: numbers, lines: number, part: number, ...replyColumns }),
  z.object({
    kind: z.literal('rejected'),
    request: number,
    reason: text,
    /** It came back expired or cancelled too often: no verdict on the answers of its batch. */
    lapsed: z.literal(true).optional(),
    id: text.optional(),
    cost: z.number().optional(),
  }),
  z.object({ kind: z.literal('remembered'), sample: text, key: text, value: z.unknown() }),
  // --- the end of things
  z.object({ kind: z.literal('cleaned'), remoteFiles: z.array(text) }),
  z.object({ kind: z.literal('dropped'), file: number }),
  z.object({ kind: z.literal('breaker'), passFailures: number }),
  z.object({ kind: z.literal('wipe'), scope: z.enum(WIPE_SCOPES) }),
  z.object({
    kind: z.literal('wiped'),
    scope: z.enum(WIPE_SCOPES),
    pending: number,
    failed: number,
    thrownAway: number,
  }),
  z.object({ kind: z.literal('restored'), failed: number }),
])

export type Step = z.infer<typeof stepSchema>
export type StepOf<Kind extends Step['kind']> = Extract<Step, { kind: Kind }>
