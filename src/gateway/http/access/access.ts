import { hash, timingSafeEqual } from 'node:crypto'
import type { Clock } from '../../../util/clock.ts'
import { DEFAULT_TENANT, type Tenant } from '../../domain/tenant.ts'
import type { Log } from '../../log.ts'
import type { Access } from '../../settings.ts'
import { HttpError } from '../http-error.ts'
import type { HeaderReader } from '../reply.ts'
import { KeyBook, type KeySource } from './key-book.ts'
import { Rates } from './rates.ts'

/** Who calls. */
export interface Caller {
  readonly tenant: string
  /** It has the gateway's own key, or none is asked for: it may do what concerns all tenants. */
  readonly isOperator: boolean
  /** It may see what is of all tenants: where there is an operator, that one alone. */
  readonly seesAll: boolean
  /** What its tenant may; undefined: it has no limits. */
  readonly limits: Tenant | undefined
}

export interface AccessParts {
  readonly access: Access
  readonly source: KeySource
  readonly clock: Clock
  readonly log: Log
}

/** Decides who calls, and how often. */
export class Gate {
  readonly #access: Access
  readonly #book: KeyBook
  readonly #rates: Rates
  readonly #ownHash: Uint8Array | undefined

  constructor({ access, source, clock, log }: AccessParts) {
    this.#access = access
    this.#book = new KeyBook(source, { clock, log })
    this.#rates = new Rates(clock)
    const own = access.kind === 'keys' ? access.key?.reveal() : undefined
    this.#ownHash = own === undefined ? undefined : hash('sha256', own, 'buffer')
  }

  /** Throws `HttpError`: 401 for who has no key that holds, 403 for a web page that is not of this machine. */
  async enter(header: HeaderReader): Promise<Caller> {
    const { tenant, isOperator } = await this.#identify(header)
    const seesAll = isOperator || this.#ownHash === undefined
    return { tenant, isOperator, seesAll, limits: await this.#book.tenant(tenant) }
  }

  /** Counts a call of its tenant. Gives headers that tell of the limit. Throws `HttpError` (429). */
  count({ tenant, limits }: Caller): Readonly<Record<string, string>> {
    return this.#rates.count(tenant, limits?.callsPerMinute)
  }

  async #identify(header: HeaderReader): Promise<Pick<Caller, 'tenant' | 'isOperator'>> {
    if (this.#access.kind === 'open') {
      if (this.#access.why === 'loopback') refuseWebPages(header)
      return OPERATOR
    }
    const key = bearerOf(header('authorization'))
    const digest = hash('sha256', key, 'buffer')
    if (this.#ownHash && timingSafeEqual(digest, this.#ownHash)) return OPERATOR
    const known = await this.#book.key(digest.toString('base64url'))
    if (known) return { tenant: known.tenant, isOperator: false }
    throw unauthorized('invalid_api_key', 'Incorrect API key provided. Use a key of this gateway.')
  }
}

const OPERATOR = { tenant: DEFAULT_TENANT, isOperator: true }

function bearerOf(header: string | undefined): string {
  if (header === undefined) {
    const message = "You didn't provide an API key: send it as 'Authorization: Bearer YOUR_KEY'."
    throw unauthorized('missing_api_key', message)
  }
  const key = /^Bearer +(\S+) *$/i.exec(header)?.[1]
  if (key === undefined)
    throw unauthorized('invalid_api_key', "The header 'Authorization' must be 'Bearer YOUR_KEY'.")
  return key
}

const unauthorized = (code: string, message: string): HttpError =>
  new HttpError(401, code, message, { headers: { 'www-authenticate': 'Bearer' } })

/**
 * Where anybody on this machine may call, any web page that its browser shows could: by its own address, or by a name
 * that it lets point here. Browsers say where a page is from; programs say nothing, or this machine.
 */
function refuseWebPages(header: HeaderReader): void {
  const origin = header('origin')
  const host = header('host')
  const isOwn =
    (origin === undefined || isLocalOrigin(origin)) && (host === undefined || LOCAL_HOST.test(host))
  // Of what a page only shows, such as a picture, no origin is said.
  if (isOwn && header('sec-fetch-site') !== 'cross-site') return
  const message =
    'Without a key, only this machine is served, under its own name (localhost). Set a key to serve others.'
  throw new HttpError(403, 'not_this_machine', message)
}

const LOCAL_HOST = /^(([\w-]+\.)*localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/i

const isLocalOrigin = (origin: string): boolean => LOCAL_HOST.test(origin.replace(/^https?:\/\//i, ''))
