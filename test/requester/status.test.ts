import { spawnSync } from 'node:child_process'
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { accept, reject, retry, type Verdict } from '../../src/batch/verdict.ts'
import { readStatus, type TaskStatus } from '../../src/requester/status.ts'
import { nodeFileSystem } from '../../src/state/file-system.ts'
import { TaskLock } from '../../src/state/task-lock.ts'
import { JsonLinesOutput } from '../../src/task/output.ts'
import { TaskManager } from '../../src/task/task-manager.ts'
import type { TaskResponse } from '../../src/task/task-types.ts'
import {
  ask,
  BASE_URL,
  type Harness,
  harness,
  isKind,
  NAME,
  names,
  readTaskFile,
  seenOf,
} from '../support/task-harness.ts'

class Ten extends TaskManager {
  *generateRequests() {
    for (const key of names(10)) yield { key, body: ask(key) }
  }

  processResponse({ key }: TaskResponse): Verdict | Promise<Verdict> {
    return accept(key)
  }
}

const statusOf = (dir: string): Promise<TaskStatus> => readStatus(nodeFileSystem, dir, NAME)

/** The options of a run that calls `look` before each of its HTTP requests. */
const watched = (rig: Harness, look: (method: string, path: string) => Promise<void>, over = {}) =>
  rig.options({
    ...over,
    fetch: async (input, init) => {
      const { method, path } = seenOf(input, init, 0)
      await look(method, path)
      return rig.emulator.fetch(input, init)
    },
  })

describe('the status of a task', () => {
  test('after its run is that of the summary', async () => {
    const rig = harness()
    class Mixed extends Ten {
      override processResponse({ key, attempt }: TaskResponse) {
        if (key === 'k-3') return reject('not wanted')
        return attempt === 1 && key === 'k-4' ? retry('once more') : accept({ key })
      }
    }
    const began = new Date(rig.clock.now()).toISOString()
    const summary = await new Mixed(rig.options()).run()
    const status = await statusOf(rig.dir)
    expect(status).toMatchObject({
      task: NAME,
      className: 'Mixed',
      endpoint: '/v1/chat/completions',
      createdAt: began,
      changedAt: new Date(rig.clock.now()).toISOString(),
      paramsVersions: 1,
      holder: null,
      wipe: null,
      requests: {
        total: 10,
        succeeded: 9,
        failed: 1,
        pending: 0,
        queued: 0,
        waiting: 0,
        inFlight: 0,
        received: 0,
      },
      spending: {
        sentRequests: 11,
        inputTokens: summary.usage.input,
        outputTokens: summary.usage.output,
        costUsd: summary.cost,
        unpricedReplies: 0,
      },
      tally: { batches: 2, retries: 1 },
      queueFiles: [],
      output: { lines: 9, files: [{ file: `${NAME}_output.jsonl` }] },
      failedFile: { file: `${NAME}_failed.jsonl` },
      remoteFilesToDelete: 0,
    })
    expect(summary.cost).toBeGreaterThan(0)
    expect(status.failedFile?.bytes).toBe(readTaskFile(rig.dir, '_failed.jsonl').length)
    expect(status.ledger.bytes).toBe(readTaskFile(rig.dir, '_ledger.jsonl').length)
  })

  test('at every request of a run counts each request in one place, and says who runs it', async () => {
    const rig = harness({ failureRate: 0.3 })
    const seen: TaskStatus[] = []
    class Sixty extends Ten {
      override *generateRequests() {
        for (const key of names(60)) yield { key, body: ask(key) }
      }
    }
    const look = async () => void seen.push(await statusOf(rig.dir))
    await new Sixty(watched(rig, look, { minBatchRequests: 25, maxBatchRequests: 25 })).run()
    for (const { requests, holder } of seen) {
      const { total, succeeded, failed, pending, queued, inFlight, received } = requests
      expect(total).toBe(succeeded + failed + pending)
      expect(pending).toBe(queued + inFlight + received)
      expect(holder).toMatchObject({ pid: process.pid, state: 'running' })
    }
    const phases = new Set(seen.flatMap(({ queueFiles }) => queueFiles.map(({ phase }) => phase)))
    expect([...phases]).toEqual(expect.arrayContaining(['intended', 'uploaded', 'remote', 'ended', 'direct']))
  })

  test('shows a batch at the server, with the time it has been there', async () => {
    const rig = harness({ latency: { runMs: 60_000 } })
    const seen: TaskStatus[] = []
    const look = async (method: string, path: string) => {
      if (isKind({ method, path }, 'GET', /^\/v1\/batches/)) seen.push(await statusOf(rig.dir))
    }
    await new Ten(watched(rig, look)).run()
    const [first] = seen
    expect(first?.requests).toMatchObject({ pending: 10, queued: 0, inFlight: 10, received: 0 })
    expect(first?.queueFiles).toMatchObject([
      {
        file: 1,
        phase: 'remote',
        model: 'gpt-5-mini',
        requests: 10,
        pending: 10,
        remoteStatus: 'validating',
      },
    ])
    const polls = seen.map(({ queueFiles }) => queueFiles[0])
    expect(polls.at(-1)?.batchId).toMatch(/^batch_/)
    expect(polls.at(-1)?.remoteStatus).not.toBe('validating')
    // The phase has been the same all the time, whatever the server said meanwhile.
    expect(new Set(polls.map((file) => file?.since)).size).toBe(1)
    expect(Date.parse(polls[0]?.since ?? '')).toBeLessThan(rig.clock.now() - 50_000)
  })

  test('counts what is received and waits for a verdict, from a batch and directly', async () => {
    for (const forceDirect of [false, true]) {
      const rig = harness()
      const seen: TaskStatus[] = []
      class Watching extends Ten {
        override async processResponse({ key }: TaskResponse) {
          if (seen.length === 0) seen.push(await statusOf(rig.dir))
          return accept(key)
        }
      }
      await new Watching(rig.options({ forceDirect, directConcurrency: 10 })).run()
      const { pending = 0, received } = seen[0]?.requests ?? {}
      expect(pending).toBe(10)
      if (!forceDirect) expect(received).toBe(10)
      else expect(received).toBeGreaterThan(0)
    }
  })

  test('tells why a batch failed, and what a model leaves open that has lost its price', async () => {
    const rig = harness({ strictModels: true, models: ['house-model'] })
    class Odd extends Ten {
      override *generateRequests() {
        for (const key of names(3)) yield { key, body: ask(key, 'house-model') }
        yield { key: 'odd', body: ask('odd', 'gpt-unheard-of') }
      }
    }
    const prices = { costInputDirectMtoken: 1, costOutputDirectMtoken: 4 }
    await new Odd(rig.options({ ...prices, maxSessionRequests: 0 })).run()
    await new Odd(rig.options()).run()
    const status = await statusOf(rig.dir)
    expect(status.spending).toMatchObject({ costUsd: 0, unpricedReplies: 3 })
    expect(status.queueFiles).toMatchObject([
      { phase: 'ended', remoteStatus: 'failed', model: 'gpt-unheard-of', faults: [{ line: 1 }] },
    ])
    expect(status.requests).toMatchObject({ succeeded: 3, pending: 1 })
  })

  test('adds up the lines of all parts of an output, and begins anew after a wipe', async () => {
    const rig = harness()
    class InParts extends Ten {
      override createOutput() {
        return new JsonLinesOutput({ maxEntries: 4 })
      }
    }
    await new InParts(rig.options()).run()
    const { output } = await statusOf(rig.dir)
    expect(output.lines).toBe(10)
    expect(output.files.map(({ file }) => file)).toEqual(
      [1, 2, 3].map((part) => `${NAME}_output_part00${part}.jsonl`),
    )
    await new InParts(rig.options({ wipeTask: true, run: false })).run()
    expect(await statusOf(rig.dir)).toMatchObject({ output: { lines: 0, files: [] }, requests: { total: 0 } })
  })

  test('says that a wipe was begun and is not over', async () => {
    const rig = harness({ latency: { runMs: 60_000 } })
    const stop = new AbortController()
    const isPoll = (method: string, path: string) => isKind({ method, path }, 'GET', /^\/v1\/batches/)
    const stopAtPoll = async (method: string, path: string) => {
      if (isPoll(method, path)) stop.abort()
    }
    await new Ten(watched(rig, stopAtPoll, { stop: stop.signal })).run()
    expect((await statusOf(rig.dir)).wipe).toBeNull()
    const seen: TaskStatus[] = []
    const look = async (_: string, path: string) => {
      if (path.endsWith('/cancel')) seen.push(await statusOf(rig.dir))
    }
    await new Ten(watched(rig, look, { wipeRequests: true, run: false })).run()
    expect(seen).toMatchObject([{ wipe: 'requests', requests: { pending: 10 } }])
    expect(await statusOf(rig.dir)).toMatchObject({ wipe: null, requests: { pending: 0 } })
  })
})

describe('a ledger that is being written', () => {
  test('is read up to its last whole line', async () => {
    const rig = harness()
    await new Ten(rig.options()).run()
    const before = await statusOf(rig.dir)
    const path = join(rig.dir, `${NAME}_ledger.jsonl`)
    const last = readFileSync(path, 'utf8').trimEnd().split('\n').at(-1) ?? ''
    appendFileSync(path, last.slice(0, last.length / 2))
    expect(await statusOf(rig.dir)).toEqual(before)
  })

  test('is not changed, and the lock is not touched', async () => {
    const rig = harness()
    await new Ten(rig.options()).run()
    await using _ = await TaskLock.acquire({ directory: rig.dir, name: NAME, clock: rig.clock })
    const before = readTaskFile(rig.dir, '.lock.json')
    expect((await statusOf(rig.dir)).holder).toMatchObject({ pid: process.pid, state: 'running' })
    expect(readTaskFile(rig.dir, '.lock.json')).toBe(before)
  })
})

test('a process that died with the lock in its hands is told from one that runs', async () => {
  const rig = harness()
  await new Ten(rig.options()).run()
  await using _ = await TaskLock.acquire({ directory: rig.dir, name: NAME, clock: rig.clock })
  const path = join(rig.dir, `${NAME}.lock.json`)
  const holder = JSON.parse(readFileSync(path, 'utf8'))
  const { pid } = spawnSync(process.execPath, ['--version'])
  writeFileSync(path, JSON.stringify({ ...holder, pid }))
  expect((await statusOf(rig.dir)).holder).toMatchObject({ pid, state: 'gone' })
  writeFileSync(path, JSON.stringify({ ...holder, host: 'elsewhere' }))
  expect((await statusOf(rig.dir)).holder).toMatchObject({ host: 'elsewhere', state: 'unknown' })
})

test('a task that is not there is an error that names those that are', async () => {
  const rig = harness()
  await new Ten(rig.options({ name: 'other', clientBaseUrl: BASE_URL })).run()
  await expect(statusOf(rig.dir)).rejects.toMatchObject({
    code: 'unknown_task',
    message: expect.stringContaining('The tasks of that folder: other'),
  })
  for (const missing of [join(rig.dir, 'none'), join(rig.dir, 'other_ledger.jsonl')])
    await expect(statusOf(missing)).rejects.toMatchObject({ code: 'unknown_task' })
})
