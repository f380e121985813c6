import { batchRequestId } from './ids.ts'
import { asObject, asString, parseJson } from './json.ts'
import { type Reply, replyOf, type Usage } from './reply.ts'

/** A line of an output or error file, without its line end. */
export interface ResultLine {
  /** 200: the line belongs in the output file, else in the error file. */
  readonly ok: boolean
  readonly text: string
  readonly usage: Usage
}

const OK = 200

/** The line of an answered request: an HTTP error has its `error` in the body, and null beside it. */
export function answeredLine(customId: string, reply: Reply): ResultLine {
  const head = lineHead(customId)
  const answer = `{"status_code":${reply.status},"request_id":${JSON.stringify(reply.requestId)},"body":${reply.text}}`
  return { ok: reply.status === OK, text: `${head},"response":${answer},"error":null}`, usage: reply.usage }
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
  `${lineHead(customId)},"response":null,"error":${JSON.stringify(REASONS[why])}}`

const lineHead = (customId: string): string =>
  `{"id":"${batchRequestId()}","custom_id":${JSON.stringify(customId)}`

/** What a stored line says, or `undefined` when it is torn. */
export function readLine(text: string): { readonly customId: string; readonly usage: Usage } | undefined {
  const line = asObject(parseJson(text))
  const customId = asString(line.custom_id)
  if (customId === undefined) return undefined
  return { customId, usage: replyOf(OK, asObject(line.response).body).usage }
}
