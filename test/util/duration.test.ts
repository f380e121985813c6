import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { renderHelp } from '../../src/cli/help.ts'
import { UsageError } from '../../src/errors.ts'
import { DEADLINE_ALLOWED, deadlineSchema, durationMs, parseDeadline } from '../../src/util/duration.ts'
import { formatDuration } from '../../src/util/format.ts'
import { tableFlags } from '../../src/util/option-flags.ts'
import { optionComplaint } from '../../src/util/options.ts'

const HOUR = 3_600_000
const NOW = Date.UTC(2026, 10, 21, 12)

describe('a time span', () => {
  test.each([
    ['90s', 90_000],
    ['15m', 15 * 60_000],
    ['6h', 6 * HOUR],
    ['1h30m', 1.5 * HOUR],
    ['2d', 48 * HOUR],
    ['1d2h3m4s', 26 * HOUR + 184_000],
    ['0s', 0],
  ])('%s is %i ms', (text, ms) => {
    expect(durationMs(text)).toBe(ms)
  })

  test.each(['', ' 6h', '6h ', '6', '6 h', '1.5h', '-6h', '30m1h', '1h1h', '6H', '6hours', '1234567d', 'h'])(
    '%j is none',
    (text) => {
      expect(durationMs(text)).toBeUndefined()
    },
  )

  test('is read back as it is shown to people', () => {
    fc.assert(
      fc.property(fc.nat(10_000_000), (seconds) => {
        const shown = formatDuration(seconds * 1000)
        expect(formatDuration(durationMs(shown) ?? NaN)).toBe(shown)
      }),
    )
  })
})

describe('a deadline', () => {
  test.each([
    ['6h', NOW + 6 * HOUR],
    ['2026-11-22T08:00Z', NOW + 20 * HOUR],
    ['2026-11-22T08:00:30Z', NOW + 20 * HOUR + 30_000],
    ['2026-11-22T08:00:00.250Z', NOW + 20 * HOUR + 250],
    ['2026-11-22T09:00+01:00', NOW + 20 * HOUR],
    ['2020-01-01T00:00Z', Date.UTC(2020, 0, 1)],
  ])('%s', (text, ms) => {
    expect(parseDeadline(text, NOW)).toBe(ms)
    expect(deadlineSchema.safeParse(text).success).toBe(true)
  })

  test.each([
    '',
    '0s',
    '0h0m',
    'tomorrow',
    '2026-11-22',
    '2026-11-22T08:00',
    '2026-11-22 08:00Z',
    '2026-02-30T08:00Z',
    '2026-11-22T25:00Z',
    '1795334400',
  ])('%j is refused, with all that is allowed', (text) => {
    expect(deadlineSchema.safeParse(text).success).toBe(false)
    const attempt = () => parseDeadline(text, NOW)
    expect(attempt).toThrow(UsageError)
    expect(attempt).toThrow(`the deadline is ${JSON.stringify(text)}, but must be a time span`)
    expect(attempt).toThrow('2026-11-22T08:00Z')
  })

  test('is an option that flags, help and complaints can show', () => {
    const deadline = {
      schema: deadlineSchema.optional(),
      group: 'Waiting',
      help: 'When all must be done',
      value: 'time',
      allowed: DEADLINE_ALLOWED,
    }
    expect(tableFlags({ deadline })).toMatchObject([
      { spelling: 'deadline', shape: { kind: 'text' }, required: false, allowed: DEADLINE_ALLOWED },
    ])
    expect(renderHelp({ deadline }, undefined, { name: 'x', columns: 100 })).toContain('--deadline <time>')
    expect(optionComplaint(deadline, '6h')).toBeUndefined()
    expect(optionComplaint(deadline, 'soon')).toBe(`must be ${DEADLINE_ALLOWED}`)
  })
})
