import { expect, test } from 'vitest'
import { chartsOf } from '../../../src/monitor/report/charts.ts'
import { readReport, type TaskReport } from '../../../src/monitor/report/task-report.ts'
import { timelineChart } from '../../../src/monitor/report/timeline-chart.ts'
import { type FileSystem, nodeFileSystem } from '../../../src/state/file-system.ts'
import { failedTask, finishedTask } from '../../support/report-tasks.ts'
import { type Harness, NAME } from '../../support/task-harness.ts'

const reportOf = ({ dir, clock }: Harness, fs: FileSystem = nodeFileSystem): Promise<TaskReport> =>
  readReport(fs, { directory: dir, name: NAME }, clock.now())

/** The disk, and how much of files with such an end was read. */
function counting(end: string): {
  readonly fs: FileSystem
  readonly read: { bytes: number }
} {
  const read = { bytes: 0 }
  const open: FileSystem['open'] = async (path, mode) => {
    const file = await nodeFileSystem.open(path, mode)
    if (!path.endsWith(end)) return file
    return {
      read: async (into, position) => {
        const got = await file.read(into, position)
        read.bytes += got
        return got
      },
      append: (bytes) => file.append(bytes),
      truncate: (length) => file.truncate(length),
      sync: () => file.sync(),
      size: () => file.size(),
      close: () => file.close(),
    }
  }
  return { fs: { ...nodeFileSystem, open }, read }
}

test('examples of forty kinds are read in one go over the failed requests', async () => {
  const { fs, read } = counting('_failed.jsonl')
  const { failures, status } = await reportOf(await failedTask(), fs)
  const examples = failures.clusters.flatMap((cluster) => cluster.examples)
  expect(examples.length).toBeGreaterThan(100)
  for (const { examples: own, form } of failures.clusters)
    for (const { reason } of own) expect(reason.slice(0, 6)).toBe(form.slice(0, 6))
  expect(read.bytes).toBeLessThanOrEqual(status.failedFile?.bytes ?? 0)
})

test('the bars of verdicts add up to all there were', async () => {
  const report = await reportOf(await failedTask())
  const chart = chartsOf(report).charts.find(({ id }) => id === 'verdicts')
  if (chart?.kind !== 'bars') throw new Error('there is no such chart')
  const sums = Object.fromEntries(
    chart.series.map(({ name, values }) => [name, values.reduce((sum, value) => sum + value, 0)]),
  )
  expect(sums).toEqual({ succeeded: 200, failed: 400, 'to be tried again': report.status.tally.retries })
})

test('batches that a wipe ended are not under way in the timeline', async () => {
  const report = await reportOf(await finishedTask())
  const batches = report.batches.map((batch, index) => {
    const { endedAt, ...rest } = batch
    return index === 0 ? { ...rest, status: 'in_progress', phase: 'wiped' as const } : batch
  })
  const chart = timelineChart(batches, chartsOf(report).frame)
  expect(chart?.kinds.map(({ name }) => name)).toEqual(['batch, completed', 'batch, wiped'])
  expect(chart?.spans.find(({ kind }) => kind === 1)?.label).toMatch(/^batch 1: wiped, 0s, 50 requests/)
})
