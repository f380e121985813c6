import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { accept, reject, retry } from '../../src/batch/verdict.ts'
import type { ProgressEvent } from '../../src/progress/events.ts'
import { EVENT_KIND } from '../../src/progress/history-row.ts'
import type { HistorySender, HistorySource } from '../../src/progress/history-sender.ts'
import type { Reporter } from '../../src/progress/reporter.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { figuresOnDisk, lastFigures, soundRows, withoutLive } from '../support/history.ts'
import { FaultyFs } from '../support/power-loss-fs.ts'
import { ask, type Harness, harness, names, readTaskFile } from '../support/task-harness.ts'

/** Two batches; two answers are asked for again, one request fails for good. */
class Twelve extends TaskManager {
  override createParams() {
    return { model: 'gpt-5-mini', apiKey: 'sk-of-a-user' }
  }

  *generateRequests() {
    for (const key of names(12)) yield { key, body: ask(key) }
  }

  processResponse({ key, attempt }: TaskResponse) {
    if (key === 'k-3') return reject('not wanted')
    return attempt === 1 && ['k-1', 'k-9'].includes(key) ? retry('once more') : accept({ key })
  }
}

const BATCHES = { maxBatchRequests: 6, minBatchRequests: 3 }
const textOf = ({ dir }: Harness): string => readTaskFile(dir, '_progress.jsonl')
const rowsOf = (host: Harness) => soundRows(textOf(host))
const kindsOf = (host: Harness) => rowsOf(host).flatMap((row) => row[EVENT_KIND] ?? [])

describe('the history of a run', () => {
  test('has its start, its batches, what came of them and its end, and ends with the figures on disk', async () => {
    const host = harness()
    await new Twelve(host.options(BATCHES)).run()
    const rows = rowsOf(host)
    expect(kindsOf(host)[0]).toBe('run-started')
    expect(rows.at(-1)).toMatchObject({ 'Event/kind': 'run-finished', 'Event/outcome': 'complete' })
    expect(withoutLive(lastFigures(rows))).toEqual(await figuresOnDisk(nodeFileSystem, host.dir))
    expect(lastFigures(rows)).toMatchObject({
      'Requests/succeeded': 11,
      'Requests/failed': 1,
      'Requests/retries': 2,
      'Task/samples_committed': 12,
      'Task/samples_succeeded': 11,
      'Batch/num_completed': 2,
      'Direct/num_completed': 1,
      'Generation/passes': 1,
      'Generation/is_producing': 0,
      'TaskMeta/model': 'gpt-5-mini',
    })
    const results = rows
      .filter((row) => row[EVENT_KIND] === 'batch-result')
      .sort((a, b) => Number(a['Result/batch_id']) - Number(b['Result/batch_id']))
    const column = (name: string) => results.map((row) => row[`Result/${name}`])
    expect(column('direct_batch')).toEqual([0, 0, 1])
    expect(column('num_requests')).toEqual([6, 6, 2])
    expect(column('num_succeeded')).toEqual([4, 5, 2])
    expect(column('num_failed')).toEqual([1, 0, 0])
    expect(column('num_retry')).toEqual([1, 1, 0])
    const cost = column('cost_usd').reduce((sum: number, usd) => sum + Number(usd), 0)
    expect(cost).toBeCloseTo(Number(lastFigures(rows)['Cost/spent_usd']), 12)
    expect(textOf(host)).not.toMatch(/k-\d|sk-of-a-user|not wanted/)
    expect(statSync(join(host.dir, 'task_progress.jsonl')).mode & 0o777).toBe(0o600)
  })

  test('goes on in the next run, with what was left in between', async () => {
    const host = harness()
    await new Twelve(host.options({ ...BATCHES, maxSessionRequests: 6 })).run()
    const first = rowsOf(host)
    host.clock.advance(3_600_000)
    await new Twelve(host.options(BATCHES)).run()
    const rows = rowsOf(host)
    expect(rows.slice(0, first.length)).toEqual(first)
    expect(first.at(-1)).toMatchObject({ 'Event/outcome': 'limits' })
    expect((rows[first.length]?._runtime ?? 0) - (first.at(-1)?._runtime ?? 0)).toBeLessThan(60)
    expect(withoutLive(lastFigures(rows))).toEqual(await figuresOnDisk(nodeFileSystem, host.dir))
    expect(lastFigures(rows)).toMatchObject({ 'Requests/succeeded': 11, 'Pushed/task_requests': 14 })
  })

  test('says of a batch what came of it in all runs that judged it', async () => {
    const host = harness()
    const stop = new AbortController()
    class Stopping extends Twelve {
      override processResponse(response: TaskResponse) {
        if (response.key === 'k-2') stop.abort()
        return super.processResponse(response)
      }
    }
    await new Stopping(host.options({ minBatchRequests: 3, stop: stop.signal })).run()
    expect(rowsOf(host).at(-1)).toMatchObject({ 'Event/outcome': 'interrupted' })
    expect(kindsOf(host)).not.toContain('batch-result')
    await new Twelve(host.options({ minBatchRequests: 3 })).run()
    const [result] = rowsOf(host).filter((row) => row[EVENT_KIND] === 'batch-result')
    expect(result).toMatchObject({
      'Result/num_requests': 12,
      'Result/num_succeeded': 9,
      'Result/num_retry': 2,
    })
  })

  test('begins, for reporters too, with its start, whatever is put in order before', async () => {
    const host = harness()
    await new Twelve(host.options({ ...BATCHES, maxSessionRequests: 6 })).run()
    host.events.length = 0
    // Under a hard cap the next run first sets aside what is queued, and with another key it takes note of that.
    await new Twelve(host.options({ ...BATCHES, maxSpend: 5, env: { OPENAI_API_KEY: 'sk-other' } })).run()
    const kinds = host.events.map(({ kind }) => kind)
    expect(kinds.slice(0, kinds.indexOf('run-started')).filter((kind) => kind !== 'warning')).toEqual([])
    expect(host.warnings('other_account')).toHaveLength(1)
    expect(kinds).toContain('judged')
  })

  test('has a row for a wipe, and is not wiped', async () => {
    const host = harness()
    await new Twelve(host.options(BATCHES)).run()
    const before = textOf(host)
    await new Twelve(host.options({ ...BATCHES, wipeTask: true, run: false })).run()
    expect(textOf(host).startsWith(before)).toBe(true)
    const rows = rowsOf(host)
    expect(rows).toContainEqual(
      expect.objectContaining({ 'Event/kind': 'wiped', 'Event/scope': 'task', 'Event/thrown_away': 11 }),
    )
    expect(lastFigures(rows)).toMatchObject({ 'Requests/total': 0, 'Task/samples_committed': 0 })
    expect(lastFigures(rows)['Cost/spent_usd']).toBeGreaterThan(0)
  })

  test.each([
    ['a dry run', { dryRun: true }],
    ['a quote', { quote: true }],
  ])('is not there after %s', async (_, options) => {
    const host = harness()
    await new Twelve(host.options(options)).run()
    expect(readdirSync(host.dir)).toEqual([])
  })

  test('is left as it is by a run that only looks', async () => {
    const host = harness()
    await new Twelve(host.options(BATCHES)).run()
    const before = textOf(host)
    for (const options of [{ run: false }, { dryRun: true }, { quote: true }]) {
      await new Twelve(host.options(options)).run()
      expect(textOf(host)).toBe(before)
    }
  })

  test('ends with what a run failed with, without what it quotes', async () => {
    const host = harness()
    class Failing extends Twelve {
      override processResponse({ key }: TaskResponse): never {
        throw new Error(`cannot make anything of ${JSON.stringify(key)}`)
      }
    }
    await expect(new Failing(host.options(BATCHES)).run()).rejects.toThrow()
    const last = rowsOf(host).at(-1)
    expect(last).toMatchObject({ 'Event/kind': 'run-failed', 'Event/code': expect.stringMatching(/hook/) })
    expect(last?.['Event/message']).toMatch(/cannot make anything of "\.\.\."/)
    expect(host.events.at(-1)).toMatchObject({
      kind: 'run-failed',
      stack: expect.stringMatching(/history\.test\.ts/),
    })
    expect(textOf(host)).not.toContain('history.test.ts')
  })

  test('is cut where it was torn, and goes on', async () => {
    const host = harness()
    await new Twelve(host.options({ ...BATCHES, maxSessionRequests: 6 })).run()
    writeFileSync(join(host.dir, 'task_progress.jsonl'), `${textOf(host)}{"_step":99,"_ti`)
    await new Twelve(host.options(BATCHES)).run()
    expect(rowsOf(host).at(-1)).toMatchObject({ 'Event/outcome': 'complete' })
  })

  test.each([
    ['cannot be opened', { op: 'open', code: 'EACCES' }],
    ['has no room', { op: 'append', code: 'ENOSPC' }],
  ] as const)('that %s stops nothing, and is told', async (_, fault) => {
    const host = harness()
    const fs = new FaultyFs(nodeFileSystem)
    fs.arm({ nth: 1, lasting: true, path: '_progress.jsonl', ...fault })
    expect(await new Twelve(host.options({ ...BATCHES, fs })).run()).toMatchObject({ complete: true })
    const told = host.warnings('history')
    expect(told.at(0)).toMatch(/the run goes on|rows of the history could not be written/)
    expect(told.length).toBeLessThanOrEqual(2)
    expect(told.at(-1)).toMatch(/^\d+ rows of the history could not be written/)
  })
})

describe('a reporter', () => {
  test('is never waited for, whatever it returns or throws', async () => {
    const seen: string[] = []
    const never = new Promise<void>(() => {})
    // A hook that is async type-checks as one that returns nothing.
    const slow: Reporter = { onEvent: () => never, close: () => never }
    const broken: Reporter = {
      onEvent: () => {
        throw new Error('no')
      },
      close: () => Promise.reject(new Error('no end')),
    }
    const host = harness()
    const watching: Reporter = { onEvent: ({ kind }) => void seen.push(kind) }
    const warnings: string[] = []
    const reporters = [slow, broken, watching]
    const warn = (message: string) => void warnings.push(message)
    const before = host.clock.now()
    const summary = await new Twelve(host.options({ ...BATCHES, reporters, warn })).run()
    expect(summary).toMatchObject({ complete: true })
    // What is waited for at the end: a few seconds for all of them together.
    expect(host.clock.now() - before - summary.elapsedMs).toBeLessThanOrEqual(5_000)
    expect(seen.at(-1)).toBe('run-finished')
    expect(warnings).toEqual([
      'progress reporter Object could not be closed: no end',
      'progress reporter Object was not done in time',
    ])
    expect(kindsOf(host).at(-1)).toBe('run-finished')
  })

  test.each([
    ['an output that cannot be made', 'createOutput'],
    ['an endpoint that there is not', 'endpoint'],
  ])('is closed after %s, too', async (_, what) => {
    class Wrong extends Twelve {
      override createOutput(): never {
        throw new Error('no output')
      }
    }
    class Elsewhere extends Twelve {
      // As a program without types may have it.
      override endpoint = JSON.parse('"/v1/nowhere"')
    }
    const host = harness()
    const seen: string[] = []
    const reporter: Reporter = {
      onEvent: ({ kind }: ProgressEvent) => void seen.push(kind),
      close: async () => void seen.push('closed'),
    }
    const Task = what === 'endpoint' ? Elsewhere : Wrong
    await expect(new Task(host.options({ reporters: [reporter] })).run()).rejects.toThrow(/no output|nowhere/)
    expect(seen).toEqual(['run-failed', 'closed'])
    expect(existsSync(join(host.dir, 'task_progress.jsonl'))).toBe(false)
  })
})

describe('who sends the history on', () => {
  test('is told what is durable, and of the end when all of it is', async () => {
    const host = harness()
    const told: unknown[] = []
    const sources: HistorySource[] = []
    const sender: HistorySender = {
      durable: (bytes) => {
        expect(textOf(host).slice(0, bytes).endsWith('\n')).toBe(true)
        told.push(bytes)
      },
      end: async (end) => void told.push(end, existsSync(join(host.dir, 'task.lock'))),
    }
    const openSender = (source: HistorySource) => {
      sources.push(source)
      return sender
    }
    await new Twelve(host.options({ ...BATCHES, openSender })).run()
    expect(told.slice(-3)).toEqual([textOf(host).length, { outcome: 'complete', exitCode: 0 }, false])
    expect(sources).toMatchObject([
      { path: join(host.dir, 'task_progress.jsonl'), taskDir: host.dir, name: 'task', className: 'Twelve' },
    ])
  })

  test('tells reporters what came of it before the end, which is the last they are told', async () => {
    const host = harness()
    const openSender = ({ emit }: HistorySource): HistorySender => ({
      durable: () => {},
      end: async () => {
        emit({ kind: 'monitored', url: 'https://wandb.test/run' })
        emit({ kind: 'warning', code: 'wandb_undelivered', message: 'not all' })
      },
    })
    await new Twelve(host.options({ ...BATCHES, openSender })).run()
    expect(host.events.slice(-3).map(({ kind }) => kind)).toEqual(['monitored', 'warning', 'run-finished'])
    expect(kindsOf(host).filter((kind) => kind === 'run-finished')).toHaveLength(1)
    expect(kindsOf(host).at(-1)).toBe('run-finished')
  })

  test.each([
    [{ maxSessionRequests: 0 }, { outcome: 'limits', exitCode: 3 }],
    [{ stop: AbortSignal.abort() }, { outcome: 'interrupted', exitCode: 130 }],
  ])('is told how it ended: %o', async (options, end) => {
    const host = harness()
    const ends: unknown[] = []
    const openSender = () => ({ durable: () => {}, end: async (one: unknown) => void ends.push(one) })
    await new Twelve(host.options({ ...options, openSender })).run()
    expect(ends).toEqual([end])
  })

  test('is told of the end also when it failed before, since it may hold something', async () => {
    const host = harness()
    const ends: unknown[] = []
    const durable = () => {
      throw new Error('broken')
    }
    const openSender = () => ({ durable, end: async (one: unknown) => void ends.push(one) })
    await new Twelve(host.options({ ...BATCHES, openSender })).run()
    expect(ends).toEqual([{ outcome: 'complete', exitCode: 0 }])
  })

  test('can fail in every hook, and hang, without harm', async () => {
    const broken = () => {
      throw new Error('broken')
    }
    const senders: (() => HistorySender | undefined)[] = [
      broken,
      () => ({ durable: broken, end: broken }),
      // A hook that is async type-checks as one that returns nothing.
      () => ({ durable: () => Promise.reject(new Error('broken')), end: async () => {} }),
      () => ({ durable: () => {}, end: () => Promise.reject(new Error('broken')) }),
      () => ({ durable: () => {}, end: () => new Promise(() => {}) }),
    ]
    for (const openSender of senders) {
      const host = harness()
      expect(await new Twelve(host.options({ ...BATCHES, openSender })).run()).toMatchObject({
        complete: true,
      })
      expect(host.warnings('history_sender')).toHaveLength(1)
      expect(rowsOf(host).at(-1)).toMatchObject({ 'Event/outcome': 'complete' })
    }
  })
})
