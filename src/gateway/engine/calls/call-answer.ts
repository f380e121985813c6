import type { CallEnd } from '../../../batch/direct-answer.ts'
import { classifyLine, type LineOutcome } from '../../../batch/line-outcome.ts'
import type { DirectReply } from '../../../batch/remote-api.ts'
import type { Failure } from '../../../batch/reply.ts'
import type { RemoteError } from '../../../errors.ts'
import type { Endpoint } from '../../../openai/wire.ts'
import { parsedJson } from '../../../util/parsed-json.ts'
import { failureAnswer } from '../../answers/result-slice.ts'
import type { Ending } from '../../domain/request.ts'

/** What came of one call: the server's answer, or why there is none. */
export type CallAnswer =
  | { readonly kind: 'answered'; readonly reply: DirectReply; readonly outcome: LineOutcome }
  | { readonly kind: 'none'; readonly error: RemoteError }

export const answeredWith = (endpoint: Endpoint, reply: DirectReply): CallAnswer => ({
  kind: 'answered',
  reply,
  outcome: classifyLine(
    {
      custom_id: '',
      response: {
        status_code: reply.status,
        request_id: reply.requestId ?? null,
        body: parsedJson(reply.text) ?? reply.text,
      },
      error: null,
    },
    endpoint,
  ),
})

/** In the words of the plan. */
export function endOf(answer: CallAnswer): CallEnd {
  if (answer.kind === 'answered') return { kind: 'answered', failure: failureOf(answer) }
  const { acted, code } = answer.error
  return acted === 'no' ? { kind: 'unreachable' } : { kind: 'lost', timedOut: code === 'timeout' }
}

export const failureOf = (answer: CallAnswer): Failure | undefined =>
  answer.kind === 'answered' && answer.outcome.kind === 'failure' ? answer.outcome.failure : undefined

export const retryAfterMsOf = (answer: CallAnswer): number | undefined =>
  answer.kind === 'answered' ? answer.reply.retryAfterMs : answer.error.retryAfterMs

/** What the caller gets when this is the end of it. */
export interface LastWord {
  readonly ending: Extract<Ending, 'succeeded' | 'failed'>
  readonly status: number
  /** JSON text, as the server wrote it where it did. */
  readonly body: string
  readonly requestId: string | undefined
}

export function lastWord(answer: CallAnswer): LastWord {
  if (answer.kind === 'none')
    return { ending: 'failed', ...failureAnswer(lostFailure(answer.error)), requestId: undefined }
  const { reply, outcome } = answer
  const { requestId, text, status } = reply
  if (outcome.kind === 'reply') return { ending: 'succeeded', status: 200, body: text, requestId }
  return { ending: 'failed', ...failureAnswer(saidOf(outcome.failure, status), rawObject(text)), requestId }
}

/** A redirect is not followed, and says nothing of the request. */
const saidOf = (failure: Failure, status: number): Failure =>
  status >= 300 && status < 400 ? { ...failure, code: 'bad_reply', retryable: true } : failure

const rawObject = (text: string): string | undefined => {
  const value = parsedJson(text)
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? text : undefined
}

/** Not with the words of the error: they name addresses of the server's side. */
const lostFailure = ({ code }: RemoteError): Failure => ({
  code: code === 'timeout' ? 'timeout' : 'connection_lost',
  status: code === 'timeout' ? 504 : 502,
  message:
    code === 'timeout'
      ? 'The server that does the work did not answer in time. Whether it carried the request out is unknown.'
      : 'The connection to the server that does the work was lost before the answer came. Whether it carried the request out is unknown.',
  retryable: true,
  countsAsAttempt: true,
})
