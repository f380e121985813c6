import { type LookupAddress, lookup as lookupName } from 'node:dns'
import http, { type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import https from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { errorText } from '../../errors.ts'
import { publicAddresses } from './webhooks-address.ts'
import type { WebhookEnd } from './webhooks-retry.ts'

export interface WebhookMessage {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Sends one message, once. Never rejects. */
export type WebhookPost = (message: WebhookMessage, signal?: AbortSignal) => Promise<WebhookEnd>

export interface WebhookPostOptions {
  /** Addresses of private networks and of this machine may be called: nobody from outside can name them. */
  readonly allowsPrivate: boolean
  /** For all of it, in milliseconds. Default: 15 seconds. */
  readonly timeoutMs?: number | undefined
  /** Default: the system's. */
  readonly lookup?: Lookup | undefined
}

/** All addresses of a name. */
export type Lookup = (
  hostname: string,
  done: (error: Error | null, addresses: readonly LookupAddress[]) => void,
) => void

const TIMEOUT_MS = 15_000
/** Of an answer's body so much is taken, so that small ones end in good order. */
const MOST_READ_BYTES = 16_384

/** An address was not called because nobody may. */
class ForbiddenAddress extends Error {
  override readonly name = 'ForbiddenAddress'
}

/**
 * Posts webhooks. A name is looked up once, and what it stands for is checked right there: by the time it is called a
 * name that was harmless before may lead into the server's own network. Every call has a connection of its own.
 */
export function createWebhookPost(options: WebhookPostOptions): WebhookPost {
  const { allowsPrivate, timeoutMs = TIMEOUT_MS, lookup = systemLookup } = options
  const isPublic = publicAddresses()
  const isAllowed = (address: string): boolean => allowsPrivate || isPublic(address)
  return (message, signal) => {
    const url = new URL(message.url)
    const host = url.hostname.replace(/^\[|\]$/g, '')
    // No name: nothing will be looked up.
    if (isIP(host) !== 0 && !isAllowed(host)) return Promise.resolve(forbidden(host))
    return post(url, message, { timeoutMs, signal, lookup: checkedLookup(lookup, isAllowed) })
  }
}

const systemLookup: Lookup = (hostname, done) =>
  lookupName(hostname, { all: true }, (error, addresses) => done(error, addresses ?? []))

const forbidden = (address: string): WebhookEnd => ({
  kind: 'forbidden',
  reason: `its address ${address} is of a private network, which is not called`,
})

/** Gives only addresses that may be called; none when one of them may not: who owns such a name is up to something. */
const checkedLookup =
  (lookup: Lookup, isAllowed: (address: string) => boolean): LookupFunction =>
  (hostname, options, callback) => {
    lookup(hostname, (error, addresses) => {
      const [first] = addresses
      const bad = addresses.find(({ address }) => !isAllowed(address))
      if (error || !first) return callback(error ?? new Error(`${hostname} has no address`), '', 0)
      if (bad) return callback(new ForbiddenAddress(bad.address), '', 0)
      if (options.all) return callback(null, [...addresses])
      return callback(null, first.address, first.family)
    })
  }

interface PostOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  readonly lookup: LookupFunction
}

function post(url: URL, { headers, body }: WebhookMessage, options: PostOptions): Promise<WebhookEnd> {
  const bytes = Buffer.from(body)
  const request: RequestOptions = {
    method: 'POST',
    agent: false,
    lookup: options.lookup,
    headers: {
      ...headers,
      'content-type': 'application/json',
      'content-length': bytes.byteLength,
      'user-agent': 'nightshift-gateway',
      connection: 'close',
    },
  }
  const { promise, resolve } = Promise.withResolvers<WebhookEnd>()
  const { send } = url.protocol === 'https:' ? { send: https.request } : { send: http.request }
  let receipt: WebhookEnd | undefined
  const sent = send(url, request, (response) => {
    receipt = { kind: 'answered', status: response.statusCode ?? 0 }
    readToEnd(response, () => sent.destroy())
  })
  const stop = stopping(sent, options)
  sent.on('error', (error) => resolve(receipt ?? endOf(error)))
  // One that is answered with another protocol (101) ends with nothing else.
  sent.on('close', () => resolve(receipt ?? { kind: 'unanswered', reason: 'it ended without an answer' }))
  sent.end(bytes)
  return promise.finally(() => {
    stop()
    sent.destroy()
  })
}

/** Breaks the call off when its time is up, or when nobody wants it any more. */
function stopping(sent: ClientRequest, { timeoutMs, signal }: PostOptions): () => void {
  const timer = setTimeout(() => sent.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  const onAbort = (): void => {
    sent.destroy(new Error('the gateway was stopped'))
  }
  if (signal?.aborted) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })
  return () => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

/** The status is all that counts; what else is said is read for the sake of good order, and not for long. */
function readToEnd(response: IncomingMessage, breakOff: () => void): void {
  let read = 0
  response.on('data', (piece: Buffer) => {
    read += piece.byteLength
    if (read > MOST_READ_BYTES) breakOff()
  })
  // How it ends is heard of by its call.
  response.on('error', () => undefined)
}

const endOf = (error: Error): WebhookEnd =>
  error instanceof ForbiddenAddress
    ? forbidden(error.message)
    : { kind: 'unanswered', reason: errorText(error) }
