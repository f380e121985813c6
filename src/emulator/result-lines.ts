import { batchRequestId } from './ids.ts'
import { asNumber, asObject, asString, parseJson } from './json.ts'
import { type Mark, markedLine, unmarked } from './line-marks.ts'
import { NO_USAGE, type Reply, replyOf, type Usage } from './reply.ts'

/** A line of an output or error file, without its line end. */
export interface ResultLine {
  /** 200: the line belongs in the output file, else in the error file. */
  readonly ok: boolean
  /** Whether the request is counted as completed. */
  readonly succeeded: boolean
  readonly text: string
  readonly usage: Usage
  /** Stands in the other file. */
  readonly copy?: string
}

const OK = 200
/** An answer that never was, and is counted as completed all the same. */
const NEVER = 0

/** The line of an answered request: an HTTP error has its `error` in the body, and null beside it. */
export function answeredLine(customId: string, reply: Reply): ResultLine {
  const { status, marks = [], usage } = reply
  const ok = status === OK && !reply.lineError
  const succeeded = ok || (status === NEVER && !reply.lineError)
  const plain = reply.lineError ? errorLine(customId, reply.lineError) : replyLine(customId, reply)
  if (marks.length === 0) return { ok, succeeded, text: plain, usage }
  const copy = copyOf(customId, plain, marks)
  return {
    ok,
    succeeded,
    text: markedLine(plain, marks),
    usage,
    ...(copy !== undefined && { copy: markedLine(copy, ['copy']) }),
  }
}

function replyLine(customId: string, { status, requestId, text }: Reply): string {
  const answer = `{"status_code":${status},"request_id":${JSON.stringify(requestId)},"body":${text}}`
  return `${lineHead(customId)},"response":${answer},"error":null}`
}

function copyOf(customId: string, line: string, marks: readonly Mark[]): string | undefined {
  if (marks.includes('both-files')) return line
  return marks.includes('contradicted') ? unexecutedLine(customId, 'expired') : undefined
}

const REASONS = {
  expired: {
    code: 'batch_expired',
    message: 'This request was not executed before the completion window of its batch was over.',
  },
  cancelled: {
    code: 'batch_cancelled',
    message: 'This request was not executed because its batch was cancelled.',
  },
}

/** The line of a request that was not executed. */
export const unexecutedLine = (customId: string, why: keyof typeof REASONS): string =>
  errorLine(customId, REASONS[why])

const errorLine = (customId: string, error: { readonly code: string; readonly message: string }): string =>
  `${lineHead(customId)},"response":null,"error":${JSON.stringify(error)}}`

const lineHead = (customId: string): string =>
  `{"id":"${batchRequestId()}","custom_id":${JSON.stringify(customId)}`

export interface StoredLine {
  readonly customId: string
  readonly usage: Usage
  readonly succeeded: boolean
  /** The line that counts is in the other file. */
  readonly isCopy: boolean
}

/** What a stored line says, or `undefined` when it is torn. */
export function readLine(text: string): StoredLine | undefined {
  const line = asObject(parseJson(text))
  const customId = asString(line.custom_id)
  if (customId === undefined) return undefined
  const { status_code: status, body } = asObject(line.response)
  return {
    customId,
    usage: status === undefined ? NO_USAGE : replyOf(OK, body).usage,
    succeeded: asNumber(status) === OK || status === NEVER,
    isCopy: text.endsWith(COPY_END) && unmarked(text).marks.includes('copy'),
  }
}

const COPY_END = '"copy"]}'
