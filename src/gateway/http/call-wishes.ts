import { MODES, type Mode, PRIORITIES, type Priority } from '../domain/request.ts'
import { HttpError } from './http-error.ts'
import type { HeaderReader } from './reply.ts'
import type { Patience } from './waiting/hold.ts'

/** What a caller asks for beside its body, in headers. */
export interface CallWishes extends Patience {
  readonly mode: Mode
  /** The words of `Prefer` that are followed, for `Preference-Applied`. */
  readonly applied: string | undefined
  readonly idempotencyKey: string | undefined
  readonly deadlineAt: number | undefined
  readonly priority: Priority
  readonly maxNanoUsd: number | undefined
  /** As it was given: whether the server sends webhooks, and there, is for others to say. */
  readonly webhook: string | undefined
  /** A stored answer of this age at most serves, in milliseconds; 0: none does. */
  readonly cacheMs: number
}

export interface WishFacts {
  readonly nowMs: number
  /** How callers wait who do not say. */
  readonly mode: Mode
  readonly cacheMs: number
}

/** Reads the headers of a call. Throws `HttpError` (400) for one that cannot be meant. */
export function readWishes(header: HeaderReader, facts: WishFacts): CallWishes {
  const preferred = header('prefer')
  const preference = preferred === undefined ? NO_PREFERENCE : readPreference(preferred)
  const mode = oneOf(MODES, 'X-Nightshift-Mode', header('x-nightshift-mode'))
  const priority = oneOf(PRIORITIES, 'X-Nightshift-Priority', header('x-nightshift-priority'))
  return {
    mode: mode ?? preference.mode ?? facts.mode,
    applied: mode === undefined ? preference.applied : undefined,
    timeoutMs: clientTimeoutMs(header),
    waitMs: mode === undefined ? preference.waitMs : undefined,
    idempotencyKey: idempotencyKey(header('idempotency-key')),
    deadlineAt: deadline(header('x-nightshift-deadline'), facts.nowMs),
    priority: priority ?? 'normal',
    maxNanoUsd: maxCost(header('x-nightshift-max-cost')),
    webhook: header('x-nightshift-webhook'),
    cacheMs: cacheAge(header('cache-control'), facts.cacheMs),
  }
}

const bad = (name: string, given: string, expected: string): HttpError =>
  new HttpError(
    400,
    'invalid_header',
    `Invalid header '${name}': expected ${expected}, but got '${shown(given)}'.`,
    {
      param: name.toLowerCase(),
    },
  )

const shown = (text: string): string => (text.length > 100 ? `${text.slice(0, 100)}...` : text)

function oneOf<Word extends string>(
  words: readonly Word[],
  name: string,
  given: string | undefined,
): Word | undefined {
  if (given === undefined) return undefined
  const word = given.trim().toLowerCase()
  const known = words.find((one) => one === word)
  if (known === undefined) throw bad(name, given, `one of ${words.join(', ')}`)
  return known
}

interface Preference {
  readonly mode: Mode | undefined
  readonly waitMs: number | undefined
  readonly applied: string | undefined
}

const NO_PREFERENCE: Preference = { mode: undefined, waitMs: undefined, applied: undefined }

/** RFC 7240: what is not understood of it is passed over. */
function readPreference(text: string): Preference {
  const applied: string[] = []
  let waitMs: number | undefined
  let mode: Mode | undefined
  for (const part of text.toLowerCase().split(',')) {
    const [name = '', value = ''] = (part.split(';')[0] ?? '').split('=').map((word) => word.trim())
    const seconds = /^"?(\d{1,9})"?$/.exec(value)?.[1]
    if (name === 'respond-async') mode = 'async'
    else if (name === 'wait' && seconds !== undefined) waitMs = Number(seconds) * 1000
    else continue
    applied.push(name === 'wait' ? `wait=${seconds}` : name)
  }
  if (waitMs !== undefined) mode ??= 'sync'
  return { mode, waitMs, applied: applied.length > 0 ? applied.join(', ') : undefined }
}

/** SDKs say in whole seconds, cut, or with a fraction, how long they wait. */
function clientTimeoutMs(header: HeaderReader): number | undefined {
  const text = header('x-stainless-read-timeout') ?? header('x-stainless-timeout')
  if (text === undefined || !/^\d+(\.\d+)?$/.test(text)) return undefined
  return Number(text) * 1000
}

const MOST_KEY_LENGTH = 255

function idempotencyKey(given: string | undefined): string | undefined {
  if (given === undefined || (/^[\x20-\x7e]+$/.test(given) && given.length <= MOST_KEY_LENGTH)) return given
  throw new HttpError(
    400,
    'invalid_header',
    `Invalid header 'Idempotency-Key': expected 1 to ${MOST_KEY_LENGTH} printable ASCII characters.`,
    { param: 'idempotency-key' },
  )
}

const YEAR_MS = 365 * 24 * 3_600_000

/** Seconds from now, or a time with its zone. */
function deadline(given: string | undefined, nowMs: number): number | undefined {
  if (given === undefined) return undefined
  const text = given.trim()
  const at = /^\d+(\.\d+)?$/.test(text) ? nowMs + Number(text) * 1000 : isoTime(text)
  const expected = 'a time to come, as seconds from now or in ISO form with its zone (2026-01-31T08:00:00Z)'
  if (at === undefined || at <= nowMs || at > nowMs + YEAR_MS)
    throw bad('X-Nightshift-Deadline', given, expected)
  return Math.round(at)
}

/** Without a zone a time would mean another one on another machine. */
function isoTime(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)$/.test(text)) return undefined
  const at = Date.parse(text)
  return Number.isNaN(at) ? undefined : at
}

const NANO = 1e9
const MOST_USD = 1e6

function maxCost(given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  const text = given.trim()
  const amount = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (!(amount > 0 && amount <= MOST_USD))
    throw bad('X-Nightshift-Max-Cost', given, 'an amount in USD above 0')
  return Math.floor(amount * NANO)
}

/** `no-cache` and `no-store` want a new answer, `max-age` one that is no older. */
function cacheAge(given: string | undefined, cacheMs: number): number {
  if (given === undefined) return cacheMs
  const words = given.toLowerCase()
  if (/\bno-(cache|store)\b/.test(words)) return 0
  const seconds = /\bmax-age\s*=\s*"?(\d{1,10})/.exec(words)?.[1]
  return seconds === undefined ? cacheMs : Math.min(cacheMs, Number(seconds) * 1000)
}
