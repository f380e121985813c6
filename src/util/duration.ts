import { z } from 'zod'
import { UsageError } from '../errors.ts'

/** Largest unit first: a span names each unit at most once, in this order. */
const SPAN = /^(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?$/
const UNIT_MS = [86_400_000, 3_600_000, 60_000, 1_000] as const

/** Milliseconds of a time span such as `90s`, `15m`, `6h`, `1h30m` or `2d`; undefined for any other text. */
export function durationMs(text: string): number | undefined {
  const match = text === '' ? null : SPAN.exec(text)
  if (!match) return undefined
  return UNIT_MS.reduce((sum, unitMs, index) => sum + Number(match[index + 1] ?? 0) * unitMs, 0)
}

/** A zone is needed: the same text must mean the same time wherever, and whenever, the run is started. */
const moment = z.union([z.iso.datetime({ offset: true }), z.iso.datetime({ offset: true, precision: -1 })])

/** Milliseconds since 1970 of a point in time in ISO 8601 with its zone; undefined for any other text. */
const momentMs = (text: string): number | undefined =>
  moment.safeParse(text).success ? Date.parse(text) : undefined

const isDeadline = (text: string): boolean => (durationMs(text) ?? 0) > 0 || momentMs(text) !== undefined

/** What a deadline may be, in words that follow "must be". */
export const DEADLINE_ALLOWED =
  'a time span of days, hours, minutes and seconds from the start of the run, as 90s, 6h, 1h30m or 2d, ' +
  'or a point in time in ISO 8601 with its zone, as 2026-11-22T08:00Z'

/** A deadline as it is written: a time span above zero, or a point in time, be it in the past. It stays a text. */
export const deadlineSchema = z.string().refine(isDeadline)

/**
 * When a deadline is, in milliseconds since 1970. A span begins at `nowMs`; a point in time may have passed. Throws
 * `UsageError` (`bad_deadline`) for any other text.
 */
export function parseDeadline(text: string, nowMs: number): number {
  const span = durationMs(text)
  const at = span ? nowMs + span : momentMs(text)
  if (at !== undefined) return at
  throw new UsageError(
    'bad_deadline',
    `the deadline is ${JSON.stringify(text)}, but must be ${DEADLINE_ALLOWED}`,
  )
}
