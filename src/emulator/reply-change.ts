import { assertNever } from '../util/exhaustive.ts'
import type { EmulatedRequest } from './answers.ts'
import { envelope } from './envelopes.ts'
import { bodyText } from './fault-body.ts'
import { flexUnavailable } from './flex.ts'
import { asArray, asObject, asString, isObject, type JsonObject, parseJson } from './json.ts'
import { choiceCount } from './prompt.ts'
import { NO_USAGE, type Reply, replyOf } from './reply.ts'
import type { ReplyFault, ReplyForm } from './scenario-reply.ts'
import type { Draft } from './simulated-model.ts'

/** Status of an answer that never was: counted as completed, and in the error file. */
const NEVER = 0

interface Answered {
  readonly request: EmulatedRequest
  readonly reply: Reply
  readonly now: number
}

/** The reply as one fault makes it. */
export function changedReply(fault: ReplyFault, { request, reply, now }: Answered): Reply {
  switch (fault.fault) {
    case 'reply-status':
      return withStatus(fault, reply)
    case 'reply-text': {
      const draft: Draft = { kind: 'text', text: fault.text }
      const drafts = Array<Draft>(choiceCount(request.endpoint, request.body)).fill(draft)
      return replyOf(200, envelope(request, drafts, now))
    }
    case 'reply-form':
      return withForm(fault.is, reply)
    case 'reply-flex-refused':
      return flexUnavailable()
    case 'line-error':
      return { ...reply, lineError: { code: fault.code, message: fault.message } }
    case 'line-form':
      return { ...reply, marks: [...(reply.marks ?? []), fault.is] }
    default:
      return assertNever(fault)
  }
}

type FaultOf<Name extends ReplyFault['fault']> = Extract<ReplyFault, { fault: Name }>

function withStatus(fault: FaultOf<'reply-status'>, reply: Reply): Reply {
  const { value, text, type } = bodyText(fault)
  const changed = replyOf(fault.status, value)
  const headers = { 'content-type': type, ...fault.headers }
  const usage = fault.status === NEVER ? reply.usage : changed.usage
  return { ...reply, ...changed, usage, direct: { text, headers } }
}

const PAGE = '<!doctype html><html><body><h1>Please wait</h1></body></html>'

/** Replies that are no answers stay as they are, and so do those of an endpoint that knows no such form. */
function withForm(form: ReplyForm, reply: Reply): Reply {
  if (reply.status !== 200) return reply
  if (form === 'empty') return withDirect(reply, { text: '', type: 'application/json' })
  if (form === 'html') return withDirect(reply, { text: PAGE, type: 'text/html' })
  const body = parseJson(reply.text)
  return isObject(body) ? { ...reply, text: JSON.stringify(changedBody(form, body)) } : reply
}

const withDirect = (reply: Reply, { text, type }: { text: string; type: string }): Reply => ({
  ...reply,
  text: JSON.stringify(text),
  usage: text === '' ? reply.usage : NO_USAGE,
  direct: { text, headers: { 'content-type': type } },
})

function changedBody(form: Exclude<ReplyForm, 'empty' | 'html'>, body: JsonObject): JsonObject {
  const { usage, ...rest } = body
  switch (form) {
    case 'no-usage':
      return rest
    case 'null-usage':
      return { ...body, usage: null }
    case 'null-usage-details':
      return { ...body, usage: withoutDetails(asObject(usage)) }
    case 'no-choices':
      return withoutChoices(body)
    case 'refusal':
      return inMessages(body, REFUSAL)
    case 'cut':
      return { ...inMessages(body, CUT), ...(isResponse(body) && INCOMPLETE) }
    case 'line-separators':
      return { ...inMessages(body, SEPARATED), emulator_note: SEPARATORS }
    default:
      return assertNever(form)
  }
}

const withoutDetails = (usage: JsonObject): JsonObject =>
  Object.fromEntries(
    Object.entries(usage).map(([name, value]) => [name, name.endsWith('_details') ? null : value]),
  )

const isResponse = (body: JsonObject): boolean => Array.isArray(body.output)

function withoutChoices(body: JsonObject): JsonObject {
  const list = ['choices', 'output', 'data'].find((name) => Array.isArray(body[name]))
  return list === undefined ? body : { ...body, [list]: [] }
}

/** How a message of either endpoint is changed. */
interface MessageChange {
  readonly text: (text: string) => string
  /** Added to a choice, to the message in it, and in place of each part of a response's message. */
  readonly choice?: JsonObject
  readonly message?: JsonObject
  readonly part?: JsonObject
}

const SORRY = "I'm sorry, but I can't help with that."
const SEPARATORS = 'one\u2028two\u2029three'
const INCOMPLETE = { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }

const REFUSAL: MessageChange = {
  text: (text) => text,
  choice: { finish_reason: 'stop' },
  message: { content: null, refusal: SORRY },
  part: { type: 'refusal', refusal: SORRY },
}

const CUT: MessageChange = {
  text: (text) => text.slice(0, Math.floor(text.length / 2)),
  choice: { finish_reason: 'length' },
}

/** JSON has no place for them between its values, and inside of one they might break its schema. */
const SEPARATED: MessageChange = {
  text: (text) => (parseJson(text) === undefined ? text + SEPARATORS : text),
}

function inMessages(body: JsonObject, change: MessageChange): JsonObject {
  if (Array.isArray(body.choices)) {
    return { ...body, choices: body.choices.map((choice) => changedChoice(asObject(choice), change)) }
  }
  if (!isResponse(body)) return body
  return { ...body, output: asArray(body.output).map((item) => changedItem(asObject(item), change)) }
}

function changedChoice(choice: JsonObject, change: MessageChange): JsonObject {
  const message = asObject(choice.message)
  const content = asString(message.content)
  const text = content === undefined ? {} : { content: change.text(content) }
  return { ...choice, ...change.choice, message: { ...message, ...text, ...change.message } }
}

function changedItem(item: JsonObject, { text, part }: MessageChange): JsonObject {
  if (item.type !== 'message') return item
  const content = asArray(item.content).map((one) => {
    const old = asObject(one)
    return part ?? { ...old, text: text(asString(old.text) ?? '') }
  })
  return { ...item, content }
}
