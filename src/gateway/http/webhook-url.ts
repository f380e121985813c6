import { isIP } from 'node:net'
import type { AddressCheck } from '../engine/webhooks-address.ts'
import { HttpError } from './http-error.ts'

export interface WebhookRules {
  /** The server has a secret to sign them with. */
  readonly isOffered: boolean
  /** Which addresses may be called; undefined: all, since only programs of this machine can ask for it. */
  readonly isPublic: AddressCheck | undefined
}

const MOST_LENGTH = 2048

/**
 * Throws `HttpError` (400) for a webhook that is not sent. Names are looked at as they are written; what they point to
 * is looked at when it is called.
 */
export function checkWebhook(given: string, { isOffered, isPublic }: WebhookRules): void {
  if (!isOffered)
    throw bad(
      'this server sends none: it has no webhook secret. Leave the header out, and ask for /v1/requests/{id}',
    )
  const url = given.length <= MOST_LENGTH ? URL.parse(given) : null
  if (!url || !/^https?:$/.test(url.protocol))
    throw bad(`expected an http or https URL of at most ${MOST_LENGTH} characters`)
  if (url.username !== '' || url.password !== '') throw bad('a user or password in the URL is not taken')
  if (isPublic && isPrivateHost(url.hostname, isPublic))
    throw bad('its host is on a private network, which is not called')
}

const bad = (why: string): HttpError =>
  new HttpError(400, 'invalid_webhook', `Invalid header 'X-Nightshift-Webhook': ${why}.`, {
    param: 'x-nightshift-webhook',
  })

/** Names that lead nowhere but into a network of one's own. */
const PRIVATE_NAME = /(^|\.)(localhost|local|internal|intranet|lan|home|corp|home\.arpa)$/

/** `hostname`: of a `URL`, which has brought all ways to write an address into one. */
function isPrivateHost(hostname: string, isPublic: AddressCheck): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  if (isIP(host) !== 0) return !isPublic(host)
  return !host.includes('.') || PRIVATE_NAME.test(host)
}
