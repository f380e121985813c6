import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ProgressEvent, RequestCounts } from '../../src/progress/events.ts'
import { TerminalReporter, type TerminalReporterOptions } from '../../src/progress/terminal-reporter.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const START = new Date(2026, 0, 1, 12, 0, 0).getTime()
const ERASE = '\r\u001b[2K'

const counts = (told: Partial<RequestCounts> = {}): RequestCounts => ({
  requests: 1200,
  succeeded: 1000,
  failed: 3,
  pending: 197,
  queued: 47,
  inFlight: 150,
  costNanoUsd: 12_300_000,
  ...told,
})

const batch = (told: Partial<Extract<ProgressEvent, { kind: 'batch-changed' }>>): ProgressEvent => ({
  kind: 'batch-changed',
  file: 1,
  status: 'sealed',
  model: 'gpt-5-mini',
  requests: 600,
  ...told,
})

/** A reporter with a clock that only the test moves, and all that it wrote. */
function terminal(told: Partial<TerminalReporterOptions> = {}) {
  const written: string[] = []
  const clock = new VirtualClock(START)
  const reporter = new TerminalReporter({
    write: (text) => void written.push(text),
    isTTY: false,
    columns: () => 100,
    clock,
    color: false,
    showWarnings: 2,
    showErrors: 1,
    directVerbose: 'never',
    ...told,
  })
  const tell = (event: ProgressEvent, afterMs = 0) => {
    clock.advance(afterMs)
    reporter.onEvent(event)
  }
  return { reporter, written, clock, tell, text: () => written.join('') }
}

/** What a terminal shows after all this: a carriage return with "erase line" empties the current line. */
const screenAfter = (text: string): readonly string[] =>
  text.split('\n').map((line) => line.split(ERASE).at(-1) ?? '')

describe('without a terminal', () => {
  test('prints a line with the time for each change of state', async () => {
    const { reporter, tell, text } = terminal()
    tell({ kind: 'run-started', task: 'emotions', counts: counts({ inFlight: 0, costNanoUsd: undefined }) })
    tell({ kind: 'requests-added', added: 50, counts: counts() })
    tell({ kind: 'requests-added', added: 1150, counts: counts() })
    tell(batch({}), 1000)
    tell(batch({ status: 'in_progress', remoteId: 'batch_1', completed: 0 }), 1000)
    tell(batch({ status: 'in_progress', completed: 300 }), 1000)
    tell(batch({ status: 'completed', completed: 598, failed: 2 }), 1000)
    tell({ kind: 'direct-started', file: 2, model: 'gpt-5-mini', requests: 1 }, 1000)
    tell({ kind: 'waiting', reason: 'token limit', untilMs: START + 66_000, counts: counts() }, 1000)
    tell({ kind: 'waiting', reason: 'token limit', untilMs: START + 76_000, counts: counts() }, 1000)
    tell({ kind: 'run-finished', outcome: 'stopped', counts: counts() }, 1000)
    await reporter.close()
    expect(text().split('\n')).toEqual([
      '12:00:00 task emotions: 1,200 requests: 1,000 succeeded, 3 failed, 197 pending',
      '12:00:01 1,200 requests added',
      '12:00:01 batch 1 is sealed: gpt-5-mini, 600 requests',
      '12:00:02 batch 1 is in_progress: gpt-5-mini, 600 requests, batch_1',
      '12:00:04 batch 1 is completed: gpt-5-mini, 600 requests, 598 completed, 2 failed',
      '12:00:05 direct calls 2: gpt-5-mini, 1 request',
      '12:00:06 waiting: token limit, until 12:01:06 (1m)',
      expect.stringMatching(
        /^12:00:08 run finished after 8s, stopped: 1,200 requests: .* in flight, \$0\.0123$/,
      ),
      '',
    ])
  })

  test('sums up what was judged at most every ten seconds', () => {
    const { tell, written } = terminal()
    for (let second = 0; second < 35; second++) tell({ kind: 'judged', counts: counts() }, 1000)
    expect(written.map((line) => line.slice(0, 8))).toEqual(['12:00:10', '12:00:20', '12:00:30'])
    expect(written[0]).toContain('1,000 succeeded')
  })

  test('prints so many messages of a kind and counts the others', async () => {
    const { reporter, tell, written } = terminal()
    for (let at = 1; at <= 5; at++) {
      tell({ kind: 'request-failed', key: `a-${at}`, reason: 'http 500', final: false })
      tell({ kind: 'request-failed', key: `b-${at}`, reason: 'refused', final: true })
    }
    tell({ kind: 'warning', code: 'changed_body', message: 'other body' })
    await reporter.close()
    expect(written.map((line) => line.slice(9, -1))).toEqual([
      'request a-1 failed and is tried again: http 500',
      'request b-1 failed for good: refused',
      'request a-2 failed and is tried again: http 500',
      'warning: other body',
      'not shown: 3 retries, 4 failed requests',
    ])
  })

  test('lets no control characters of others through', () => {
    const { tell, text } = terminal()
    tell({ kind: 'request-failed', key: 'a\u001b[2J', reason: 'line\r\nbreak', final: true })
    expect(text()).toBe('12:00:00 request a\\u001b[2J failed for good: line break\n')
  })

  test('colours times, warnings and errors where that is wanted', () => {
    const { tell, text } = terminal({ color: true })
    tell({ kind: 'request-failed', key: 'a', reason: 'r', final: true })
    tell({ kind: 'warning', code: 'c', message: 'w' })
    expect(text()).toContain('\u001b[2m12:00:00\u001b[0m \u001b[31mrequest a')
    expect(text()).toContain('\u001b[33mwarning: w\u001b[0m')
    expect(stripVTControlCharacters(text())).toMatch(/^12:00:00 request a/)
  })
})

describe('direct calls', () => {
  const call = (ok: boolean, told = {}): ProgressEvent => ({
    kind: 'direct-call',
    key: 'text-1',
    ok,
    warned: false,
    request: '{"model":"gpt-5-mini"}',
    reply: 'bad gateway\u001b[2J',
    ...told,
  })

  test.each([
    ['never', 0],
    ['error', 1],
    ['warn', 1],
    ['always', 2],
  ] as const)('are printed by directVerbose %s', (directVerbose, expected) => {
    const { tell, written } = terminal({ directVerbose })
    tell(call(true))
    tell(call(false))
    expect(written).toHaveLength(expected)
  })

  test('show request and reply, with data URLs and long texts cut', () => {
    const { tell, text } = terminal({ directVerbose: 'always' })
    const url = `data:image/png;base64,${'A'.repeat(5000)}`
    const request = {
      messages: [{ role: 'user', content: [{ image_url: { url } }, { text: 'x'.repeat(5000) }] }],
    }
    tell(call(false, { request: JSON.stringify(request) }))
    expect(text()).toContain("'data:image/png;base64,AAAAAAAAAAAAA…'")
    expect(text()).toContain("reply: 'bad gateway\\x1B[2J'")
    expect(text()).toMatch(/x{400}'\.\.\. 4600 more characters/)
    expect(text().length).toBeLessThan(1000)
  })

  test('stay short for long embeddings', () => {
    const { tell, text } = terminal({ directVerbose: 'always' })
    tell(call(true, { reply: JSON.stringify({ data: [{ embedding: Array(1536).fill(0.123456) }] }) }))
    expect(text()).toContain('... 1516 more items')
    expect(text().split('\n').length).toBeLessThan(30)
  })
})

describe('on a terminal', () => {
  test('keeps one status line below the log', async () => {
    const { reporter, tell, text } = terminal({ isTTY: true, columns: () => 200 })
    tell(batch({}))
    tell(batch({ file: 2, status: 'in_progress', completed: 120, failed: 1 }), 300)
    tell({ kind: 'judged', counts: counts() }, 5000)
    expect(screenAfter(text())).toEqual([
      '12:00:00 batch 1 is sealed: gpt-5-mini, 600 requests',
      '12:00:00 batch 2 is in_progress: gpt-5-mini, 600 requests, 120 completed, 1 failed',
      '5s | 1,200 requests: 1,000 succeeded, 3 failed, 197 pending, 150 in flight, $0.0123 | ' +
        'batches: 1 sealed, 1 in_progress (121/600)',
    ])
    await reporter.close()
    expect(screenAfter(text()).at(-1)).toBe('')
  })

  test('draws at most four times a second, and cuts to the width', async () => {
    const { reporter, tell, written } = terminal({ isTTY: true, columns: () => 40 })
    for (let at = 0; at < 1000; at++) tell({ kind: 'judged', counts: counts() }, 1)
    expect(written).toHaveLength(4)
    for (const text of written) expect(text.slice(ERASE.length)).toHaveLength(39)
    await reporter.close()
  })

  test('draws what was put off, and lets the time go on while nothing happens', async () => {
    const { reporter, tell, text, clock } = terminal({ isTTY: true, columns: () => 30 })
    tell({ kind: 'judged', counts: counts() })
    tell({ kind: 'judged', counts: counts({ requests: 7 }) }, 10)
    expect(text()).toContain('1,200 requests')
    expect(text()).not.toContain('7 requests')
    await clock.sleep(2500)
    expect(text()).toContain('0s | 7 requests')
    expect(text()).toContain('2s | 7 requests')
    await reporter.close()
  })

  test('stops drawing when it is closed, and says nothing more', async () => {
    const { reporter, tell, written, clock } = terminal({ isTTY: true })
    tell({ kind: 'judged', counts: counts() })
    await Promise.all([reporter.close(), reporter.close()])
    const before = written.length
    tell({ kind: 'warning', code: 'late', message: 'late' })
    await clock.sleep(5000)
    expect(written).toHaveLength(before)
    expect(written.at(-1)).toBe(ERASE)
  })

  test('hands an error of a later drawing to the next event', async () => {
    let broken = false
    const write = () => {
      if (broken) throw new Error('EPIPE')
    }
    const { reporter, tell, clock } = terminal({ isTTY: true, write })
    tell({ kind: 'judged', counts: counts() })
    broken = true
    await clock.sleep(2000)
    expect(() => tell({ kind: 'judged', counts: counts() })).toThrow('EPIPE')
    broken = false
    await reporter.close()
  })

  test('shows the same log as without a terminal, whatever happens in between', async () => {
    const event: fc.Arbitrary<ProgressEvent> = fc.oneof(
      fc.constant<ProgressEvent>({ kind: 'judged', counts: counts() }),
      fc.integer({ min: 1, max: 3 }).map((file) => batch({ file })),
      fc.constantFrom('in_progress', 'completed').map((status) => batch({ status })),
      fc.constant<ProgressEvent>({ kind: 'warning', code: 'c', message: 'careful' }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(event, fc.integer({ min: 0, max: 400 })), { maxLength: 20 }),
        async (steps) => {
          const [plain, live] = [terminal(), terminal({ isTTY: true })]
          for (const [step, afterMs] of steps) {
            plain.tell(step, afterMs)
            live.tell(step, afterMs)
          }
          await plain.reporter.close()
          await live.reporter.close()
          expect(screenAfter(live.text())).toEqual(screenAfter(plain.text()))
        },
      ),
      { numRuns: 50 },
    )
  })
})
