import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ProgressEvent, RequestCounts } from '../../src/progress/events.ts'
import { TerminalReporter, type TerminalReporterOptions } from '../../src/progress/terminal-reporter.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import { VirtualScreen } from '../support/virtual-screen.ts'

const START = new Date(2026, 0, 1, 12, 0, 0).getTime()

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

describe('without a terminal', () => {
  test('prints a line with the time for each change of state', async () => {
    const { reporter, tell, text } = terminal()
    tell({ kind: 'run-started', task: 'emotions', counts: counts({ inFlight: 0, costNanoUsd: undefined }) })
    tell({ kind: 'requests-added', added: 50, counts: counts() })
    tell({ kind: 'requests-added', added: 1150, counts: counts() })
    tell(batch({}), 1000)
    tell(batch({ status: 'in_progress', remoteId: 'batch_1', completed: 0 }), 1000)
    tell(batch({ status: 'in_progress', completed: 300, remoteId: 'batch_1' }), 1000)
    tell(batch({ status: 'completed', completed: 598, failed: 2, remoteId: 'batch_1' }), 1000)
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

  test('says how long a run took that ended by an error, but nothing of one that never began', () => {
    const { tell, written } = terminal()
    tell({ kind: 'run-failed', code: 'lock_held', message: 'told by whoever catches it' })
    expect(written).toEqual([])
    tell({ kind: 'run-started', task: 'emotions', counts: counts() })
    tell({ kind: 'run-failed', code: 'hook_failed', message: 'told by whoever catches it' }, 90_000)
    expect(written.at(-1)).toBe('12:01:30 run ended after 1m30s: hook_failed\n')
  })

  test('tells the result of a batch', () => {
    const { tell, written } = terminal()
    const metrics = {
      'Result/num_requests': 1000,
      'Result/num_succeeded': 990,
      'Result/num_failed': 2,
      'Result/num_retry': 3,
      'Result/num_expired': 5,
      'Result/cost_usd': 0.0123,
      'Result/duration_hours': 2.5,
    }
    tell(batch({ status: 'completed' }))
    tell({ kind: 'batch-result', file: 1, metrics })
    expect(written.at(-1)?.slice(9)).toBe(
      'batch 1 is done: 1,000 requests, 990 succeeded, 2 failed, 3 asked again, 5 expired, $0.0123, after 2h30m\n',
    )
  })

  test('tells a wipe, and shows no batch any more whose requests were queued anew', () => {
    const { tell, written } = terminal()
    tell(batch({ status: 'uploading' }))
    tell(batch({ status: 'requeued' }))
    expect(written.at(-1)?.slice(9)).toBe('batch 1 is requeued: gpt-5-mini, 600 requests\n')
    tell({ kind: 'judged', counts: counts() }, 11_000)
    expect(written.at(-1)).not.toContain('batches:')
    const what = { pending: 1200, failed: 3, thrownAway: 1500 }
    tell({ kind: 'wiped', scope: 'requests', ...what })
    expect(written.at(-1)?.slice(9)).toBe('wiped 1,200 pending and 3 failed requests\n')
    tell({ kind: 'wiped', scope: 'task', ...what })
    expect(written.at(-1)?.slice(9)).toBe('wiped the whole task, 1,500 paid answers among it\n')
  })

  test('says of a new task that it has no requests', () => {
    const { tell, written } = terminal()
    const none = counts({
      requests: 0,
      succeeded: 0,
      failed: 0,
      pending: 0,
      queued: 0,
      inFlight: 0,
      costNanoUsd: 0,
    })
    tell({ kind: 'run-started', task: 'emotions', counts: none })
    expect(written).toEqual(['12:00:00 task emotions: no requests\n'])
  })

  test('sums up what was judged at most every ten seconds', () => {
    const { tell, written } = terminal()
    for (let second = 0; second < 35; second++) tell({ kind: 'judged', counts: counts() }, 1000)
    expect(written.map((line) => line.slice(0, 8))).toEqual(['12:00:10', '12:00:20', '12:00:30'])
    expect(written[0]).toContain('1,000 succeeded')
  })

  test('sums up what batches have come to as well, but nothing twice, and nothing after the end', () => {
    const { tell, written } = terminal()
    const sample = (): ProgressEvent => ({ kind: 'sample', metrics: {}, counts: counts() })
    tell({ kind: 'run-started', task: 'emotions', counts: counts() })
    tell(sample(), 11_000)
    tell(batch({ status: 'in_progress', completed: 0 }))
    tell(batch({ status: 'in_progress', completed: 120 }), 5000)
    tell(sample(), 6000)
    tell(sample(), 11_000)
    tell({ kind: 'run-finished', outcome: 'complete', counts: counts() }, 30_000)
    expect(written.map((line) => line.slice(9, 24))).toEqual([
      'task emotions: ',
      'batch 1 is in_p',
      '1,200 requests:',
      'run finished af',
    ])
    expect(written[2]).toContain('; batches: 1 in_progress (120/600)')
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
    expect(text()).toContain('\u001b[35mwarning: w\u001b[0m')
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
  const live = (told: Partial<TerminalReporterOptions> = {}, [columns, rows] = [80, 24]) => {
    const screen = new VirtualScreen(columns, rows)
    const size = { columns: () => columns, rows: () => rows }
    const made = terminal({ isTTY: true, ...size, ...told })
    const shown = () => {
      for (const text of made.written.splice(0)) screen.write(text)
      return screen.text
    }
    return { ...made, screen, shown }
  }

  test('keeps a display below the log, and takes it away at the end', async () => {
    const { reporter, tell, shown } = live()
    tell({ kind: 'run-started', task: 'emotions', counts: counts() })
    tell(batch({ status: 'validating' }))
    tell(batch({ file: 2, status: 'in_progress', completed: 120, failed: 1 }), 300)
    tell({ kind: 'judged', counts: counts() }, 5000)
    const log = [
      '12:00:00 task emotions: 1,200 requests: 1,000 succeeded, 3 failed, 197 pending,',
      '150 in flight, $0.0123',
      '12:00:00 batch 1 is validating: gpt-5-mini, 600 requests',
      '12:00:00 batch 2 is in_progress: gpt-5-mini, 600 requests, 120 completed, 1 fail',
      'ed',
    ]
    expect(shown().map((line) => line.trim())).toEqual([
      ...log,
      '',
      'emotions  5s  running',
      'requests    ████████████████████████▓▒▒░░  83%  1,003/1,200',
      '1,000 succeeded, 3 failed, 197 pending (150 in flight, 47 queued)',
      'batches     1 validating, 1 in_progress',
      '#1 validating  5s                    600  gpt-5-mini',
      '#2 in_progress 5s  ██░░░░░░░░░░  121/600  gpt-5-mini',
      'cost        $0.0123',
    ])
    await reporter.close()
    expect(shown().map((line) => line.trim())).toEqual(log)
  })

  test('leaves to the display how many requests were added, until the end', async () => {
    const { reporter, tell, shown } = live()
    for (let at = 0; at < 30; at++) {
      tell({ kind: 'requests-added', added: 40, counts: counts() })
      tell(batch({ file: at, status: 'validating' }), 1000)
    }
    tell({ kind: 'run-finished', outcome: 'complete', counts: counts() })
    await reporter.close()
    const added = shown().filter((line) => line.includes('added'))
    expect(added).toEqual(['12:00:30 1,200 requests added'])
  })

  test.each(['㈱', '語', '\u{1f201}'])('leaves nothing of itself under a line of %s', async (wide) => {
    const { reporter, tell, shown, screen } = live({ showWarnings: 100 }, [25, 12])
    tell({ kind: 'judged', counts: counts() })
    tell({ kind: 'judged', counts: counts() }, 1000)
    const line = `${wide.repeat(25)}\n`
    reporter.giveWay(line)
    shown()
    screen.write(line)
    await reporter.close()
    expect(shown()).toEqual([wide.repeat(12), wide.repeat(12), wide])
  })

  test('draws at most four times a second, whatever happens', async () => {
    const { reporter, tell, written } = live()
    for (let at = 0; at < 500; at++) {
      tell({ kind: 'judged', counts: counts() }, 1)
      tell(batch({ file: at }), 1)
    }
    expect(written.length).toBeLessThanOrEqual(5)
    await reporter.close()
  })

  test('draws what was put off, and lets the time go on while nothing happens', async () => {
    const { reporter, tell, shown, clock } = live()
    tell({ kind: 'judged', counts: counts() })
    tell({ kind: 'judged', counts: counts({ requests: 1007 }) }, 10)
    expect(shown().join()).toContain('1,003/1,200')
    await clock.sleep(250)
    expect(shown().join()).toContain('1,003/1,007')
    await clock.sleep(2500)
    expect(shown()[1]).toMatch(/^2s /)
    await reporter.close()
  })

  test('has the new size at once when the screen gets another', async () => {
    let width = 100
    const { reporter, tell, clock, written } = terminal({ isTTY: true, columns: () => width })
    tell({ kind: 'judged', counts: counts() })
    clock.advance(300)
    width = 30
    written.length = 0
    reporter.redraw()
    expect(written.join('')).toContain('1,000 ok, 3 failed')
    expect(written.join('')).not.toContain('succeeded')
    await reporter.close()
  })

  test('goes on drawing when the clock is set back', async () => {
    const { reporter, tell, shown, clock } = live()
    tell({ kind: 'judged', counts: counts() })
    clock.jump(-3_600_000)
    tell({ kind: 'judged', counts: counts({ requests: 1007 }) })
    expect(shown().join()).toContain('1,003/1,007')
    await reporter.close()
  })

  test('stops drawing when it is closed, and says nothing more', async () => {
    const { reporter, tell, written, clock } = live()
    tell({ kind: 'judged', counts: counts() })
    await Promise.all([reporter.close(), reporter.close()])
    const before = written.length
    tell({ kind: 'warning', code: 'late', message: 'late' })
    reporter.redraw()
    reporter.giveWay('late\n')
    await clock.sleep(5000)
    expect(written).toHaveLength(before)
  })

  test('is away for a question, and back after the answer', async () => {
    const { reporter, tell, shown, screen } = live()
    tell({ kind: 'judged', counts: counts() })
    reporter.pause()
    tell({ kind: 'warning', code: 'c', message: 'meanwhile' }, 1000)
    reporter.giveWay('go on? ')
    expect(shown()).toEqual(['12:00:01 warning: meanwhile'])
    screen.write('go on? y\n')
    tell({ kind: 'judged', counts: counts() }, 1000)
    expect(shown()).toHaveLength(2)
    reporter.resume()
    tell({ kind: 'judged', counts: counts() })
    expect(shown().slice(0, 4)).toEqual([
      '12:00:01 warning: meanwhile',
      'go on? y',
      '',
      '2s  running  1 warning',
    ])
    await reporter.close()
    expect(shown()).toHaveLength(2)
  })

  test('stays away while any of several pauses lasts', async () => {
    const { reporter, tell, shown } = live()
    reporter.pause()
    reporter.pause()
    reporter.resume()
    tell({ kind: 'judged', counts: counts() }, 1000)
    expect(shown()).toEqual([])
    reporter.resume()
    tell({ kind: 'judged', counts: counts() }, 1000)
    expect(shown().length).toBeGreaterThan(1)
    await reporter.close()
  })

  test('says that it is stopping, and no more when it will be done', async () => {
    const { reporter, tell, shown } = live()
    tell({ kind: 'judged', counts: counts() })
    reporter.stopping('SIGINT: finishing')
    tell({ kind: 'judged', counts: counts() }, 1000)
    expect(shown().slice(0, 3)).toEqual(['12:00:00 SIGINT: finishing', '', '1s  stopping'])
    await reporter.close()
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

  /** What a test does, and what of it stays on the screen. */
  type Step = { readonly event: ProgressEvent } | { readonly print: string } | 'redraw'
  const warning = (message: string): ProgressEvent => ({ kind: 'warning', code: 'c', message })
  const event: fc.Arbitrary<ProgressEvent> = fc.oneof(
    fc.constant<ProgressEvent>({ kind: 'judged', counts: counts() }),
    fc.integer({ min: 1, max: 3 }).map((file) => batch({ file })),
    fc.constantFrom('in_progress', 'completed').map((status) => batch({ status })),
    fc.nat(200).map((length) => warning('w'.repeat(length))),
  )
  const step: fc.Arbitrary<Step> = fc.oneof(
    event.map((one) => ({ event: one })),
    fc.string({ unit: fc.constantFrom('a', '\n', '語'), maxLength: 100 }).map((print) => ({ print })),
    fc.constant<Step>('redraw'),
  )

  test.each([
    [80, 24],
    [40, 10],
    [25, 3],
    [12, 5],
  ])(
    'leaves what would be there without it, whatever happens in between, on a screen of %i x %i',
    async (columns, rows) => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(step, fc.integer({ min: 0, max: 400 })), { maxLength: 20 }),
          async (steps) => {
            const plain = new VirtualScreen(columns, 1000)
            // What others print may end within a row; a line of the log then begins a new one.
            const write = (line: string) => plain.write(plain.cursor.column > 0 ? `\n${line}` : line)
            const without = terminal({ write, showWarnings: 100 })
            const { reporter, tell, clock, screen, shown } = live({ showWarnings: 100 }, [columns, rows])
            for (const [one, afterMs] of steps) {
              clock.advance(afterMs)
              without.clock.advance(afterMs)
              if (one === 'redraw') reporter.redraw()
              else if ('event' in one) {
                tell(one.event)
                without.tell(one.event)
              } else {
                reporter.giveWay(one.print)
                shown()
                screen.write(one.print)
                plain.write(one.print)
              }
            }
            await without.reporter.close()
            await reporter.close()
            expect(shown()).toEqual(plain.text)
          },
        ),
        { numRuns: 100 },
      )
    },
  )
})
