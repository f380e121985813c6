import { hash } from 'node:crypto'
import type { Upstream } from '../../settings.ts'
import type { HeaderReader, ReplyHeaders } from '../reply.ts'

/** What of a call's headers the server gets. All others may be keys, or are about the caller's connection. */
const SENT = ['accept', 'content-type', 'content-length', 'openai-beta', 'x-client-request-id']

/** What of the server's headers the caller gets: not whose account it is, and what that still may. */
const GIVEN = new Set([
  ...['content-type', 'content-disposition', 'retry-after', 'x-request-id', 'x-should-retry'],
  ...['openai-version', 'openai-processing-ms', 'openai-model'],
])

export function headersToSend(
  header: HeaderReader,
  tenant: string,
  { apiKey, organization, project }: Upstream,
): Record<string, string> {
  const idempotencyKey = header('idempotency-key')
  const own = SENT.flatMap((name) => {
    const value = header(name)
    return value === undefined ? [] : [[name, value] as const]
  })
  return {
    ...Object.fromEntries(own),
    ...(idempotencyKey !== undefined && { 'idempotency-key': keyOf(tenant, idempotencyKey) }),
    authorization: `Bearer ${apiKey.reveal()}`,
    ...(organization !== undefined && { 'openai-organization': organization }),
    ...(project !== undefined && { 'openai-project': project }),
  }
}

/** All tenants are one account to the server: the same key of two of them must not be the same there. */
const keyOf = (tenant: string, idempotencyKey: string): string =>
  hash('sha256', JSON.stringify([tenant, idempotencyKey]), 'base64url')

export const headersToGive = (headers: Iterable<readonly [string, string]>): ReplyHeaders =>
  Object.fromEntries([...headers].filter(([name]) => GIVEN.has(name.toLowerCase())))
