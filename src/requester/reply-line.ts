import { crc32 } from 'node:zlib'
import type { DirectReply } from '../batch/remote-api.ts'
import type { RemoteError } from '../errors.ts'

/**
 * One line of a `_replies` segment: a result line as a batch has them, for a direct call, with a checksum at its end.
 * The body is the server's text as it came; text that is no JSON is kept as a JSON string.
 */
export function replyLine(customId: string, reply: DirectReply): string {
  const response = `{"status_code":${reply.status},"request_id":${JSON.stringify(reply.requestId ?? null)},"body":${bodyText(reply.text)}}`
  return checked(`{"custom_id":"${customId}","response":${response},"error":null`)
}

/** The same for a call whose answer never came: what is known of why. */
export function lostLine(customId: string, { code, message }: RemoteError): string {
  return checked(`{"custom_id":"${customId}","response":null,"error":${JSON.stringify({ code, message })}`)
}

const checked = (line: string): string => `${line},"crc":"${checksum(line)}"}`

const TAIL = /,"crc":"([0-9a-f]{8})"\}$/

/** Whether a line is whole, as `replyLine` made it. */
export function isWholeReplyLine(line: string): boolean {
  const match = TAIL.exec(line)
  return match !== null && checksum(line.slice(0, match.index)) === match[1]
}

const checksum = (text: string): string => crc32(text).toString(16).padStart(8, '0')

/** Line breaks in JSON text can only stand between tokens, so a space does as well. */
function bodyText(text: string): string {
  try {
    JSON.parse(text)
    return text.replace(/[\r\n]+\s*/g, ' ')
  } catch {
    // Not JSON (a proxy's error page, or nothing at all): kept for people to read.
    return JSON.stringify(text)
  }
}
