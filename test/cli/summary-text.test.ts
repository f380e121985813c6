import { expect, test } from 'vitest'
import { initialState } from '../../src/batch/task-state.ts'
import { summaryText } from '../../src/cli/summary-text.ts'
import { receiptOf } from '../../src/requester/receipt.ts'
import type { RunSummary } from '../../src/task/task-types.ts'

const PATH = '/home/somebody/jobs/of/this/year/tasks/emotions_output.jsonl'

const summary = (over: Partial<RunSummary> = {}): RunSummary => ({
  name: 'emotions',
  complete: false,
  outcome: 'limits',
  details: ['--max-session-requests 10 keeps 390 requests back, which another run would send'],
  ...{ requests: 400, succeeded: 10, failed: 0, pending: 390, added: 400, judged: 10, cost: 0 },
  usage: { input: 0, cachedInput: 0, cacheWrite: 0, output: 0, reasoning: 0 },
  receipt: receiptOf(
    { ...initialState, spending: { ...initialState.spending, sentRequests: 10, inputTokens: 5000 } },
    { awaitingVerdict: 0 },
  ),
  ...{ batches: 1, directSets: 2, retries: 3, elapsedMs: 65_000 },
  output: [PATH],
  failedFile: undefined,
  ...over,
})

test.each([20, 40, 79, 80, 200])('the end of a run fits into %d columns, but for paths', (columns) => {
  const lines = summaryText(summary(), columns).split('\n')
  const isPath = (line: string): boolean => line.includes(PATH)
  expect(lines.filter((line) => line.length > Math.min(80, Math.max(24, columns)) && !isPath(line))).toEqual(
    [],
  )
  expect(lines.filter(isPath)).toEqual([`  output: ${PATH}`])
  expect(lines.join(' ').replaceAll(/\s+/g, ' ')).toContain(
    'requests: 400 (10 succeeded, 0 failed, 390 pending)',
  )
})

test('lines of the end of a run go on indented', () => {
  expect(summaryText(summary(), 40).split('\n').slice(0, 6)).toEqual([
    'emotions: stopped by a limit; raise it',
    '  and run again to go on',
    '  --max-session-requests 10 keeps 390',
    '    requests back, which another run',
    '    would send',
    '  requests: 400 (10 succeeded, 0',
  ])
})

test('the example of a dry run stays in one line, for programs', () => {
  const example = `the first: ${'x '.repeat(200)}`
  expect(summaryText(summary({ outcome: 'dry-run', details: [example] }), 40)).toContain(`\n  ${example}\n`)
})
