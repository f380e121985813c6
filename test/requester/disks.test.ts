import { readdirSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { accept, reject, type Verdict } from '../../src/batch/verdict.ts'
import type { ProgressEvent } from '../../src/progress/events.ts'
import { SPACE_MARGIN_BYTES } from '../../src/state/disk-space.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import { TaskManager, type TaskManagerOptions } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import { contentsOf } from '../support/folder.ts'
import { type Fault, FaultyFs } from '../support/power-loss-fs.ts'
import {
  ask,
  type Harness,
  harness,
  names,
  readTaskFile,
  stepsOf,
  taskLines,
} from '../support/task-harness.ts'

class Twenty extends TaskManager {
  *generateRequests() {
    for (const key of names(20)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse): Verdict {
    return key === 'k-7' ? reject('not wanted') : accept(key)
  }
}

/** Two batches and a remnant of four, which goes directly. */
const MIXED: Partial<TaskManagerOptions> = { minBatchRequests: 8, maxBatchRequests: 8 }
const DIRECT: Partial<TaskManagerOptions> = { forceDirect: true, directConcurrency: 4 }
const CHAT = '/v1/chat/completions'
const full = expect.objectContaining({ name: 'StateError', code: 'disk_full', retryable: true })
const PLENTY = 1e12

function rig(over: Partial<TaskManagerOptions>) {
  const host = harness()
  const fs = new FaultyFs(nodeFileSystem)
  fs.free = PLENTY
  const run = (more: Partial<TaskManagerOptions> = {}) =>
    new Twenty(host.options({ ...over, fs, ...more })).run()
  return { host, fs, run }
}

/** The run that follows comes to the right end, and each key has been answered once but for those that are uncertain. */
async function expectGoesOn({ host, run }: { host: Harness; run: () => ReturnType<Twenty['run']> }) {
  expect(await run()).toMatchObject({ complete: true, requests: 20, succeeded: 19, failed: 1, pending: 0 })
  const output = taskLines<string>(host.dir, '_output.jsonl')
  expect(output.sort()).toEqual(
    names(20)
      .filter((key) => key !== 'k-7')
      .sort(),
  )
  expect(taskLines(host.dir, '_failed.jsonl')).toHaveLength(1)
  expect(
    readdirSync(host.dir).filter((name) => !/_(ledger|output|failed|state|progress)\.json/.test(name)),
  ).toEqual([])
  const uncertain = stepsOf(host.dir, 'uncertain').flatMap(({ requests }) => requests)
  const batches = await host.emulator.fetch('http://console.test/v1/batches?limit=100')
  const inBatches = JSON.parse(await batches.text()).data.map(
    (batch: { request_counts: { total: number } }) => batch.request_counts.total,
  )
  const answers = inBatches.reduce((sum: number, count: number) => sum + count, 0) + host.count('POST', CHAT)
  expect(answers - 20).toBeLessThanOrEqual(uncertain.length)
  return uncertain.length
}

const atFirst = (kind: ProgressEvent['kind'], act: () => void) => {
  let done = false
  return {
    onEvent: (event: ProgressEvent) => {
      if (event.kind !== kind || done) return
      done = true
      act()
    },
  }
}

describe('a disk that will not take what is needed', () => {
  test('stops the run before anything is queued or sent', async () => {
    const { host, fs, run } = rig(MIXED)
    fs.free = SPACE_MARGIN_BYTES + 1_500
    await expect(run()).rejects.toEqual(full)
    expect(readTaskFile(host.dir, '_batch1.jsonl')).toBe('')
    expect(host.seen.filter(({ method }) => method === 'POST')).toEqual([])
    fs.free = PLENTY
    expect(await expectGoesOn({ host, run })).toBe(0)
  })

  test('stops it before a result is downloaded, which is then still at the server', async () => {
    const { host, fs, run } = rig({ minBatchRequests: 1 })
    const fills = (event: ProgressEvent) => {
      if (event.kind === 'batch-changed' && event.status === 'completed') {
        fs.free = SPACE_MARGIN_BYTES + 5_000
        host.clock.advance(1_000)
      }
    }
    const running = run({ reporters: [{ onEvent: fills }] })
    await expect(running).rejects.toEqual(full)
    await expect(running).rejects.toThrow(/the results of batch batch_\w+ needs \d/)
    expect(host.count('GET', /content$/)).toBe(0)
    expect(readdirSync(host.dir).filter((name) => name.includes('_result'))).toEqual([])
    fs.free = PLENTY
    await expectGoesOn({ host, run })
    expect(host.count('POST', '/v1/batches')).toBe(1)
  })

  test('stops it before a call is sent whose answer might not fit; those on the wire are recorded', async () => {
    const { host, fs, run } = rig(DIRECT)
    const fills = atFirst('direct-started', () => {
      fs.free = SPACE_MARGIN_BYTES + 150_000
      host.clock.advance(1_000)
    })
    await expect(run({ reporters: [fills] })).rejects.toEqual(full)
    expect(host.count('POST', CHAT)).toBe(2)
    expect(stepsOf(host.dir, 'received').flatMap(({ requests }) => requests)).toHaveLength(2)
    fs.free = PLENTY
    expect(await expectGoesOn({ host, run })).toBe(0)
    expect(host.count('POST', CHAT)).toBe(20)
  })

  test('is asked seldom, however many calls there are', async () => {
    const { fs, run } = rig(DIRECT)
    await run()
    expect(fs.asked).toBeLessThanOrEqual(3)
  })
})

/** What fails, how the run says so, and how many calls may have gone without a record. */
const failures: readonly [what: string, fault: Fault, code: string, uncertain?: number][] = [
  ['the ledger', { op: 'append', nth: 6, code: 'ENOSPC', path: '_ledger.jsonl', written: 0.5 }, 'disk_full'],
  ['the ledger', { op: 'append', nth: 6, code: 'EDQUOT', path: '_ledger.jsonl', written: 1 }, 'disk_full'],
  ['the ledger', { op: 'sync', nth: 6, code: 'ENOSPC', path: '_ledger.jsonl' }, 'fsync_failed'],
  ['a queue file', { op: 'open', nth: 1, code: 'ENOSPC', path: /_batch\d+\.jsonl$/ }, 'disk_full'],
  [
    'a queue file',
    { op: 'append', nth: 1, code: 'ENOSPC', path: /_batch\d+\.jsonl$/, written: 0.7 },
    'disk_full',
  ],
  ['a queue file', { op: 'sync', nth: 2, code: 'EIO', path: /_batch\d+\.jsonl$/ }, 'fsync_failed'],
  ['a download', { op: 'open', nth: 1, code: 'ENOSPC', path: /_result\.jsonl\.tmp/ }, 'disk_full'],
  [
    'a download',
    { op: 'append', nth: 1, code: 'ENOSPC', path: /_result\.jsonl\.tmp/, written: 0.3 },
    'disk_full',
  ],
  ['a download', { op: 'sync', nth: 1, code: 'ENOSPC', path: /_result\.jsonl\.tmp/ }, 'fsync_failed'],
  ['a download', { op: 'rename', nth: 2, code: 'ENOSPC', path: /_result\.jsonl$/ }, 'disk_full'],
  ['the replies', { op: 'append', nth: 1, code: 'ENOSPC', path: /_replies/, written: 0.5 }, 'disk_full'],
  ['the replies', { op: 'open', nth: 1, code: 'ENOSPC', path: /_replies/, lasting: true }, 'disk_full', 4],
  [
    'the replies',
    { op: 'append', nth: 1, code: 'ENOSPC', path: /_replies/, written: 0.5, lasting: true },
    'disk_full',
    4,
  ],
  ['the replies', { op: 'sync', nth: 1, code: 'ENOSPC', path: /_replies/ }, 'fsync_failed', 4],
  ['the output', { op: 'append', nth: 1, code: 'ENOSPC', path: '_output.jsonl', written: 0.9 }, 'disk_full'],
  ['the output', { op: 'append', nth: 3, code: 'ENOSPC', path: '_output.jsonl', written: 0.9 }, 'disk_full'],
  ['the failed requests', { op: 'open', nth: 1, code: 'ENOSPC', path: '_failed.jsonl' }, 'disk_full'],
  ['the folder', { op: 'syncDirectory', nth: 2, code: 'EIO', lasting: true }, 'fsync_failed'],
  ['all files', { op: 'append', nth: 9, code: 'ENOSPC', lasting: true }, 'disk_full', 4],
  ['all files', { op: 'append', nth: 9, code: 'EROFS', lasting: true }, 'write_failed', 4],
  ['all files, at once', { op: 'open', nth: 1, code: 'ENOSPC', lasting: true }, 'disk_full'],
]

describe('a disk that fails in the middle', () => {
  test.each(failures)(
    'of writing %s (%o): the run says %s, and the next one goes on',
    async (_, fault, code, uncertain = 0) => {
      const { host, fs, run } = rig({ ...MIXED, directConcurrency: 4 })
      fs.arm(fault)
      await expect(run()).rejects.toMatchObject({ name: 'StateError', code })
      const sent = host.count('POST', CHAT)
      fs.arm()
      expect(await expectGoesOn({ host, run })).toBeLessThanOrEqual(uncertain)
      expect(sent).toBeLessThanOrEqual(4)
    },
  )

  test.each(['append', 'open', 'rename', 'sync'] as const)(
    'of saving the state file (%s) does not stop it; when that lasts it is told at the end',
    async (op) => {
      const { host, fs, run } = rig(MIXED)
      fs.arm({ op, nth: 1, code: 'ENOSPC', path: /_state\.json/ })
      expect(await run()).toMatchObject({ complete: true })
      expect(readTaskFile(host.dir, '_state.json')).toContain('"pending": 0')

      const second = rig(MIXED)
      second.fs.arm({ op, nth: 1, code: 'ENOSPC', path: /_state\.json/, lasting: true })
      const code = op === 'sync' ? 'fsync_failed' : 'disk_full'
      await expect(second.run()).rejects.toMatchObject({ code })
      expect(taskLines(second.host.dir, '_output.jsonl')).toHaveLength(19)
      second.fs.arm()
      await expectGoesOn(second)
    },
  )
})

describe('files that cannot be written', () => {
  test.each(['EROFS', 'EACCES', 'EPERM'])(
    '(%s) are one clear error, and nothing is changed or sent',
    async (code) => {
      const { host, fs, run } = rig(MIXED)
      await run({ maxSessionRequests: 0 })
      const contents = () => contentsOf(host.dir, (path) => !path.includes('_state.json'))
      const [before, calls] = [await contents(), host.seen.length]
      // The first time it is opened to be read.
      fs.arm({ op: 'open', nth: 2, code, lasting: true, path: '_ledger.jsonl' })
      const failing = run()
      await expect(failing).rejects.toMatchObject({ name: 'StateError', code: 'write_failed' })
      await expect(failing).rejects.toThrow(
        /task_ledger\.jsonl failed .* Make the file and its folder writable/,
      )
      expect(await contents()).toEqual(before)
      expect(host.seen.slice(calls).filter(({ method }) => method !== 'GET')).toEqual([])
      fs.arm()
      await expectGoesOn({ host, run })
    },
  )
})
