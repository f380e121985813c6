import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readHistory } from '../../../src/monitor/report/run-history.ts'
import { nodeFileSystem } from '../../../src/state/file-system.ts'
import { temporaryFolder } from '../../support/task-harness.ts'

type Fields = Readonly<Record<string, number | string>>

const row = (step: number, at: number, runtime: number, fields: Fields = {}): string =>
  JSON.stringify({ _step: step, _timestamp: at, _runtime: runtime, ...fields })

const event = (kind: string, more: Fields = {}): Fields => ({ 'Event/kind': kind, ...more })

async function historyOf(lines: readonly string[]) {
  const path = join(temporaryFolder(), 'task_progress.jsonl')
  writeFileSync(path, lines.join('\n'))
  return readHistory(nodeFileSystem, path)
}

describe('the history of runs', () => {
  test('has each run with its end, and the last that is known of one without', async () => {
    const history = await historyOf([
      row(0, 100, 0, event('run-started', { 'Cost/cap_usd': 5 })),
      row(1, 101, 1, { 'Requests/total': 3 }),
      row(2, 160, 60, { 'Requests/total': 4 }),
      // Killed; the next run has no cap.
      row(3, 500, 60, event('run-started')),
      row(4, 510, 70, event('warning', { 'Event/code': 'slow', 'Event/message': 'one' })),
      row(5, 520, 80, event('warning', { 'Event/code': 'slow', 'Event/message': 'two' })),
      row(6, 530, 90, event('run-failed', { 'Event/message': 'no key', 'Event/code': 'x' })),
      row(7, 900, 90, event('run-started', { 'Cost/cap_usd': 7 })),
      row(8, 905, 95, { 'Cost/cap_usd': 8 }),
      row(9, 910, 100, event('run-finished', { 'Event/outcome': 'limits' })),
      '',
    ])
    expect(history.runs).toEqual([
      { startedAt: 100_000, lastAt: 160_000 },
      { startedAt: 500_000, lastAt: 530_000, end: { kind: 'failed', text: 'no key' } },
      { startedAt: 900_000, lastAt: 910_000, end: { kind: 'finished', text: 'limits' } },
    ])
    expect(history.warnings).toEqual([
      { code: 'slow', count: 2, firstAt: 510_000, lastAt: 520_000, message: 'two' },
    ])
    expect(history).toMatchObject({ rows: 10, capUsd: 8, workSeconds: 100, unreadable: 0 })
  })

  test('without a cap in the last run has none', async () => {
    const history = await historyOf([
      row(0, 1, 0, event('run-started', { 'Cost/cap_usd': 5 })),
      row(1, 2, 0, event('run-started')),
    ])
    expect(history.capUsd).toBeUndefined()
  })

  test('counts lines that are no rows, such as one that is being written', async () => {
    const history = await historyOf([row(0, 1, 0, event('run-started')), '{"_step":1,"Event/kind":"warn'])
    expect(history).toMatchObject({ rows: 2, unreadable: 1 })
    expect(history.runs).toHaveLength(1)
  })

  test('is empty without the file', async () => {
    const history = await readHistory(nodeFileSystem, join(temporaryFolder(), 'none.jsonl'))
    expect(history).toMatchObject({ rows: 0, runs: [], warnings: [] })
  })

  test('is bounded in memory, whatever its length', async () => {
    const lines = Array.from({ length: 3_000 }, (_, step) =>
      step % 2 === 0
        ? row(step, step, step, event('run-started'))
        : row(step, step, step, event('warning', { 'Event/code': `c${step}`, 'Event/message': 'm' })),
    )
    const history = await historyOf(lines)
    expect(history.runs).toHaveLength(500)
    expect(history.earlierRuns).toBe(1_000)
    expect(history.warnings.length).toBeLessThanOrEqual(200)
  })
})
