import type { CallEnd } from '../batch/direct-answer.ts'
import { classifyLine, parseResultLine } from '../batch/line-outcome.ts'
import type { DirectReply } from '../batch/remote-api.ts'
import type { Failure } from '../batch/reply.ts'
import { RemoteError } from '../errors.ts'
import type { Endpoint } from '../openai/wire.ts'
import { replyLine } from './reply-line.ts'

/** What became of a call, in the words of the plan. */
export const endOf = (endpoint: Endpoint, answer: DirectReply | RemoteError): CallEnd => {
  if (!(answer instanceof RemoteError)) return { kind: 'answered', failure: failureOf(endpoint, answer) }
  if (answer.acted === 'no') return { kind: 'unreachable' }
  return { kind: 'lost', timedOut: answer.code === 'timeout' }
}

/** Most answers are good ones: only others are looked into. */
function failureOf(endpoint: Endpoint, answer: DirectReply): Failure | undefined {
  if (answer.status < 300) return undefined
  const line = parseResultLine(replyLine('', answer))
  const outcome = line && classifyLine(line, endpoint)
  return outcome?.kind === 'failure' ? outcome.failure : undefined
}

/** An answer that says "not now" about the account or the server rather than anything about the request. */
export const pushback = (answer: DirectReply): RemoteError =>
  new RemoteError('not_now', `the server answered ${answer.status}: ${answer.text.slice(0, 300)}`, {
    status: answer.status,
    requestId: answer.requestId,
    retryAfterMs: answer.retryAfterMs,
    retryable: true,
  })

/** What a refused key throws, saying what to do. */
export const refusedKey = (answer: DirectReply | RemoteError): RemoteError => {
  if (answer instanceof RemoteError) return answer
  const { status, requestId, text } = answer
  const message = `the server refused the key (HTTP ${status}): ${text.slice(0, 300)}. Check OPENAI_API_KEY.`
  return new RemoteError('not_allowed', message, { status, requestId })
}
