import { type DestinationStream, destination, pino, stdTimeFunctions } from 'pino'
import type { Log, LogFields } from '../gateway/log.ts'
import type { Secret } from '../util/secret.ts'

export interface GatewayLogOptions {
  readonly level: 'info' | 'warn' | 'error' | 'silent'
  /** Texts that are never written, wherever they turn up. */
  readonly secrets: readonly (Secret | undefined)[]
  /** Default: standard error. */
  readonly to?: DestinationStream | undefined
}

export interface GatewayLog extends Log {
  /** Writes what is held back; to be called before the process ends. Never throws. */
  flush(): void
}

/** Fields that nobody writes on purpose, should they come along with something. */
const REDACTED = [
  'authorization',
  'cookie',
  'headers',
  'key',
  'apiKey',
  'api_key',
  'token',
  'secret',
  'password',
  'body',
  'answer',
  'messages',
  'input',
] as const

const STANDARD_ERROR = 2

/** A log of one JSON object a line: `level`, `time`, `event` and the fields of the event. */
export function openGatewayLog({ level, secrets, to }: GatewayLogOptions): GatewayLog {
  const stream = to ?? standardError()
  const logger = pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: [...REDACTED], censor: '[secret]' },
    },
    stream,
  )
  const clean = cleaner(secrets.flatMap((secret) => (secret ? [secret.reveal()] : [])))
  return {
    info: (event, fields) => logger.info({ event, ...clean(fields) }),
    warn: (event, fields) => logger.warn({ event, ...clean(fields) }),
    error: (event, fields) => logger.error({ event, ...clean(fields) }),
    flush: () => flush(stream),
  }
}

/** Written behind the program's back: a log must not hold up calls. */
function standardError(): DestinationStream {
  const stream = destination({ dest: STANDARD_ERROR, sync: false })
  // Whoever read it has gone: there is nobody left to tell.
  stream.on('error', () => undefined)
  return stream
}

function flush(stream: DestinationStream): void {
  if (!('flushSync' in stream) || typeof stream.flushSync !== 'function') return
  try {
    stream.flushSync()
  } catch {
    // Its reader has gone, or it was never opened: nothing is held back then.
  }
}

/** Keys of OpenAI and of this gateway, what stands after `Bearer`, and who logs in in a URL. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/\b(sk-|ns_|whsec_)[\w-]{6,}/g, '$1…'],
  [/\b(bearer)\s+\S+/gi, '$1 …'],
  [/:\/\/[^/\s@]+@/g, '://…@'],
]

/** Shorter ones, as they are used for trials, are parts of ordinary words. */
const SHORTEST_SECRET = 8

function patternOf(secret: string): RegExp {
  const literal = secret.replaceAll(/[^\w\s]/g, '\\$&')
  return new RegExp(secret.length < SHORTEST_SECRET ? `(?<!\\w)${literal}(?!\\w)` : literal, 'g')
}

function cleaner(secrets: readonly string[]): (fields: LogFields | undefined) => LogFields {
  // One may begin with another, whose mark would leave the rest of it to be read.
  const longestFirst = secrets.toSorted((one, other) => other.length - one.length)
  const patterns = longestFirst.map(patternOf)
  // A line for each call has several texts, and hardly one of them anything to hide: that is seen at one look.
  const any = new RegExp(
    [...patterns, ...PATTERNS.map(([pattern]) => pattern)].map(({ source }) => source).join('|'),
    'i',
  )
  const clean = (text: string): string => {
    if (!any.test(text)) return text
    const known = patterns.reduce((left, pattern) => left.replaceAll(pattern, '[secret]'), text)
    return PATTERNS.reduce((left, [pattern, shown]) => left.replaceAll(pattern, shown), known)
  }
  return (fields = {}) => {
    const cleaned: Record<string, LogFields[string]> = {}
    for (const name in fields) {
      const value = fields[name]
      cleaned[name] = typeof value === 'string' ? clean(value) : value
    }
    return cleaned
  }
}
