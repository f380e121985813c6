import type { Endpoint } from '../../../openai/wire.ts'
import { chatEvents } from '../../answers/chat-events.ts'
import { errorEvent } from '../../answers/error-events.ts'
import { responsesEvents } from '../../answers/responses-events.ts'
import { openaiErrorText } from '../../body/openai-error.ts'
import type { StoredAnswer } from '../../domain/request.ts'
import { comeBack } from '../http-error.ts'
import { JSON_TYPE, jsonReply, type Reply, type ReplyHeaders } from '../reply.ts'
import { ageOf } from '../request-id.ts'
import { retryAfterSeconds } from '../waiting/hold.ts'

/** How an answer is to be given. */
export interface Form {
  readonly endpoint: Endpoint
  readonly isStreamed: boolean
  readonly includeUsage: boolean
  /** Headers that every answer to the call has. */
  readonly headers: ReplyHeaders
}

/** An answer that was stored, as it goes out whole: as the server gave it, with its status. */
export function answerReply(answer: StoredAnswer, { headers }: Form, isCached: boolean): Reply {
  return {
    status: answer.status,
    body: answer.body,
    headers: {
      'content-type': JSON_TYPE,
      ...headers,
      ...answerHeaders(answer, isCached),
      ...retryHeaders(answer),
    },
  }
}

export function answerHeaders(
  { id, requestId, route, batchId }: StoredAnswer,
  isCached: boolean,
): ReplyHeaders {
  return {
    'x-request-id': isHeaderText(requestId) ? requestId : id,
    'x-nightshift-request-id': id,
    'x-nightshift-route': isCached ? 'cache' : route,
    ...(isHeaderText(batchId) && { 'x-nightshift-batch-id': batchId }),
  }
}

/** Ids are the server's words: some would break the headers that they stand in. */
const isHeaderText = (text: string | undefined): text is string =>
  text !== undefined && /^[\x21-\x7e]{1,200}$/.test(text)

/** A failure was tried as often as it may be: a client that tries again on its own would begin all that anew. */
const retryHeaders = ({ status }: StoredAnswer): ReplyHeaders =>
  status < 400 ? {} : { 'x-should-retry': 'false' }

export const isSuccess = ({ status }: StoredAnswer): boolean => status >= 200 && status < 300

/** The events of an answer, in the order in which a stream of its endpoint has them. */
export function answerEvents(answer: StoredAnswer, { endpoint, includeUsage }: Form): Iterable<string> {
  if (!isSuccess(answer)) return [errorEvent(endpoint, answer)]
  return endpoint === '/v1/responses'
    ? responsesEvents(answer.body)
    : chatEvents(answer.body, { includeUsage })
}

export const ownHeaders = (id: string): ReplyHeaders => ({
  'x-request-id': id,
  'x-nightshift-request-id': id,
})

/** It is not there yet. `returns`: SDKs come back on their own; otherwise the caller hears it at once. */
export function pendingReply(
  id: string,
  { headers }: Form,
  { nowMs, returns }: { readonly nowMs: number; readonly returns: boolean },
): Reply {
  const seconds = retryAfterSeconds(ageOf(id, nowMs))
  const message = `The request ${id} is on record and not answered yet. Send the same request again, or ask for /v1/requests/${id}.`
  return jsonReply(422, openaiErrorText({ status: 422, code: 'request_pending', message }), {
    ...headers,
    ...ownHeaders(id),
    ...comeBack(seconds),
    'x-should-retry': String(returns),
  })
}

/** The call is on record, and its caller does not wait. */
export function queuedReply(id: string, location: string, { headers }: Form): Reply {
  const body = JSON.stringify({ id, object: 'request', status: 'queued', location })
  return jsonReply(202, body, { ...headers, ...ownHeaders(id), location })
}

const CLOSING_SECONDS = 2

export const CLOSING_TEXT =
  'The gateway is stopping. The request is on record: send the same request again, and it goes on where it is.'

export function closingReply(id: string, { headers }: Form): Reply {
  const text = openaiErrorText({ status: 503, code: 'gateway_stopping', message: CLOSING_TEXT })
  return jsonReply(503, text, { ...headers, ...ownHeaders(id), ...comeBack(CLOSING_SECONDS) })
}
