import type { CallEnd } from '../batch/direct-answer.ts'
import { classifyLine, type LineOutcome, parseResultLine } from '../batch/line-outcome.ts'
import type { DirectReply } from '../batch/remote-api.ts'
import { NightshiftError, RemoteError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import { lostText, replyText } from './reply-line.ts'

const SHOWN_TEXT = 300

/** What came of one call: an answer, or in its stead why there is none. */
export interface Answer {
  readonly reply: DirectReply | RemoteError
  /** As a result line, without its line break. */
  readonly text: string
  readonly outcome: LineOutcome
}

export function answerOf(endpoint: Endpoint, customId: string, reply: DirectReply | RemoteError): Answer {
  const text = reply instanceof RemoteError ? lostText(customId, reply) : replyText(customId, reply)
  const result = parseResultLine(text)
  if (result) return { reply, text, outcome: classifyLine(result, endpoint) }
  const message = `cannot read back the reply line of ${customId}: ${text.slice(0, 200)}`
  throw new NightshiftError('reply_line', message)
}

/** What became of a call, in the words of the plan. */
export const endOf = ({ reply, outcome }: Answer): CallEnd => {
  if (!(reply instanceof RemoteError))
    return { kind: 'answered', failure: outcome.kind === 'failure' ? outcome.failure : undefined }
  if (reply.acted === 'no') return { kind: 'unreachable' }
  return { kind: 'lost', timedOut: reply.code === 'timeout' }
}

/** An answer that says "not now" about the account or the server rather than anything about the request. */
export function pushback({ reply, outcome }: Answer): RemoteError {
  if (reply instanceof RemoteError) return reply
  const { status, requestId, retryAfterMs } = reply
  const said = outcome.kind === 'failure' ? `, ${outcome.failure.code}: ${outcome.failure.message}` : ''
  const message = `the server answered with HTTP ${status}${said.slice(0, SHOWN_TEXT)}`
  return new RemoteError('not_now', message, { status, requestId, retryAfterMs, retryable: true })
}

/** What a refused key throws, saying what to do. */
export function refusedKey({ reply, outcome }: Answer): RemoteError {
  if (reply instanceof RemoteError) return reply
  const { status, requestId, text } = reply
  const said = outcome.kind === 'failure' ? outcome.failure.message : text
  const message = `the server refused the key (HTTP ${status}): ${said.slice(0, SHOWN_TEXT)}. Check OPENAI_API_KEY.`
  return new RemoteError('not_allowed', message, { status, requestId })
}
