import { crc32 } from 'node:zlib'
import type { Charge } from '../batch/line-outcome.ts'
import type { DirectReply } from '../batch/remote-api.ts'
import type { RemoteError } from '../errors.ts'

/**
 * A direct call's answer as a result line, as a batch has them. The body is the server's text as it came; text that is no JSON is kept as a JSON string.
 */
export function replyText(customId: string, reply: DirectReply): string {
  const response = `{"status_code":${reply.status},"request_id":${JSON.stringify(reply.requestId ?? null)},"body":${bodyText(reply.text)}}`
  return `{"custom_id":"${customId}","response":${response},"error":null}`
}

/** The same for a call whose answer never came: what is known of why. */
export function lostText(customId: string, { code, message }: RemoteError): string {
  return `{"custom_id":"${customId}","response":null,"error":${JSON.stringify({ code, message })}}`
}

/** One line of a `_replies` segment: a result line with what was charged for it, and a checksum at its end. */
export function sealedLine(text: string, { costNanoUsd, tier }: Charge): string {
  const charge = JSON.stringify({ nanoUsd: costNanoUsd ?? null, tier })
  const line = `${text.slice(0, -1)},"charge":${charge}`
  return `${line},"crc":"${checksum(line)}"}`
}

const TAIL = /,"crc":"([0-9a-f]{8})"\}$/

/** Whether a line is whole, as `sealedLine` made it. */
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
