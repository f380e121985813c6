import { describe, expect, test } from 'vitest'
import type { Metrics, ProgressEvent, RequestCounts } from '../../src/progress/events.ts'
import { HistoryReporter } from '../../src/progress/history-reporter.ts'
import { foldRows, readRow } from '../../src/progress/history-row.ts'
import { VERSION } from '../../src/util/version.ts'

const counts: RequestCounts = {
  ...{ requests: 0, succeeded: 0, failed: 0, pending: 0, queued: 0, inFlight: 0, costNanoUsd: 0 },
}
const sample = (metrics: Metrics): ProgressEvent => ({ kind: 'sample', metrics, counts })
const started: ProgressEvent = { kind: 'run-started', task: 't', counts }
const warning = (code: string, message = 'm'): ProgressEvent => ({ kind: 'warning', code, message })
const START = { 'Event/kind': 'run-started', 'Event/task': 't', 'Event/version': VERSION }

/** The rows that some events come to. */
function rowsOf(events: readonly ProgressEvent[]) {
  const rows: Record<string, unknown>[] = []
  const reporter = new HistoryReporter({ append: (fields) => void rows.push(fields) })
  for (const event of events) reporter.onEvent(event)
  return rows
}

describe('the rows of a run', () => {
  test('begin with its start and all figures, and go on with what has changed', () => {
    const rows = rowsOf([
      warning('drift'),
      started,
      sample({ a: 1, b: 2 }),
      sample({ a: 1, b: 3 }),
      sample({ a: 1, b: 3 }),
      { kind: 'run-finished', outcome: 'complete', counts },
    ])
    expect(rows).toEqual([
      { ...START, a: 1, b: 2 },
      { 'Event/kind': 'warning', 'Event/code': 'drift', 'Event/message': 'm' },
      { b: 3 },
      { 'Event/kind': 'run-finished', 'Event/outcome': 'complete' },
    ])
  })

  test('say why a run failed that did not come to work', () => {
    expect(rowsOf([warning('a'), { kind: 'run-failed', code: 'x', message: 'y' }])).toEqual([
      { 'Event/kind': 'warning', 'Event/code': 'a', 'Event/message': 'm' },
      { 'Event/kind': 'run-failed', 'Event/code': 'x', 'Event/message': 'y' },
    ])
  })

  test('have the start and the end of a run, however much was told before', () => {
    const early = Array.from({ length: 1_200 }, (_, index) => warning(`w${index}`))
    const failed: ProgressEvent = { kind: 'run-failed', code: 'x', message: 'y' }
    expect(rowsOf([...early, started, sample({ a: 1 })])[0]).toEqual({ ...START, a: 1 })
    expect(rowsOf([...early, started, failed]).map((row) => row['Event/kind'])).toEqual([
      ...['run-started', ...Array.from({ length: 1_000 }, () => 'warning'), 'run-failed'],
    ])
  })

  test('are there for a run whose figures could not be made', () => {
    const finished: ProgressEvent = { kind: 'run-finished', outcome: 'complete', counts }
    const kinds = rowsOf([started, warning('no_figures'), finished]).map((row) => row['Event/kind'])
    expect(kinds).toEqual(['run-started', 'warning', 'run-finished'])
  })

  test('tell a status of a batch once, and what came of it', () => {
    const batch = { kind: 'batch-changed', file: 3, model: 'm', requests: 9 } as const
    const rows = rowsOf([
      started,
      sample({}),
      { ...batch, status: 'validating', remoteId: 'b' },
      { ...batch, status: 'in_progress', completed: 1, failed: 0 },
      { ...batch, status: 'in_progress', completed: 5, failed: 1 },
      { ...batch, status: 'completed', completed: 8, failed: 1 },
      { kind: 'batch-result', file: 3, metrics: { 'Result/batch_id': 3 } },
    ])
    expect(rows.map((row) => row['Event/status'] ?? row['Result/batch_id'])).toEqual([
      ...[undefined, 'validating', 'in_progress', 'completed', 3],
    ])
    expect(rows[1]).toEqual({
      ...{ 'Event/kind': 'batch-changed', 'Event/file': 3, 'Event/status': 'validating', 'Event/model': 'm' },
      ...{ 'Event/requests': 9, 'Event/remote_id': 'b' },
    })
  })

  test('say what is waited for once, and not every warning of a kind without end', () => {
    const wait: ProgressEvent = { kind: 'waiting', reason: 'r', untilMs: 5_000, counts }
    const many = Array.from({ length: 200 }, () => warning('w'))
    const rows = rowsOf([started, sample({}), wait, { ...wait, untilMs: 9_000 }, ...many, warning('other')])
    expect(rows.filter((row) => row['Event/kind'] === 'waiting')).toEqual([
      { 'Event/kind': 'waiting', 'Event/reason': 'r', 'Event/until': 5 },
    ])
    expect(rows.filter((row) => row['Event/code'] === 'w')).toHaveLength(50)
    expect(rows.filter((row) => row['Event/code'] === 'other')).toHaveLength(1)
  })

  test('hold nothing of single requests, and no long or broken text', () => {
    const rows = rowsOf([
      started,
      sample({}),
      { kind: 'request-failed', key: 'jane@example.com', reason: 'secret reason', final: true },
      {
        kind: 'direct-call',
        key: 'jane@example.com',
        ok: true,
        warned: false,
        request: 'body',
        reply: 'reply',
      },
      { kind: 'requests-added', added: 1, counts },
      { kind: 'judged', counts },
      warning('a', 'the output of "jane \\"x\\" doe" is too large, as is "b"'),
      warning('b', `${'x'.repeat(499)}\u{1f600}${'y'.repeat(50)}`),
    ])
    expect(rows.map((row) => row['Event/message'])).toEqual([
      undefined,
      'the output of "..." is too large, as is "..."',
      `${'x'.repeat(499)}\ufffd`,
    ])
    expect(JSON.stringify(rows)).not.toMatch(/jane|secret|body|reply/)
  })
})

describe('the text of a message', () => {
  const told = (message: string) => rowsOf([started, sample({}), warning('a', message)])[1]?.['Event/message']

  test.each([
    ['"jane" is in use', '"..." is in use'],
    // Cut off by whoever made the message.
    ['key "jane@exam…', 'key "..."'],
    ['"a\\" b" and "c\nd"', '"..." and "..."'],
    ['ends with "a\\', 'ends with "..."'],
    ['the other server says: bad key sk-proj-Ab_12-x', 'the other server says: bad key sk-…'],
    ['GET https://me:pass@host/v1 failed', 'GET https://…@host/v1 failed'],
  ])('%j is told without what it quotes and what is secret', (message, text) => {
    expect(told(message)).toBe(text)
  })
})

test('a number that is none is left out, for a row that has it could not be read', () => {
  const wait: ProgressEvent = { kind: 'waiting', reason: 'r', untilMs: Number.POSITIVE_INFINITY, counts }
  expect(rowsOf([started, sample({}), wait])[1]).toEqual({ 'Event/kind': 'waiting', 'Event/reason': 'r' })
})

describe('a row', () => {
  test.each(['', '{', '[]', 'null', '{"a":1}', '{"_step":0,"_timestamp":1,"_runtime":0,"a":null}', '\0\0'])(
    'is not read from %j',
    (line) => expect(readRow(line)).toBeUndefined(),
  )

  test('is read with all it has', () => {
    const row = { _step: 0, _timestamp: 1.5, _runtime: 0, 'Event/kind': 'x', a: 1 }
    expect(readRow(JSON.stringify(row))).toEqual(row)
  })

  test('has the figures of those before it in its run, but nothing that was said of one row', () => {
    const times = { _timestamp: 1, _runtime: 0 }
    const rows = [
      { ...times, _step: 0, 'Event/kind': 'run-started', a: 1, b: 1 },
      { ...times, _step: 1, b: 2 },
      { ...times, _step: 2, 'Event/kind': 'batch-result', 'Result/batch_id': 4 },
      { ...times, _step: 3, 'Event/kind': 'run-started', a: 5 },
    ]
    expect([...foldRows(rows)].map(({ metrics }) => metrics)).toEqual([
      ...[{ a: 1, b: 1 }, { a: 1, b: 2 }, { a: 1, b: 2 }, { a: 5 }],
    ])
  })
})
