import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RequestCounts } from '../../src/progress/events.ts'
import { renderLive } from '../../src/progress/live-render.ts'
import { shortCount } from '../../src/progress/live-room.ts'
import type { LiveBatch, LiveView } from '../../src/progress/live-view.ts'
import { displayWidth } from '../../src/util/display-width.ts'

const HOUR_MS = 3_600_000

const batch = (told: Partial<LiveBatch>): LiveBatch => ({
  file: 1,
  status: 'in_progress',
  statusMs: 60_000,
  model: 'gpt-5-mini',
  requests: 1000,
  answered: undefined,
  ...told,
})

const view = (told: Partial<LiveView> = {}): LiveView => ({
  task: 'emotions',
  elapsedMs: 2.25 * HOUR_MS,
  state: 'running',
  stateDetail: '',
  warnings: 0,
  counts: {
    requests: 250_000,
    succeeded: 132_050,
    failed: 412,
    pending: 117_538,
    queued: 27_538,
    inFlight: 90_000,
    costNanoUsd: 12_345_000_000,
  },
  added: 250_000,
  isProducing: false,
  perMinute: 1234,
  batches: [
    batch({ file: 4, statusMs: 2 * HOUR_MS, answered: 731 }),
    batch({ file: 5, status: 'validating', statusMs: 3000 }),
    batch({ file: 12, status: 'expired', statusMs: 1000, answered: 82 }),
  ],
  batchesOver: 3,
  direct: { sets: 1, requests: 37, ms: 90_000 },
  metrics: {
    'Usage/prompt_ktok': 52_379.4,
    'Usage/prompt_ktok_cached': 12_379.4,
    'Usage/completion_ktok': 8712.2,
    'Cost/cap_usd': 25,
    'Cost/reserved_usd': 9.93,
  },
  left: { ms: 4.4 * HOUR_MS, basis: 'from 3 batches' },
  ...told,
})

describe('the live display', () => {
  test('has a row for each thing that is worth knowing', () => {
    expect(renderLive(view(), { columns: 80, rows: 24 })).toEqual([
      'emotions  2h15m  running',
      'generation  250k added, done',
      'requests    ███████████████▓▒▒▒▒▒▒▒▒▒░░░░  52%  132k/250k  1,234/min',
      '            132k succeeded, 412 failed, 118k pending (90k in flight)',
      'batches     1 expired, 1 validating, 1 in_progress, 3 done',
      '            #12 expired     1s  ░░░░░░░░░░░░   82/1,000  gpt-5-mini',
      '             #4 in_progress 2h  ████████░░░░  731/1,000  gpt-5-mini',
      '             #5 validating  3s                    1,000  gpt-5-mini',
      'direct      37 calls, for 1m30s',
      'tokens      52.4M prompt (12.4M cached), 8.71M completion',
      'cost        $12.35 of $25.00, $9.93 set aside',
      'time left   about 4.5 h, from 3 batches',
    ])
  })

  test('keeps what matters most on a small screen', () => {
    expect(renderLive(view(), { columns: 40, rows: 10 })).toEqual([
      'emotions  2h15m  running',
      '██████████▓▒▒▒▒▒░░░  52%  132k/250k',
      '132k ok, 412 failed, 118k pending',
      '3 batches, 1 expired, 3 done',
      '37 direct calls, for 1m30s',
      '$12.35 of $25.00 spent, $9.93 set aside',
      'about 4.5 h left, from 3 batches',
    ])
    expect(renderLive(view(), { columns: 19, rows: 10 })).toEqual(['52% 2h15m'])
    expect(renderLive(view(), { columns: 40, rows: 2 })).toEqual(['52% 132k/250k 412 failed 2h15m emotions'])
    expect(renderLive(view(), { columns: 40, rows: 1 })).toEqual([])
  })

  test('leaves a number out rather than cutting it', () => {
    const counts = { ...view().counts, costNanoUsd: 1_234_560_000_000 }
    const metrics = { 'Cost/cap_usd': 2500, 'Cost/reserved_usd': 9.93 }
    const small = view({ counts: countsOf(counts), metrics, batches: [], direct: undefined })
    expect(renderLive(small, { columns: 20, rows: 12 })).toEqual([
      'emotions  2h15m',
      '250k added, done',
      ' 52%  132k/250k',
      '132k ok, 412 failed',
      '3 done',
      '$1,234.56',
      'about 4.5 h left',
    ])
    expect(renderLive(small, { columns: 30, rows: 12 })).toContain('$1,234.56 of $2,500.00 spent')
  })

  test('says what it waits for, and when it looks again where there is room', () => {
    const waiting = view({ state: 'waiting for batches', stateDetail: ', next look in 9s', warnings: 2 })
    const title = (columns: number) => renderLive(waiting, { columns, rows: 24 })[0]
    expect(title(80)).toBe('emotions  2h15m  waiting for batches, next look in 9s  2 warnings')
    expect(title(60)).toBe('emotions  2h15m  waiting for batches, next look in 9s')
    expect(title(40)).toBe('emotions  2h15m  waiting for batches')
    expect(title(30)).toBe('emotions  2h15m  waiting for…')
  })

  test('tells batches by their states in the order of these, each once', () => {
    const statuses = ['finalizing', 'in_progress', 'odd', 'uploading', 'validating', 'in_progress']
    const batches = statuses.map((status, file) => batch({ file, status }))
    const metrics = { 'Batch/num_unpushed': 3 }
    expect(renderLive(view({ batches, metrics }), { columns: 100, rows: 24 })).toContain(
      'batches     1 uploading, 1 validating, 2 in_progress, 1 finalizing, 1 odd, 3 done, 2 to be sent',
    )
    const held = ['refused', 'sealed', 'uploading'].map((status, file) => batch({ file, status }))
    expect(renderLive(view({ batches: held, metrics }), { columns: 100, rows: 24 })).toContain(
      'batches     1 refused, 1 sealed, 1 uploading, 3 done',
    )
  })

  test('says what was estimated of what is spent', () => {
    const metrics = { ...view().metrics, 'Cost/expected_usd': 13.5, 'Cost/saved_usd': 12.34 }
    expect(renderLive(view({ metrics }), { columns: 100, rows: 24 })).toContain(
      'cost        $12.35 of $25.00, where $13.50 was estimated, $9.93 set aside, $12.34 saved',
    )
  })

  test('shows only what there is', () => {
    const nothing = { batches: [], batchesOver: 0, direct: undefined, metrics: {}, left: undefined }
    const idle = view({
      counts: undefined,
      added: 0,
      isProducing: undefined,
      perMinute: undefined,
      ...nothing,
    })
    expect(renderLive(idle, { columns: 80, rows: 24 })).toEqual(['emotions  2h15m  running'])
  })

  test('says that the cost is not known', () => {
    const counts = { ...view().counts, costNanoUsd: undefined }
    expect(renderLive(view({ counts: countsOf(counts) }), { columns: 80, rows: 24 }).at(-2)).toBe(
      'cost        an unknown amount (no price) of $25.00, $9.93 set aside',
    )
  })

  test('never claims the end too early, and shows a single failure among millions', () => {
    const counts = countsOf({ requests: 1e7, succeeded: 1e7 - 2, failed: 1, pending: 1 })
    const [, , bar] = renderLive(view({ counts }), { columns: 80, rows: 24 })
    expect(bar).toMatch(/█+▓░? +99% {2}10M\/10M/)
  })

  test('is the same with colours, but for these', () => {
    const size = { columns: 80, rows: 24 }
    const colored = renderLive(view(), size, true)
    expect(colored.map((row) => stripVTControlCharacters(row).trimEnd())).toEqual(renderLive(view(), size))
    expect(colored.join()).toContain('\u001b[31m▓\u001b[0m')
    for (const row of colored) expect(row).not.toMatch(unclosed)
  })

  test.each([
    [9876, '9,876'],
    [98_765, '98.8k'],
    [999_499, '999k'],
    [999_999, '1M'],
    [1_234_567, '1.23M'],
    [9_999_999_999, '10G'],
  ])('makes a glance of %d: %s', (count, text) => {
    expect(shortCount(count)).toBe(text)
  })

  const amount = fc.oneof(fc.constantFrom(0, 1, 10_000_000), fc.nat(10_000_000))
  const name = fc
    .string({ unit: 'grapheme', maxLength: 64 })
    .map((text) => text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, '_'))
  const time = fc.oneof(fc.nat(100_000), fc.nat(400 * 24 * HOUR_MS))
  const anyBatch: fc.Arbitrary<LiveBatch> = fc.record({
    file: fc.nat(100_000),
    status: fc.oneof(fc.constantFrom('in_progress', 'failed', 'validating'), name),
    statusMs: time,
    model: name,
    requests: amount,
    answered: fc.option(amount, { nil: undefined }),
  })
  const anyView: fc.Arbitrary<LiveView> = fc
    .record({
      task: name,
      elapsedMs: time,
      state: fc.oneof(name, fc.constant('running')),
      stateDetail: name,
      warnings: amount,
      counts: fc.option(
        fc.tuple(amount, amount, amount, amount, amount, fc.option(fc.nat(), { nil: undefined })),
        { nil: undefined },
      ),
      added: amount,
      isProducing: fc.option(fc.boolean(), { nil: undefined }),
      perMinute: fc.option(fc.double({ min: 0, max: 1e9, noNaN: true }), { nil: undefined }),
      batches: fc.array(anyBatch, { maxLength: 20 }),
      batchesOver: amount,
      direct: fc.option(fc.record({ sets: amount, requests: amount, ms: time }), { nil: undefined }),
      metrics: fc.dictionary(
        fc.constantFrom(...Object.keys(view().metrics), 'Cost/saved_usd', 'Batch/num_unpushed'),
        fc.double({ min: 0, max: 1e12, noNaN: true }),
      ),
      left: fc.option(fc.record({ ms: time, basis: name }), { nil: undefined }),
    })
    .map(({ counts, ...rest }) => ({ ...rest, counts: counts && arbitraryCounts(counts) }))

  test('never is wider or higher than the screen, whatever the numbers', () => {
    const size = fc.record({ columns: fc.nat(200), rows: fc.nat(60) })
    fc.assert(
      fc.property(anyView, size, fc.boolean(), (shown, { columns, rows }, color) => {
        const drawn = renderLive(shown, { columns, rows }, color).map(stripVTControlCharacters)
        expect(drawn.length).toBeLessThanOrEqual(Math.max(0, rows - 1))
        for (const row of drawn) {
          expect(displayWidth(row)).toBeLessThan(columns)
          expect(row).not.toMatch(/NaN|Infinity|undefined|\n/)
        }
        if (columns < 20) expect(drawn.length).toBeLessThanOrEqual(1)
      }),
      { numRuns: 500 },
    )
  })

  test('holds with thousands of batches', () => {
    const batches = Array.from({ length: 5000 }, (_, file) => batch({ file, statusMs: file }))
    const drawn = renderLive(view({ batches }), { columns: 80, rows: 24 })
    expect(drawn[4]).toBe('batches     5,000 in_progress, 3 done')
    expect(drawn[5]).toContain('#4999')
    expect(drawn.length).toBeLessThan(24)
  })
})

/** A style that the end of the row does not take back. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is about them
const unclosed = /\u001b\[[1-9]\d*m[^\u001b]*$/

function countsOf(told: Partial<Record<keyof RequestCounts, number | undefined>>): RequestCounts {
  const { requests = 0, succeeded = 0, failed = 0, pending = 0, queued = 0, inFlight = 0 } = told
  return { requests, succeeded, failed, pending, queued, inFlight, costNanoUsd: told.costNanoUsd }
}

type Amounts = readonly [number, number, number, number, number, number | undefined]

/** `queued` and `inFlight` on top of each other may be more than are pending: nothing may break by that. */
function arbitraryCounts([
  succeeded,
  failed,
  pending,
  queued,
  inFlight,
  costNanoUsd,
]: Amounts): RequestCounts {
  return { requests: succeeded + failed + pending, succeeded, failed, pending, queued, inFlight, costNanoUsd }
}
