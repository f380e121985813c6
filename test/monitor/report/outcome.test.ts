import { expect, test } from 'vitest'
import { outcomeOf } from '../../../src/monitor/report/outcome.ts'
import type { RunRecord } from '../../../src/monitor/report/run-history.ts'
import { readStatus } from '../../../src/requester/status.ts'
import { nodeFileSystem } from '../../../src/state/file-system.ts'
import { emptyTask, finishedTask } from '../../support/report-tasks.ts'
import { NAME } from '../../support/task-harness.ts'

const ended = (kind: 'finished' | 'failed', text: string): RunRecord => ({
  startedAt: 0,
  lastAt: 1,
  end: { kind, text },
})
const silent: RunRecord = { startedAt: 0, lastAt: 1 }
const holder = (state: 'running' | 'gone' | 'unknown') => ({ pid: 1, host: 'h', since: '', state })

test('is told from the lock, the last run and the requests, in this order', async () => {
  const { dir } = await finishedTask()
  const status = await readStatus(nodeFileSystem, dir, NAME)
  const pending = { ...status, requests: { ...status.requests, succeeded: 500, pending: 40 } }
  const cases = [
    [{ ...status, holder: holder('running') }, silent, 'running'],
    [{ ...status, holder: holder('unknown') }, undefined, 'running'],
    [{ ...status, holder: holder('gone') }, silent, 'crashed'],
    [{ ...status, holder: holder('gone') }, undefined, 'crashed'],
    [status, silent, 'crashed'],
    [status, ended('failed', 'no money left'), 'failed'],
    [pending, ended('finished', 'interrupted'), 'stopped'],
    [pending, ended('finished', 'limits'), 'stopped'],
    [status, ended('finished', 'pilot'), 'stopped'],
    [status, ended('finished', 'complete'), 'complete'],
    [status, ended('finished', 'no-run'), 'complete'],
    [status, undefined, 'complete'],
    [pending, undefined, 'waiting'],
    [pending, ended('finished', 'no-run'), 'waiting'],
  ] as const
  for (const [found, run, kind] of cases) expect(outcomeOf(found, run).kind).toBe(kind)
  expect(outcomeOf(pending, ended('finished', 'limits')).text).toBe(
    'The last run stopped before the end: a limit was reached. 500 requests succeeded, 60 failed, 40 still to be done.',
  )
  expect(outcomeOf(status, ended('failed', 'no money left')).text).toMatch(
    /^The last run failed: no money left\. 540 /,
  )
})

test('is empty without requests', async () => {
  const { dir } = await emptyTask()
  const status = await readStatus(nodeFileSystem, dir, NAME)
  expect(outcomeOf(status, ended('finished', 'complete')).kind).toBe('empty')
})
