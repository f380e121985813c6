import type { Clock } from '../../../util/clock.ts'
import { HttpError } from '../http-error.ts'
import { type Bucket, type Draw, draw } from './token-bucket.ts'

type Headers = Readonly<Record<string, string>>

const NONE: Headers = {}

/** Calls a minute of each tenant that has a limit, as this process has seen them. */
export class Rates {
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts a call. Gives the headers that tell of the limit. Throws `HttpError` (429) when it is used up. */
  count(tenant: string, perMinute: number | undefined): Headers {
    if (perMinute === undefined) return NONE
    const drawn = draw(this.#buckets.get(tenant), perMinute, this.#clock.now())
    this.#buckets.set(tenant, drawn.bucket)
    const headers = limitHeaders(perMinute, drawn)
    if (drawn.allowed) return headers
    const seconds = Math.max(1, Math.ceil(drawn.waitMs / 1000))
    const message = `Rate limit reached: ${perMinute} calls a minute are allowed. Try again in ${seconds} s.`
    throw new HttpError(429, 'rate_limit_exceeded', message, {
      headers: { ...headers, 'retry-after': String(Math.min(60, seconds)) },
    })
  }
}

const limitHeaders = (perMinute: number, { remaining, fullMs }: Draw): Headers => ({
  'x-ratelimit-limit-requests': String(perMinute),
  'x-ratelimit-remaining-requests': String(remaining),
  'x-ratelimit-reset-requests': `${(fullMs / 1000).toFixed(3)}s`,
})
