import { createHmac } from 'node:crypto'

const PREFIX = 'whsec_'

/** What is signed: an id that stays the same on every try, when it is sent, and the body as it goes out. */
export interface SignedMessage {
  readonly id: string
  /** Seconds since 1970. */
  readonly timestamp: number
  readonly body: string
}

/**
 * The headers by which a receiver knows that a webhook is real and fresh, in the form of Standard Webhooks: whoever has
 * the secret can check them with any of its libraries, or with `client.webhooks.unwrap` of the `openai` package.
 * `secret`: `whsec_` and base64, or any other text, whose bytes are the key then.
 */
export function webhookHeaders(
  secret: string,
  { id, timestamp, body }: SignedMessage,
): Readonly<Record<string, string>> {
  const signature = createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.${body}`).digest('base64')
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': `v1,${signature}`,
  }
}

const keyOf = (secret: string): Buffer =>
  secret.startsWith(PREFIX) ? Buffer.from(secret.slice(PREFIX.length), 'base64') : Buffer.from(secret, 'utf8')
