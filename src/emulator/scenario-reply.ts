import { z } from 'zod'
import { BODY, hasOneBody, ONE_BODY } from './scenario-call.ts'
import { COMMON, count, MESSAGE, replyWhenSchema } from './scenario-when.ts'

const REQUEST = {
  ...COMMON,
  when: replyWhenSchema.optional(),
  /** Only requests whose body, as JSON text, has this text in it. */
  contains: z.string().min(1).optional(),
  /** Only requests to this model. */
  model: z.string().min(1).optional(),
}

const LINE = {
  ...REQUEST,
  /** Only the request in this line of its batch's input file, from 1. */
  line: count.optional(),
}

const REPLY = {
  ...LINE,
  /** Only answers in batches, or only direct ones. Without it: both. */
  via: z.enum(['batch', 'direct']).optional(),
}

/** The request is answered with this status and body. In a batch anything but 200 stands in the error file. */
const replyStatus = z
  .strictObject({
    ...REPLY,
    fault: z.literal('reply-status'),
    /** 0 has been seen in batches, counted as completed; a direct call that gets it sees a broken connection. */
    status: z.union([z.literal(0), z.int().min(200).max(599)]),
    ...BODY,
  })
  .refine(hasOneBody, ONE_BODY)

/** The model says this. */
const replyText = z.strictObject({ ...REPLY, fault: z.literal('reply-text'), text: z.string() })

export const REPLY_FORMS = [
  'refusal',
  'cut',
  'no-choices',
  'empty',
  'html',
  'no-usage',
  'null-usage',
  'null-usage-details',
  'line-separators',
] as const
export type ReplyForm = (typeof REPLY_FORMS)[number]

/** The reply is an unusual one:
 * - `refusal`: the model refuses. `cut`: it ran out of tokens half way. `no-choices`: the list of answers is empty.
 * - `empty`: there is no body. `html`: the body is a page in HTML. Both with status 200.
 * - `no-usage`, `null-usage`, `null-usage-details`: usage, or its details, are not there or null.
 * - `line-separators`: raw U+2028 and U+2029 in the text; beside it when the text is JSON.
 */
const replyForm = z.strictObject({ ...REPLY, fault: z.literal('reply-form'), is: z.enum(REPLY_FORMS) })

/** There is no room in the flex tier: HTTP 429, and nothing is charged. Only direct calls that ask for that tier. */
const replyFlexRefused = z.strictObject({ ...REQUEST, fault: z.literal('reply-flex-refused') })

/** The request has failed in a batch before it got an HTTP status: `response` is null, `error` is this. */
const lineError = z.strictObject({
  ...LINE,
  fault: z.literal('line-error'),
  code: z.string(),
  message: z.string().default(MESSAGE),
})

export const LINE_FORMS = [
  'missing',
  'duplicated',
  'unknown-id',
  'stranger',
  'not-json',
  'blank',
  'crlf',
  'status-text',
  'both-files',
  'contradicted',
] as const
export type LineForm = (typeof LINE_FORMS)[number]

/** The line in the batch's output or error file is an unusual one:
 * - `missing`: it is not there. `duplicated`: it is there twice. `unknown-id`: its custom_id is one nobody sent.
 * - `stranger`: after it comes a line with such an id. `not-json`: it is cut in the middle.
 * - `blank`: an empty line and one of spaces come before it. `crlf`: it ends with CR LF.
 * - `status-text`: its status code is a text. `both-files`: it is in the other file too.
 * - `contradicted`: the other file says that the request was not executed before the batch expired.
 */
const lineForm = z.strictObject({ ...LINE, fault: z.literal('line-form'), is: z.enum(LINE_FORMS) })

export const replyFaultSchemas = [
  replyStatus,
  replyText,
  replyForm,
  replyFlexRefused,
  lineError,
  lineForm,
] as const

export type ReplyFault = z.output<(typeof replyFaultSchemas)[number]>
